/**
 * Compares an instance's indexes, contents and requests with its records, at a quiet moment.
 *
 * What the indexes should hold is worked out anew from the records alone, by the rules in lua/include/indexes.lua, and
 * held against what they do hold. It scans, so it is for tests and for operators' checks, never for daemons.
 *
 * Source: spec faults.md "Invariants to scan at any quiet moment"; P2, P12.
 */
import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { countedDomain, isMessageQueue, messageQueues } from "@postmq/vocabulary";
import { instanceKeys } from "./instance-keys.ts";
import type { InstanceKeys } from "./instance-keys.ts";
import { connect } from "./redis-connection.ts";

type Index = Map<string, Map<string, number>>;
type Record_ = Readonly<Record<string, string>>;

function domainHash(domain: string): string {
  return createHash("sha1").update(domain).digest("hex").slice(0, 16);
}

function put(index: Index, key: string, member: string, score: number, isCount = false): void {
  const members = index.get(key) ?? new Map<string, number>();
  members.set(member, isCount ? (members.get(member) ?? 0) + score : score);
  index.set(key, members);
}

function isUndone(state: string | undefined): boolean {
  return state === undefined || state.startsWith("t");
}

function recipientStates(all: Record_, total: number): readonly string[] {
  return Array.from({ length: total }, (_, number) => all[`s${number}`] ?? "");
}

class InstanceCheck {
  readonly #redis: Redis;
  readonly #keys: InstanceKeys;
  readonly #expected: Index = new Map();
  readonly #contents = new Set<string>();
  readonly trouble: string[] = [];

  constructor(redis: Redis, keys: InstanceKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async run(): Promise<readonly string[]> {
    const all = await this.#scan();
    const records = `${this.#keys.prefix}:m:`;
    for (const key of all.filter((name) => name.startsWith(records))) {
      const id = key.slice(records.length);
      if (!id.includes(":")) await this.#checkRecord(id);
    }
    await this.#compareIndexes(all);
    for (const key of all.filter((name) => name.startsWith(`${this.#keys.prefix}:away:`))) {
      await this.#checkAway(key);
    }
    for (const key of all.filter((name) => name.startsWith(`${this.#keys.prefix}:c:`))) {
      if (!this.#contents.has(key) && (await this.#redis.ttl(key)) < 0) {
        this.trouble.push(`content without a record: ${key}`);
      }
    }
    return this.trouble;
  }

  async #scan(): Promise<readonly string[]> {
    const found = new Set<string>();
    const pattern = this.#keys.prefix.replaceAll(/[[\]?*\\]/g, String.raw`\$&`);
    for (let cursor = "0"; ;) {
      const [next, keys] = await this.#redis.scan(cursor, "MATCH", `${pattern}:*`, "COUNT", 1000);
      for (const key of keys) found.add(key);
      cursor = next;
      if (cursor === "0") return [...found];
    }
  }

