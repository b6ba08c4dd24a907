/**
 * The check of a running instance: one walk over its keys, each held against the records, in steps.
 *
 * SCAN gives the keys in pages, in no order: a record is held against the indexes that must name it, an index against the
 * records that it names, a part against its record. So both directions are seen, and nothing but a page is kept. Then
 * come the counts of domains, which are right only once the entries are, the reasons of corrupt, and BullMQ's queues.
 *
 * *Important:* what is compared is compared in one script. Only counts of more than a script should add up are taken in
 * steps (check-counts.ts, #manyOfName): they count only when they stand still meanwhile.
 *
 * Source: contract-of-checking.ts; DESIGN §3; spec faults.md "Invariants to scan at any quiet moment".
 */
import type { Redis } from "ioredis";
import { messageQueues, senderKey } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";
import { RecipientCounts } from "./check-counts.ts";
import { checkedKey } from "./check-keys.ts";
import type { CheckedKey } from "./check-keys.ts";
import { CheckScript, inThreeLooks, isFinding, readFound, stillSo, told } from "./check-steps.ts";
import type { Found } from "./check-steps.ts";
import type { CheckCounts, Checking, Finding, RingsReport } from "./contract-of-checking.ts";
import { keyHash } from "./instance-keys.ts";
import { parseEnvelope } from "./packing.ts";
import { asNumber, asText } from "./script-reply.ts";
import type { StoreParts } from "./store-parts.ts";
import { fromStore } from "./store-script.ts";

const scripts = {
  records: new CheckScript("check-records"),
  indexes: new CheckScript("check-indexes"),
  names: new CheckScript("check-names"),
  parts: new CheckScript("check-parts"),
  reasons: new CheckScript("check-reasons"),
};
const keysPerScan = 500;
const perScript = 50;
/** Fields of records, members of indexes: some milliseconds of Redis. */
const fieldsPerScript = 4000;
const membersPerScript = 300;
const defaultRestingSeconds = 3600;
const tries = 5;

type Options = Parameters<Checking["check"]>[0];
type IndexKey = Extract<CheckedKey, { is: "index" }>;
type PartKey = Extract<CheckedKey, { is: "part" }>;

export class CheckingStore implements Checking {
  readonly #parts: StoreParts;
  readonly #redis: Redis;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.#redis = parts.connect("patient", "checking");
  }

  check(options: Options): AsyncGenerator<Finding, CheckCounts, void> {
    return new InstanceWalk(this.#parts, this.#redis, options).run();
  }

  rings(): Promise<readonly RingsReport[]> {
    return this.#parts.bells.survey();
  }
}

class InstanceWalk {
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #options: Options;
  readonly #counts: RecipientCounts;
  #messages = 0;
  #contents = 0;
  #indexes = 0;
  #liveClaims = 0;
  #deadClaims = 0;

  constructor(parts: StoreParts, redis: Redis, options: Options) {
    this.#parts = parts;
    this.#redis = redis;
    this.#options = options;
    this.#counts = new RecipientCounts(redis, parts.keys);
  }

