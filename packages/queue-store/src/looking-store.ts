/**
 * Looking on: listings, qshape and depths, all from the indexes that the move scripts keep. Nothing scans.
 *
 * Source: DESIGN §3 "Indexes"; spec A6, A7, Q9; P12.
 */
import type { Redis } from "ioredis";
import { messageQueues, panic } from "@postmq/vocabulary";
import type { MessageQueue, QueueId, StoredRecipient } from "@postmq/vocabulary";
import { readContent } from "./content.ts";
import type {
  ContentRef,
  DestinationReport,
  ListedMessage,
  ListPage,
  Looking,
  OpenRequest,
  QshapeRow,
  QueueDepth,
  SchedulerReport,
  WorkerReport,
} from "./contract.ts";
import { parseDestinationReport, parseSchedulerReport, readScanned } from "./leader-reports.ts";
import { readListed, readUndone } from "./listed-messages.ts";
import { unpackRequest } from "./packing.ts";
import { asArray, asNumber } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const countAges = loadScript("count-ages");
/** Domains counted per script: keeps Redis free for others in between. */
const domainsPerScript = 100;
const extrasPerRead = 2000;

export class LookingStore implements Looking {
  readonly #parts: StoreParts;
  readonly #redis: Redis;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "looking");
  }

  async depths(): Promise<readonly QueueDepth[]> {
    return Promise.all(
      messageQueues.map(async (queue) => {
        const key = this.#parts.keys.byArrival(queue);
        const [messages, oldest] = await Promise.all([
          this.#redis.zcard(key),
          this.#redis.zrange(key, "0", "0", "WITHSCORES"),
        ]);
        return oldest[1] === undefined
          ? { queue, messages }
          : { queue, messages, oldestArrivalMs: Number(oldest[1]) };
      }),
    );
  }

  async list(
    queue: MessageQueue,
    options: { readonly cursor?: string; readonly limit: number },
  ): Promise<ListPage> {
    const key = this.#parts.keys.byArrival(queue);
    const [fromMs = "-inf", seen = "0"] = options.cursor?.split(":") ?? [];
    const flat = await this.#redis.zrangebyscore(
      key,
      fromMs,
      "+inf",
      "WITHSCORES",
      "LIMIT",
      Number(seen),
      options.limit,
    );
    const ids = flat.filter((_, i) => i % 2 === 0);
    const messages = await readListed(this.#redis, this.#parts.keys, ids);
    const scores = flat.filter((_, i) => i % 2 === 1);
    const last = scores.at(-1);
    if (ids.length < options.limit || last === undefined) {
      return { messages: messages.filter((message) => message.queue === queue) };
    }
    // The next page begins behind those of the last millisecond that were shown already.
    const shown =
      scores.filter((score) => score === last).length + (last === fromMs ? Number(seen) : 0);
    return {
      messages: messages.filter((message) => message.queue === queue),
      cursor: `${last}:${shown}`,
    };
  }

  async message(id: QueueId): Promise<ListedMessage | undefined> {
    return (await readListed(this.#redis, this.#parts.keys, [id]))[0];
  }

  undoneRecipients(
    id: QueueId,
    from: number,
  ): AsyncGenerator<readonly StoredRecipient[], void, void> {
    return readUndone(this.#redis, this.#parts.keys, id, from);
  }

  async qshape(options: {
    readonly queues: readonly MessageQueue[];
    readonly by: "recipient" | "sender";
    readonly ageLimitsMs: readonly number[];
    readonly nowMs: number;
  }): Promise<readonly QshapeRow[]> {
    const rows = new Map<string, number[]>();
    const add = (domain: string, counts: readonly number[]) => {
      const row = rows.get(domain) ?? counts.map(() => 0);
      for (const [i, count] of counts.entries()) row[i] = (row[i] ?? 0) + count;
      rows.set(domain, row);
    };
    for (const queue of options.queues) {
      await this.#countQueue(queue, options, add);
      if (options.by === "recipient") await this.#countLarge(queue, options, add);
    }
    return [...rows].map(([domain, counts]) => ({ domain, counts }));
  }

  async #countQueue(
    queue: MessageQueue,
    options: Parameters<Looking["qshape"]>[0],
    add: (domain: string, counts: readonly number[]) => void,
  ): Promise<void> {
    const { keys } = this.#parts;
    const names = options.by === "recipient" ? keys.domainNames(queue) : keys.senderNames(queue);
    const domains = await this.#redis.hkeys(names);
    const limits = options.ageLimitsMs.map((limit) => String(Math.floor(options.nowMs - limit)));
    for (let from = 0; from < domains.length; from += domainsPerScript) {
      const some = domains.slice(from, from + domainsPerScript);
      const reply = asArray(
        await runScript(
          this.#redis,
          countAges,
          [names],
          [
            keys.prefix,
            queue,
            options.by === "recipient" ? "d" : "s",
            limits.length,
            ...limits,
            ...some,
          ],
        ),
      );
      for (const [i, domain] of some.entries()) {
        const row = asArray(reply[i]).map(asNumber);
        const counts = row.slice(0, limits.length + 1);
        add(domain, counts);
        if (row.length > counts.length) await this.#countExtras(queue, domain, options, add);
      }
    }
  }

  /** Where many messages have several recipients in a domain. */
  async #countExtras(
    queue: MessageQueue,
    domain: string,
    options: Parameters<Looking["qshape"]>[0],
    add: (domain: string, counts: readonly number[]) => void,
  ): Promise<void> {
    const key = this.#parts.keys.extras(queue, domain);
    const counts = Array.from({ length: options.ageLimitsMs.length + 1 }, () => 0);
    for (let from = 0; ; from += extrasPerRead) {
      const flat = await this.#redis.zrange(
        key,
        String(from),
        String(from + extrasPerRead - 1),
        "WITHSCORES",
      );
      for (let i = 0; i + 1 < flat.length; i += 2) {
        const bucket = bucketOf(options.nowMs - Number(flat[i + 1]), options.ageLimitsMs);
        counts[bucket] = (counts[bucket] ?? 0) + Number.parseInt(flat[i] ?? "0", 10);
      }
      if (flat.length < extrasPerRead * 2) break;
    }
    add(domain, counts);
  }

  /** Messages of very many domains keep their own counts (DESIGN §3). */
  async #countLarge(
    queue: MessageQueue,
    options: Parameters<Looking["qshape"]>[0],
    add: (domain: string, counts: readonly number[]) => void,
  ): Promise<void> {
    const { keys } = this.#parts;
    const flat = await this.#redis.zrange(keys.large(queue), "0", "-1", "WITHSCORES");
    for (let i = 0; i + 1 < flat.length; i += 2) {
      const bucket = bucketOf(options.nowMs - Number(flat[i + 1]), options.ageLimitsMs);
      const id = flat[i] ?? panic("no id");
      const round = (await this.#redis.hget(keys.record(id), "rg")) ?? "0";
      const counts = await this.#redis.hgetall(keys.largeDomains(id, round));
      for (const [domain, count] of Object.entries(counts)) {
        add(
          domain,
          Array.from({ length: options.ageLimitsMs.length + 1 }, (_, b) =>
            b === bucket ? Number(count) : 0,
          ),
        );
      }
    }
  }

  async scheduler(): Promise<SchedulerReport | undefined> {
    const json = await this.#redis.get(this.#parts.keys.scheduler);
    return json === null ? undefined : parseSchedulerReport(json);
  }

  async destinations(options: {
    readonly cursor?: string;
    readonly limit: number;
  }): Promise<{ readonly destinations: readonly DestinationReport[]; readonly cursor?: string }> {
    const { destinations: key } = this.#parts.keys;
    const cursor = options.cursor ?? "0";
    const [next, flat] = await this.#redis.hscan(key, cursor, "COUNT", options.limit);
    return { destinations: readScanned(flat), ...(next === "0" ? {} : { cursor: next }) };
  }

  async destinationsNamed(names: readonly string[]): Promise<readonly DestinationReport[]> {
    if (names.length === 0) return [];
    const found = await this.#redis.hmget(this.#parts.keys.destinations, ...names);
    return found
      .map((json) => (json === null ? undefined : parseDestinationReport(json)))
      .filter((report) => report !== undefined);
  }

  async workers(): Promise<readonly WorkerReport[]> {
    const { workers, gone, heartbeat } = this.#parts.keys;
    const [concurrencies, goneSince] = await Promise.all([
      this.#redis.hgetall(workers),
      this.#redis.hgetall(gone),
    ]);
    const names = Object.keys(concurrencies).toSorted();
    const beats = await Promise.all(names.map((name) => this.#redis.exists(heartbeat(name))));
    return names.map((name, i) => {
      const isAlive = beats[i] === 1;
      const goneSinceMs = Number(goneSince[name]);
      return {
        name,
        concurrency: Number(concurrencies[name]),
        isAlive,
        ...(isAlive || Number.isNaN(goneSinceMs) ? {} : { goneSinceMs }),
      };
    });
  }

  async openRequests(id: QueueId): Promise<readonly OpenRequest[]> {
    const key = this.#parts.keys.record(id);
    // Rubbish in the place of a record has no requests.
    if ((await this.#redis.type(key)) !== "hash") return [];
    const open = (await this.#redis.hget(key, "o")) ?? "";
    const numbers = open.split(" ").filter((number) => number !== "");
    if (numbers.length === 0) return [];
    const texts = await this.#redis.hmget(key, ...numbers.map((number) => `R${number}`));
    return numbers
      .map((number, i) => unpackRequest(id, Number(number), texts[i] ?? ""))
      .filter((request) => request !== undefined);
  }

  readContent(content: ContentRef): AsyncIterable<Buffer> {
    return readContent(this.#redis, this.#parts.keys.prefix, content);
  }
}

function bucketOf(ageMs: number, ageLimitsMs: readonly number[]): number {
  const found = ageLimitsMs.findIndex((limit) => ageMs < limit);
  return found < 0 ? ageLimitsMs.length : found;
}
