/**
 * Copies of messages: read whole, restored under their own ids, moved to another instance or into a file.
 *
 * A restored message begins with clocks and numbers higher than any that its id ever had here, so that no ring, request or
 * claim of an earlier life can mean it; its recipients keep their numbers, so that what is said of one late is said of the
 * same one. What is on its way out is in no queue and is frozen: no script but those of copies knows it.
 *
 * Restores go over a hasty connection and are never resent: a message that was restored, delivered and removed must not
 * be stored again. Whoever reads a file keeps its place in the same script instead. All other steps are safe to repeat.
 *
 * Source: DESIGN §5; P2, P9; docs/ARCHITECTURE.md "A message that moves to another instance".
 */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { messageQueues, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { ContentRef, ContentWriter } from "./contract.ts";
import { readContent, StagedContentWriter } from "./content.ts";
import type {
  Copying,
  ImportPlace,
  Move,
  MovingAway,
  NotCopied,
  ReadCopy,
  RestorableMessage,
} from "./contract-of-operators.ts";
import { restoreArguments, stageCopy } from "./copy-arguments.ts";
import type { StagedCopy } from "./copy-arguments.ts";
import { checkedId } from "./packing.ts";
import { CopyReader } from "./read-copies.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { asArray, asNumber, asText, asWord } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";
import { fromStore, runInstanceScript } from "./store-script.ts";

const scripts = {
  restoreMessages: loadScript("restore-messages"),
  markMoving: loadScript("mark-moving"),
  makeReady: loadScript("make-ready"),
  dropMoved: loadScript("drop-moved"),
  putBack: loadScript("put-back"),
  forgetArrived: loadScript("forget-arrived"),
  removeInstance: loadScript("remove-instance"),
};
/** Above this part of maxmemory nothing is restored. Source: P9. */
const restoreHighWater = 0.95;
const movesPerPage = 100;
const keysPerScan = 1000;
/** Kinds of keys of an instance without messages that mean nothing any more. Messages' own are never among them. */
const leavings: ReadonlySet<string> = new Set([
  ...messageQueues,
  ...["bounce", "ct", "cw", "surplus", "op", "w"],
]);

export class CopyingStore implements Copying, MovingAway {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  /** For what must not be resent, and for what goes ahead of it. */
  readonly #hasty: Redis;
  readonly #inQueues: CopyReader;
  readonly #away: CopyReader;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "copying");
    this.#hasty = parts.connect("hasty", "restoring");
    this.#inQueues = new CopyReader(this.#redis, parts.keys.prefix, "m");
    this.#away = new CopyReader(this.#redis, parts.keys.prefix, "away");
  }

  // ------------------------------------------------------------------------------------------------- reading

  async readCopy(id: QueueId): Promise<ReadCopy | NotCopied> {
    const [read] = await this.#inQueues.read([id]);
    return read ?? "absent";
  }

  readCopies(ids: readonly QueueId[]): Promise<readonly (ReadCopy | NotCopied)[]> {
    return this.#inQueues.read(ids);
  }

  readMoving(ids: readonly QueueId[]): Promise<readonly (ReadCopy | NotCopied)[]> {
    return this.#away.read(ids);
  }

  readContent(content: ContentRef): AsyncIterable<Buffer> {
    return readContent(this.#redis, this.#parts.keys.prefix, content);
  }

  // ----------------------------------------------------------------------------------------------- restoring

  openContent(id: QueueId): ContentWriter {
    return new StagedContentWriter(this.#hasty, {
      prefix: this.#parts.keys.prefix,
      id,
      inlineId: id,
      onWrite: () => this.#assertRoom(),
    });
  }

  #assertRoom(): void {
    if (this.#parts.monitor.health().memoryRatio < restoreHighWater) return;
    throw new PostmqError("PMQ_STORE_FULL", "Redis is nearly full: nothing is restored");
  }

  async restore(
    messages: readonly RestorableMessage[],
    place?: ImportPlace,
  ): Promise<readonly ("stored" | "already")[] | "overtaken"> {
    const staged = await this.#stage(messages.map((message) => ({ message, move: "" })));
    const answers = await this.#restore("ready", staged, place);
    if (answers[0] === "overtaken") return "overtaken";
    this.#ring(messages.filter((_, i) => answers[i] === "stored").map(({ copy }) => copy));
    return answers.map((answer) => asWord(answer, ["stored", "already"]));
  }

  async restoreComing(
    messages: readonly (RestorableMessage & { readonly move: Move })[],
  ): Promise<readonly ("stored" | "arrived" | "taken")[]> {
    // Its content must not be that of another message of its id, if there is one.
    const apart = messages.map(({ copy, content, move }) => {
      const isOwn = content.contentId === copy.id;
      const contentId = isOwn ? `${copy.id}-${randomBytes(6).toString("hex")}` : content.contentId;
      return { message: { copy, content: { ...content, contentId } }, move: move.name };
    });
    const answers = await this.#restore("coming", await this.#stage(apart));
    return answers.map((answer) => {
      const word = asWord(answer, ["stored", "already", "arrived", "expired"]);
      if (word === "expired") throw expired();
      return word === "already" ? "taken" : word;
    });
  }

  async #stage(
    messages: readonly { readonly message: RestorableMessage; readonly move: string }[],
  ): Promise<readonly StagedCopy[]> {
    this.#assertRoom();
    try {
      await whenOpen(this.#hasty);
      const { prefix } = this.#parts.keys;
      const staged: StagedCopy[] = [];
      for (const { message, move } of messages) {
        staged.push(await stageCopy(this.#hasty, prefix, message, move));
      }
      return staged;
    } catch (error) {
      throw storeError(error);
    }
  }

  async #restore(
    how: "ready" | "coming",
    staged: readonly StagedCopy[],
    place?: ImportPlace,
  ): Promise<readonly string[]> {
    const { prefix, record } = this.#parts.keys;
    const placeKey = place === undefined ? "" : this.#placeKey(place.name);
    const keys = [
      ...staged.map(({ copy }) => record(copy.id)),
      ...(place === undefined ? [] : [placeKey]),
    ];
    const args: ScriptArgument[] = [
      ...[prefix, this.#parts.monitor.identity, how, placeKey, place?.from ?? "", place?.to ?? ""],
      staged.length,
      ...staged.flatMap(restoreArguments),
    ];
    try {
      const reply = await runScript(this.#hasty, scripts.restoreMessages, keys, args);
      const answers = asArray(reply).map(asText);
      if (how === "ready" && answers[0] === "expired") throw expired();
      return answers;
    } catch (error) {
      throw storeError(error);
    }
  }

  /** The leader reads incoming and due times by itself; this makes it fast. */
  #ring(copies: readonly { readonly id: QueueId; readonly queue: string }[]): void {
    const { bells } = this.#parts;
    if (copies.some(({ queue }) => queue === "incoming")) {
      bells.ringAndForget(bells.ringLook("incoming"));
    }
    for (const { id, queue } of copies) {
      if (queue === "maildrop") bells.ringAndForget(bells.ring("maildrop", id));
    }
  }

  #placeKey(name: string): string {
    return `${this.#parts.keys.prefix}:place:${name}`;
  }

  async readPlace(name: string): Promise<string> {
    return (await fromStore(this.#redis.get(this.#placeKey(name)))) ?? "";
  }

  async forgetPlace(name: string): Promise<void> {
    await fromStore(this.#redis.del(this.#placeKey(name)));
  }

  // ------------------------------------------------------------------------------------------------- moving

  moveOf({ copy, generation }: ReadCopy): Move {
    return { id: copy.id, name: `${this.#parts.keys.prefix}/${copy.id}/${generation}` };
  }

  async #run(
    script: Script,
    moves: readonly Move[],
    args: readonly ScriptArgument[],
    moreKeys: readonly string[] = [],
  ): Promise<unknown> {
    const { prefix, record } = this.#parts.keys;
    const keys = [...moves.map(({ id }) => record(id)), ...moreKeys];
    return await runInstanceScript(this.#redis, prefix, { script, keys, args });
  }

  async markMoving(
    reads: readonly { readonly move: Move; readonly version: string }[],
    to: string,
  ): Promise<readonly ("marked" | "changed" | "claimed")[]> {
    const moves = reads.map(({ move }) => move);
    const each = reads.flatMap(({ move, version }) => [move.id, version, move.name]);
    const answers = asArray(await this.#run(scripts.markMoving, moves, [to, ...each]));
    return answers.map((answer) => asWord(answer, ["marked", "changed", "claimed"]));
  }

  async makeReady(
    moves: readonly Move[],
  ): Promise<readonly ("ready" | "already" | "absent" | "taken")[]> {
    const { identity } = this.#parts.monitor;
    const args = [identity, ...moves.flatMap(idAndName)];
    const reply = asArray(await this.#run(scripts.makeReady, moves, args));
    const words = ["ready", "already", "absent", "taken"] as const;
    const answers = reply.map((answer) => asWord(answer, words));
    // Where nobody leads the rings of a long queue would only pile up; who leads later looks by itself.
    if (answers.includes("ready") && (await this.isLed())) {
      const { bells } = this.#parts;
      bells.ringAndForget(bells.ringLook("incoming"));
    }
    return answers;
  }

  async dropMoved(moves: readonly Move[]): Promise<void> {
    await this.#run(scripts.dropMoved, moves, ["", "", ...moves.flatMap(idAndName)]);
  }

  async dropWritten(
    moves: readonly Move[],
    place: { readonly name: string; readonly to: string },
  ): Promise<boolean> {
    const key = this.#placeKey(place.name);
    const args = [key, place.to, ...moves.flatMap(idAndName)];
    return asNumber(await this.#run(scripts.dropMoved, moves, args, [key])) >= 0;
  }

  async putBack(moves: readonly Move[]): Promise<void> {
    await this.#run(scripts.putBack, moves, moves.flatMap(idAndName));
    const { bells } = this.#parts;
    bells.ringAndForget(bells.ringLook("incoming"));
  }

  async forgetArrived(moves: readonly Move[]): Promise<void> {
    await this.#run(scripts.forgetArrived, moves, moves.flatMap(idAndName));
  }

  async *moving(
    markedBeforeMs: number,
  ): AsyncGenerator<readonly (Move & { readonly to: string })[], void, void> {
    const ids = await this.#idsOfMoving(`(${Math.ceil(markedBeforeMs)}`);
    for (let from = 0; from < ids.length; from += movesPerPage) {
      yield await fromStore(this.#movesOf(ids.slice(from, from + movesPerPage)));
    }
  }

  /** All of them at once: whoever ends some moves the places of the others. Who dies leaves fifty at most. */
  async #idsOfMoving(before: string): Promise<readonly QueueId[]> {
    const ids = await fromStore(this.#redis.zrangebyscore(this.#parts.keys.moving, "-inf", before));
    return ids.map(checkedId).filter((id) => id !== undefined);
  }

  async #movesOf(ids: readonly QueueId[]): Promise<readonly (Move & { readonly to: string })[]> {
    const found = await Promise.all(
      ids.map(async (id) => {
        const [to, name] = await this.#redis.hmget(
          `${this.#parts.keys.prefix}:away:${id}`,
          "mto",
          "mt",
        );
        return typeof to === "string" && typeof name === "string" ? { id, to, name } : undefined;
      }),
    );
    return found.filter((move) => move !== undefined);
  }

  // -------------------------------------------------------------------------------------------------- asides

  async asideNames(): Promise<readonly string[]> {
    return (await fromStore(this.#redis.smembers(this.#parts.keys.asides))).toSorted();
  }

  async rememberAside(name: string): Promise<void> {
    await fromStore(this.#redis.sadd(this.#parts.keys.asides, name));
  }

  async forgetAside(name: string): Promise<void> {
    await fromStore(this.#redis.srem(this.#parts.keys.asides, name));
  }

  async isLed(): Promise<boolean> {
    return (await fromStore(this.#redis.exists(this.#parts.keys.leader))) === 1;
  }

  async removeInstance(): Promise<"removed" | "full" | "led"> {
    const { prefix, identity } = this.#parts.keys;
    const args = [prefix, this.#parts.monitor.identity, ...messageQueues];
    try {
      const answer = await runScript(this.#redis, scripts.removeInstance, [identity], args);
      const word = asWord(answer, ["removed", "full", "led"]);
      if (word === "removed") await this.#removeLeavings();
      return word;
    } catch (error) {
      throw storeError(error);
    }
  }

  /** What is left then are BullMQ's queues, in which only rings stand, and leavings of workers and operations. */
  async #removeLeavings(): Promise<void> {
    const { prefix } = this.#parts.keys;
    const isLeft = (key: string) => leavings.has(key.slice(prefix.length + 1).split(":")[0] ?? "");
    for (let cursor = "0"; ;) {
      const pattern = `${prefix}:*`;
      const [next, keys] = await this.#redis.scan(cursor, "MATCH", pattern, "COUNT", keysPerScan);
      const left = keys.filter(isLeft);
      if (left.length > 0) await this.#redis.unlink(...left);
      cursor = next;
      if (cursor === "0") break;
    }
  }
}

function idAndName({ id, name }: Move): readonly string[] {
  return [id, name];
}

function expired(): PostmqError {
  return new PostmqError("PMQ_STORE_CONTENT_EXPIRED", "what went ahead of a message is gone");
}
