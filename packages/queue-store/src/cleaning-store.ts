/**
 * Cleanup's side of the store: messages leave maildrop whole or not at all.
 *
 * Source: DESIGN §2, §3 "Moves"; spec queues.md §3.4; fault 4.
 */
import type { Redis } from "ioredis";
import { PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { commitArguments, commitKeys, needsStaging, stageRecipients } from "./commit-arguments.ts";
import type { Commit } from "./commit-arguments.ts";
import { readContentWhole, StagedContentWriter } from "./content.ts";
import type { Cleaning, ContentRef, ContentWriter, NotOpened, OpenedMessage } from "./contract.ts";
import { InFlow } from "./in-flow.ts";
import { MessageOpener } from "./message-opener.ts";
import { storeError } from "./redis-connection.ts";
import { asArray, asNumber, asWord } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const releaseCleaned = loadScript("release-cleaned");
type ReleaseAnswer = "moved" | "already" | "stale";
type Released = { readonly answer: ReleaseAnswer; readonly isLookedFor: boolean };

export class CleaningStore implements Cleaning {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #opener: MessageOpener;
  readonly #flow: InFlow;
  #written = 0;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "cleaning");
    this.#opener = new MessageOpener(parts, "clean");
    const { keys, processLimit } = parts;
    this.#flow = new InFlow({ redis: this.#redis, key: keys.flow, all: processLimit });
  }

  flowIsDry(): boolean {
    return this.#flow.isDry();
  }

  flowTokens(): Promise<number> {
    return this.#flow.tokens();
  }

  open(id: QueueId): Promise<OpenedMessage | NotOpened> {
    return this.#opener.open(id);
  }

  readContent(content: ContentRef): Promise<Buffer> {
    return readContentWhole(this.#redis, this.#parts.keys.prefix, content);
  }

  openContent(id: QueueId): ContentWriter {
    this.#written += 1;
    return new StagedContentWriter(this.#redis, {
      prefix: this.#parts.keys.prefix,
      id,
      inlineId: `${id}-${this.#parts.worker}-${this.#written}`,
      onWrite: () => undefined,
    });
  }

  async release(
    opened: OpenedMessage,
    into: Parameters<Cleaning["release"]>[1],
  ): Promise<ReleaseAnswer> {
    const leave = into.queue === "incoming" ? this.#flow.enter() : undefined;
    // A failure leaves it open: the caller gives it back.
    const commit = { id: opened.id, firstNumber: opened.firstNumber ?? 0, ...into };
    const { answer, isLookedFor } = await this.#staged(opened, commit).finally(leave);
    this.#opener.close(opened.id);
    if (answer !== "stale" && into.queue === "incoming" && !isLookedFor) {
      const { bells } = this.#parts;
      bells.ringAndForget(bells.ring("incoming", opened.id));
    }
    return answer;
  }

  async #staged(opened: OpenedMessage, commit: Commit): Promise<Released> {
    if (needsStaging(commit)) {
      const round = String(opened.generation + 1);
      await stageRecipients(this.#redis, this.#parts.keys.prefix, commit, round);
    }
    return await this.#release(opened, commit);
  }

  async #release(opened: OpenedMessage, commit: Commit): Promise<Released> {
    const { keys, worker, processLimit } = this.#parts;
    try {
      const [answer, looks, flow] = asArray(
        await runScript(this.#redis, releaseCleaned, commitKeys(keys.prefix, commit), [
          keys.prefix,
          String(opened.generation),
          worker,
          processLimit,
          ...commitArguments(commit),
        ]),
      );
      if (asNumber(flow) >= 0) this.#flow.note(flow === 1);
      const word = asWord(answer, ["moved", "already", "stale", "expired"]);
      if (word === "expired") {
        throw new PostmqError(
          "PMQ_STORE_CONTENT_EXPIRED",
          "content stored ahead of the release is gone",
        );
      }
      return { answer: word, isLookedFor: looks === 1 };
    } catch (error) {
      throw storeError(error);
    }
  }

  park(opened: OpenedMessage, reason: string): Promise<"parked" | "stale"> {
    return this.#opener.park(opened, reason);
  }

  giveBack(opened: OpenedMessage): Promise<void> {
    return this.#opener.giveBack(opened);
  }
}
