/**
 * Selecting messages from indexes: candidates by queue, sender, recipient domain or sender domain, a page at a time.
 *
 * An index says who may be meant; what a candidate's record says is true, and whoever selects looks at that. Every
 * index is in the order of arrival, so ages are bounds within it, and a cursor keeps its place whatever comes and goes.
 *
 * Source: DESIGN §3 "Indexes"; spec http-api.md §2, sendmail-queue.md §5.
 */
import type { Redis } from "ioredis";
import { PostmqError } from "@postmq/vocabulary";
import type { MessageQueue, QueueId, StoredRecipient } from "@postmq/vocabulary";
import type { Ages, CandidateIndex, CandidatePage, Selecting } from "./contract-of-operators.ts";
import type { ListedMessage } from "./contract.ts";
import { readListed, readListedSteps, readUndone } from "./listed-messages.ts";
import { asArray, asNumber, asText } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import { fromStore, runInstanceScript } from "./store-script.ts";
import type { StoreParts } from "./store-parts.ts";

const scripts = {
  select: loadScript("select-candidates"),
};

/** A page ends early after so many recipients, about: messages may have 1 000 each, and all are in memory at once. */
const recipientsPerPage = 10_000;

/** One zset to page through. */
type Part = {
  readonly key: string;
  /** The domain that must be among a message's own counts; empty: the index tells. */
  readonly domain: string;
};

export class SelectingStore implements Selecting {
  readonly #parts: StoreParts;
  readonly #redis: Redis;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "selecting");
  }

  async countCandidates(
    queue: MessageQueue,
    index: CandidateIndex,
    ages: Ages = {},
  ): Promise<number> {
    const counts = await Promise.all(
      this.#partsOf(queue, index).map(({ key }) =>
        fromStore(this.#redis.zcount(key, ...bounds(ages))),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async candidates(options: Parameters<Selecting["candidates"]>[0]): Promise<CandidatePage> {
    const { queue, index, limit } = options;
    const zsets = this.#partsOf(queue, index);
    const { part, place } = parseCursor(options.cursor ?? "0 ", zsets.length);
    const zset = zsets[part] ?? badCursor();
    const reply = asArray(
      await this.#run(scripts.select, [zset.key], [place, ...bounds(options), limit, zset.domain]),
    );
    const ids = asArray(reply[0]).map(asText);
    const { found, read } = await this.#readSome(ids);
    const messages = found.filter((message) => message.queue === queue);
    if (read < ids.length) {
      const cursor = `${part} ${asText(asArray(reply[3])[read - 1])} ${ids[read - 1] ?? ""}`;
      return { messages, seen: read, cursor };
    }
    const page = { messages, seen: asNumber(reply[2]) };
    const next = asText(reply[1]);
    if (next !== "") return { ...page, cursor: `${part} ${next}` };
    return part + 1 < zsets.length ? { ...page, cursor: `${part + 1} ` } : page;
  }

  /** @returns the messages of the first ids, and how many ids these were: at least one, if there are any */
  async #readSome(
    ids: readonly string[],
  ): Promise<{ readonly found: readonly ListedMessage[]; readonly read: number }> {
    const found: ListedMessage[] = [];
    let [read, recipients] = [0, 0];
    for await (const step of readListedSteps(this.#redis, this.#parts.keys, ids)) {
      found.push(...step.messages);
      read += step.ids;
      for (const message of step.messages) recipients += message.recipients.length;
      if (recipients >= recipientsPerPage) break;
    }
    return { found, read };
  }

  messages(ids: readonly QueueId[]): Promise<readonly ListedMessage[]> {
    return readListed(this.#redis, this.#parts.keys, ids);
  }

  undoneRecipients(
    id: QueueId,
    from: number,
  ): AsyncGenerator<readonly StoredRecipient[], void, void> {
    return readUndone(this.#redis, this.#parts.keys, id, from);
  }

  #partsOf(queue: MessageQueue, index: CandidateIndex): readonly Part[] {
    const { keys } = this.#parts;
    switch (index.by) {
      case "queue":
        return [{ key: keys.byArrival(queue), domain: "" }];
      case "sender":
        return [{ key: keys.bySender(index.sender), domain: "" }];
      case "senderDomain":
        return [{ key: keys.bySenderDomain(queue, index.domain), domain: "" }];
      case "domain":
        return [
          { key: keys.byDomain(queue, index.domain), domain: "" },
          { key: keys.large(queue), domain: index.domain },
        ];
    }
  }

  #run(script: Script, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    return runInstanceScript(this.#redis, this.#parts.keys.prefix, { script, keys, args });
  }
}

function bounds({ arrivedFromMs, arrivedToMs }: Ages): [string, string] {
  return [String(arrivedFromMs ?? "-inf"), String(arrivedToMs ?? "+inf")];
}

/** "<number of the zset> <place in it>"; nothing that a caller made up reaches Redis. */
function parseCursor(text: string, zsets: number): { part: number; place: string } {
  const [, part, place] = /^(\d) ((?:\d{1,17}(?:\.\d+)? \w{1,255})?)$/.exec(text) ?? [];
  if (part === undefined || place === undefined || Number(part) >= zsets) badCursor();
  return { part: Number(part), place };
}

function badCursor(): never {
  throw new PostmqError("PMQ_USAGE", "the cursor is not one that a page gave");
}