  async #checkRecord(id: string): Promise<void> {
    if ((await this.#redis.type(this.#keys.record(id))) !== "hash") return;
    const record: Record_ = await this.#redis.hgetall(this.#keys.record(id));
    const queue = record["q"] ?? "";
    if (!isMessageQueue(queue)) {
      this.trouble.push(`${id}: in no queue`);
      return;
    }
    const arrival = Number(record["at"]);
    put(this.#expected, this.#keys.byArrival(queue), id, arrival);
    if (queue !== "hold" && queue !== "corrupt")
      put(this.#expected, this.#keys.byEntry(queue), id, Number(record["qe"]));
    if (queue === "deferred") put(this.#expected, this.#keys.due, id, Number(record["due"]));
    const sender = record["sd"] ?? "";
    put(this.#expected, `${this.#keys.prefix}:f:${record["sf"]}`, id, arrival);
    put(this.#expected, `${this.#keys.prefix}:s:${queue}:${domainHash(sender)}`, id, arrival);
    put(this.#expected, this.#keys.senderNames(queue), sender, 1, true);
    await this.#checkRecipients(id, record);
    await this.#checkContent(id, record);
    this.#checkRequests(id, record);
  }

  /** A message on its way out is in no queue, and keeps its content. */
  async #checkAway(key: string): Promise<void> {
    const id = key.slice(`${this.#keys.prefix}:away:`.length);
    if ((await this.#redis.exists(this.#keys.record(id))) === 1)
      this.trouble.push(`${id}: is away, and here`);
    if ((await this.#redis.zscore(this.#keys.moving, id)) === null)
      this.trouble.push(`${id}: is away, and not among those that move`);
    await this.#checkContent(id, await this.#redis.hgetall(key));
  }

  async #recipients(id: string, record: Record_): Promise<Record_> {
    const total = Number(record["n"]);
    const all: Record<string, string> = { ...record };
    for (let chunk = 1; chunk * 1000 < total; chunk += 1) {
      Object.assign(
        all,
        await this.#redis.hgetall(`${this.#keys.record(id)}:${record["rg"] ?? "0"}:${chunk}`),
      );
    }
    return all;
  }

  async #checkRecipients(id: string, record: Record_): Promise<void> {
    const queue = record["q"] ?? "";
    if (!isMessageQueue(queue)) return;
    const all = await this.#recipients(id, record);
    const counts = new Map<string, number>();
    let undone = 0;
    for (let number = 0; number < Number(record["n"]); number += 1) {
      const recipient = all[String(number)];
      const isLeft =
        recipient !== undefined && record["fin"] === undefined && isUndone(all[`s${number}`]);
      if (!isLeft) continue;
      undone += 1;
      const domain = countedDomain(recipient.split("\n")[0] ?? "");
      counts.set(domain, (counts.get(domain) ?? 0) + 1);
    }
    if (undone !== Number(record["u"]))
      this.trouble.push(`${id}: u is ${record["u"]}, ${undone} recipients are undone`);
    this.#checkOwed(id, record, recipientStates(all, Number(record["n"])));
    const arrival = Number(record["at"]);
    if (record["lg"] !== undefined) {
      put(this.#expected, this.#keys.large(queue), id, arrival);
      const kept = await this.#redis.hgetall(this.#keys.largeDomains(id, record["rg"] ?? "0"));
      for (const [domain, count] of counts) {
        if (Number(kept[domain]) !== count)
          this.trouble.push(`${id}: counts ${kept[domain]} for ${domain}, not ${count}`);
      }
      return;
    }
    for (const [domain, count] of counts) {
      const hash = domainHash(domain);
      put(this.#expected, `${this.#keys.prefix}:d:${queue}:${hash}`, id, arrival);
      if (count > 1)
        put(
          this.#expected,
          `${this.#keys.prefix}:x:${queue}:${hash}`,
          `${count - 1}:${id}`,
          arrival,
        );
      put(this.#expected, this.#keys.domainNames(queue), domain, count, true);
    }
  }

  /** Reports are owed of as many as the record counts. */
  #checkOwed(id: string, record: Record_, states: readonly string[]): void {
    const owed = [
      { letter: "f", count: "fl", round: "rr" },
      { letter: "s", count: "su", round: "sr" },
    ] as const;
    for (const { letter, count, round } of owed) {
      const found = states.filter(
        (state) =>
          state.startsWith(letter) &&
          Number.parseInt(state.slice(1), 10) >= Number(record[round] ?? 0),
      ).length;
      if (found !== Number(record[count] ?? 0))
        this.trouble.push(
          `${id}: ${count} is ${record[count]}, ${found} recipients are unreported`,
        );
    }
  }

  async #checkContent(id: string, record: Record_): Promise<void> {
    const key = `${this.#keys.prefix}:c:${record["c"] ?? id}`;
    this.#contents.add(key);
    for (let chunk = 0; chunk < Number(record["ch"]); chunk += 1) {
      if ((await this.#redis.hexists(key, String(chunk))) === 0)
        this.trouble.push(`${id}: content chunk ${chunk} is missing`);
    }
    if ((await this.#redis.ttl(key)) >= 0) this.trouble.push(`${id}: its content expires`);
  }

  #checkRequests(id: string, record: Record_): void {
    const open = (record["o"] ?? "").split(" ").filter((number) => number !== "");
    const stored = Object.keys(record).filter((field) => /^R\d+$/.test(field));
    for (const number of open) {
      if (!stored.includes(`R${number}`))
        this.trouble.push(`${id}: open request ${number} is not stored`);
    }
    if (stored.length !== open.length)
      this.trouble.push(`${id}: ${stored.length} requests stored, ${open.length} open`);
  }

  async #membersOf(key: string): Promise<readonly string[]> {
    if ((await this.#redis.type(key)) !== "hash")
      return this.#redis.zrange(key, "0", "-1", "WITHSCORES");
    return Object.entries(await this.#redis.hgetall(key)).flat();
  }

  async #compareIndexes(all: readonly string[]): Promise<void> {
    const kinds = ["q", "e", "l", "s", "d", "x", "sc", "dc"];
    const isIndex = (key: string) => {
      const [kind = "", queue = ""] = key.slice(this.#keys.prefix.length + 1).split(":");
      return (
        key === this.#keys.due ||
        kind === "f" ||
        (kinds.includes(kind) && messageQueues.some((name) => name === queue))
      );
    };
    for (const key of new Set([...all.filter(isIndex), ...this.#expected.keys()])) {
      const flat = await this.#membersOf(key);
      const actual = new Map<string, number>();
      for (let i = 0; i + 1 < flat.length; i += 2) actual.set(flat[i] ?? "", Number(flat[i + 1]));
      const expected = this.#expected.get(key) ?? new Map<string, number>();
      for (const [member, score] of expected) {
        if (actual.get(member) !== score)
          this.trouble.push(`${key}: ${member} is ${actual.get(member)}, not ${score}`);
      }
      for (const member of actual.keys()) {
        if (!expected.has(member)) this.trouble.push(`${key}: ${member} should not be there`);
      }
    }
  }
}

/** What is wrong, one sentence each; empty when all agree. Call it only while nothing moves. */
export async function checkInstance(
  redisUrl: string,
  instanceName: string,
): Promise<readonly string[]> {
  const redis = connect(redisUrl, "patient", "check", () => undefined);
  try {
    return await new InstanceCheck(redis, instanceKeys(instanceName)).run();
  } finally {
    redis.disconnect();
  }
}