  async *run(): AsyncGenerator<Finding, CheckCounts, void> {
    for await (const page of this.#pages()) {
      const keys = page.map((name) => checkedKey(this.#parts.keys.prefix, name));
      const known = keys.filter((key) => key !== undefined);
      const ids = known.flatMap((key) => (key.is === "record" ? [key.id] : []));
      for (const some of inSteps(ids)) yield* this.#records(some);
      for (const some of inSteps(known.filter((key) => key.is === "index")))
        yield* this.#indexPage(some);
      for (const some of inSteps(known.filter((key) => key.is === "part")))
        yield* this.#partPage(some);
    }
    for (const queue of messageQueues) {
      yield* this.#names("dc", queue);
      yield* this.#names("sc", queue);
    }
    yield* this.#reasons();
    yield* this.#pausedRings();
    return {
      messages: this.#messages,
      contents: this.#contents,
      indexes: this.#indexes,
      liveClaims: this.#liveClaims,
      deadClaims: this.#deadClaims,
    };
  }

  /** Names of keys, without the prefix. */
  async *#pages(): AsyncGenerator<readonly string[], void, void> {
    const { prefix } = this.#parts.keys;
    const pattern = `${prefix.replaceAll(/[[\]?*\\]/g, String.raw`\$&`)}:*`;
    for (let cursor = "0"; ;) {
      const [next, keys] = await fromStore(
        this.#redis.scan(cursor, "MATCH", pattern, "COUNT", keysPerScan),
      );
      if (keys.length > 0) yield keys.map((key) => key.slice(prefix.length + 1));
      cursor = next;
      if (cursor === "0") return;
    }
  }

  // --------------------------------------------------------------------------------------- records

  async *#records(ids: readonly string[]): AsyncGenerator<Finding, void, void> {
    const first = await this.#lookAtRecords(ids, { isCounting: true });
    this.#messages += ids.length;
    this.#options.onCount?.(this.#messages);
    for (const id of idsOf(first.filter(({ kind }) => kind === "many"))) {
      yield* this.#recipientsOf(id);
    }
    const suspects = idsOf(first.filter(isFinding));
    if (suspects.length === 0) return;
    const found = stillSo(
      first,
      (await this.#lookAtRecords(suspects, { isCounting: false })).filter(isFinding),
    );
    if (!this.#options.isMending) {
      for (const one of found) yield told(one, "found");
      return;
    }
    await this.#mendRecords(found);
    const left = await this.#lookAtRecords(idsOf(found), { isCounting: false });
    for (const one of found) yield told(one, has(left, one) ? "left" : "mended");
  }

  /** Scripts that end when they have looked at enough, until all are looked at. */
  async #lookAtRecords(
    ids: readonly string[],
    options: { readonly isCounting: boolean; readonly isMending?: boolean },
  ): Promise<readonly Found[]> {
    const { prefix, record } = this.#parts.keys;
    const all: Found[] = [];
    for (let from = 0; from < ids.length;) {
      const some = ids.slice(from);
      const isMending = options.isMending === true;
      const senders = isMending ? await this.#senders(some) : new Map<string, readonly string[]>();
      const [looked, live, dead, ...found] = await scripts.records.run(this.#redis, {
        isMending,
        keys: some.map(record),
        prefix,
        args: [fieldsPerScript, ...some.flatMap((id) => [id, ...(senders.get(id) ?? ["", ""])])],
      });
      if (options.isCounting) {
        this.#liveClaims += asNumber(live);
        this.#deadClaims += asNumber(dead);
      }
      all.push(...readFound(found));
      from += asNumber(looked);
    }
    return all;
  }

  async #mendRecords(found: readonly Found[]): Promise<void> {
    const uncounted = idsOf(found.filter(({ kind }) => kind === "counts"));
    await this.#lookAtRecords(idsOf(found), { isCounting: false, isMending: true });
    for (const id of uncounted) await this.#counts.mend(id);
  }

  /** Envelope as stored and hash of its sender, for records that lack the latter: only here can it be worked out. */
  async #senders(ids: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
    const senders = new Map<string, readonly string[]>();
    for (const id of ids) {
      const key = this.#parts.keys.record(id);
      if ((await fromStore(this.#redis.type(key))) !== "hash") continue;
      const [envelope, sender] = await fromStore(this.#redis.hmget(key, "e", "sf"));
      if (typeof envelope !== "string" || typeof sender === "string") continue;
      const hash = senderHash(envelope);
      if (hash !== undefined) senders.set(id, [envelope, hash]);
    }
    return senders;
  }

  async *#recipientsOf(id: string): AsyncGenerator<Finding, void, void> {
    const counted = await this.#counts.count(id);
    if (counted === undefined) return;
    const { isBroken, trouble } = counted;
    const texts = isBroken ? ["recipients are missing"] : trouble;
    if (texts.length === 0) return;
    const kind = isBroken ? "unreadable" : "counts";
    const outcome = !this.#options.isMending
      ? "found"
      : (await this.#counts.mend(id))
        ? "mended"
        : "left";
    for (const text of texts) yield { kind, where: id, text, outcome };
  }

  // --------------------------------------------------------------------------------------- indexes

  async *#indexPage(indexes: readonly IndexKey[]): AsyncGenerator<Finding, void, void> {
    this.#indexes += indexes.length;
    const found = await this.#lookAtIndexes(indexes);
    const large = new Set(found.filter(({ kind }) => kind === "large").map(({ where }) => where));
    const { prefix } = this.#parts.keys;
    for (const index of indexes) {
      if (large.has(index.key.slice(prefix.length + 1))) yield* this.#largeIndex(index);
    }
    if (!found.some(isFinding)) return;
    yield* inThreeLooks(this.#options.isMending, (mends) => this.#lookAtIndexes(indexes, mends));
  }

  async #lookAtIndexes(indexes: readonly IndexKey[], isMending = false): Promise<readonly Found[]> {
    const all: Found[] = [];
    for (let from = 0; from < indexes.length;) {
      const some = indexes.slice(from);
      const [looked, ...found] = await scripts.indexes.run(this.#redis, {
        isMending,
        keys: some.map(({ key }) => key),
        prefix: this.#parts.keys.prefix,
        args: [membersPerScript, ...some.flatMap(({ kind, queue }) => [kind, queue, 0])],
      });
      all.push(...readFound(found));
      from += asNumber(looked);
    }
    return all;
  }

  async *#largeIndex({ key, kind, queue }: IndexKey): AsyncGenerator<Finding, void, void> {
    for (let cursor = "0"; ;) {
      const [next, flat] = await fromStore(this.#redis.zscanBuffer(key, cursor, "COUNT", 100));
      const members = flat.filter((_, i) => i % 2 === 0);
      if (members.length > 0) {
        yield* inThreeLooks(this.#options.isMending, async (isMending) => {
          const [, ...found] = await scripts.indexes.run(this.#redis, {
            isMending,
            keys: [key],
            prefix: this.#parts.keys.prefix,
            args: [membersPerScript, kind, queue, members.length, ...members],
          });
          return readFound(found);
        });
      }
      cursor = String(next);
      if (cursor === "0") return;
    }
  }

  // ----------------------------------------------------------------------------- contents, parts, reasons

  async *#partPage(parts: readonly PartKey[]): AsyncGenerator<Finding, void, void> {
    this.#contents += parts.filter(({ kind }) => kind === "c").length;
    yield* inThreeLooks(this.#options.isMending, async (isMending) =>
      readFound(
        await scripts.parts.run(this.#redis, {
          isMending,
          keys: parts.map(({ key }) => key),
          prefix: this.#parts.keys.prefix,
          args: [
            this.#options.restingSeconds ?? defaultRestingSeconds,
            ...parts.flatMap(({ kind, id, rest }) => [kind, id, rest]),
          ],
        }),
      ),
    );
  }

  async *#reasons(): AsyncGenerator<Finding, void, void> {
    const key = `${this.#parts.keys.prefix}:why`;
    for (let cursor = "0"; ;) {
      const [next, flat] = await fromStore(this.#redis.hscan(key, cursor, "COUNT", 100));
      const ids = flat.filter((_, i) => i % 2 === 0);
      if (ids.length > 0) {
        yield* inThreeLooks(this.#options.isMending, async (isMending) =>
          readFound(
            await scripts.reasons.run(this.#redis, {
              isMending,
              keys: [key],
              prefix: this.#parts.keys.prefix,
              args: ids,
            }),
          ),
        );
      }
      cursor = next;
      if (cursor === "0") return;
    }
  }

  // -------------------------------------------------------------------------------- counts of domains

  async *#names(kind: "dc" | "sc", queue: MessageQueue): AsyncGenerator<Finding, void, void> {
    const { prefix, domainNames, senderNames } = this.#parts.keys;
    const key = kind === "dc" ? domainNames(queue) : senderNames(queue);
    if ((await fromStore(this.#redis.type(key))) !== "hash") return;
    const look = async (domains: readonly string[], isMending: boolean) =>
      readFound(
        await scripts.names.run(this.#redis, {
          isMending,
          keys: [key],
          prefix,
          args: [kind, queue, ...domains],
        }),
      );
    for (let cursor = "0"; ;) {
      const [next, flat] = await fromStore(this.#redis.hscan(key, cursor, "COUNT", 100));
      const domains = flat.filter((_, i) => i % 2 === 0);
      if (domains.length > 0) {
        const found = await look(domains, false);
        for (const one of found) {
          if (one.kind === "many") yield* this.#manyOfName(queue, one.where);
        }
        if (found.some(isFinding)) {
          yield* inThreeLooks(this.#options.isMending, (mends) => look(domains, mends));
        }
      }
      cursor = next;
      if (cursor === "0") return;
    }
  }

  /** A domain with more extras than a script should add up: what is wrong stays the same while mail comes and goes. */
  async *#manyOfName(queue: MessageQueue, domain: string): AsyncGenerator<Finding, void, void> {
    const { domainNames } = this.#parts.keys;
    let last: number | undefined;
    for (let attempt = 0; attempt < tries; attempt += 1) {
      const tooMany = await this.#excessOfName(queue, domain);
      if (tooMany === 0) return;
      if (tooMany !== last) {
        last = tooMany;
        continue;
      }
      const { isMending } = this.#options;
      if (isMending) await fromStore(this.#redis.hincrby(domainNames(queue), domain, -tooMany));
      yield {
        kind: "names",
        where: domain,
        text: `dc:${queue} counts ${tooMany} more than its entries`,
        outcome: isMending ? "mended" : "found",
      };
      return;
    }
  }

  async #excessOfName(queue: MessageQueue, domain: string): Promise<number> {
    const { prefix, domainNames } = this.#parts.keys;
    const extras = `${prefix}:x:${queue}:${keyHash(domain)}`;
    let sum = 0;
    const seen = new Set<string>();
    for (let cursor = "0"; ;) {
      const [next, flat] = await fromStore(this.#redis.zscan(extras, cursor, "COUNT", 500));
      for (const member of flat.filter((_, i) => i % 2 === 0)) {
        if (seen.has(member)) continue;
        seen.add(member);
        sum += Number.parseInt(member, 10) || 0;
      }
      cursor = next;
      if (cursor === "0") break;
    }
    const found = readFound(
      await scripts.names.run(this.#redis, {
        isMending: false,
        keys: [domainNames(queue)],
        prefix,
        args: ["dc", queue, domain],
      }),
    );
    const many = found.find(({ kind }) => kind === "many");
    return many === undefined ? 0 : Number(asText(many.rest[0])) - sum;
  }

  // ------------------------------------------------------------------------------------------- rings

  async *#pausedRings(): AsyncGenerator<Finding, void, void> {
    const { bells } = this.#parts;
    for (const queue of await bells.pausedQueues()) {
      const { isMending } = this.#options;
      if (isMending) await bells.resume(queue);
      yield {
        kind: "rings",
        where: queue,
        text: "its rings are paused, nobody hears them",
        outcome: isMending ? "mended" : "found",
      };
    }
  }
}

function senderHash(envelope: string): string | undefined {
  try {
    return keyHash(senderKey(parseEnvelope(envelope).sender));
  } catch {
    // Unreadable: the record goes to corrupt.
    return undefined;
  }
}

function idsOf(found: readonly Found[]): readonly string[] {
  return [...new Set(found.map(({ where }) => where))];
}

function has(found: readonly Found[], one: Found): boolean {
  return found.some(({ where, kind }) => where === one.where && kind === one.kind);
}

function* inSteps<T>(items: readonly T[]): Generator<readonly T[], void, void> {
  for (let from = 0; from < items.length; from += perScript) {
    yield items.slice(from, from + perScript);
  }
}
