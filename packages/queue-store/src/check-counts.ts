/**
 * Counting the recipients of a message in steps, and making its record say what was counted.
 *
 * A message may have more recipients than one script should look at. The steps are of one moment if the record says the
 * same at each of them; else they are taken anew, and after some tries the message is left alone: it is being worked on.
 *
 * Source: DESIGN §3 "Indexes".
 */
import type { Redis } from "ioredis";
import type { InstanceKeys } from "./instance-keys.ts";
import { asArray, asNumber, asText } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import type { Script, ScriptArgument } from "./script.ts";
import { runInstanceScript, fromStore } from "./store-script.ts";

const countRecipients = loadScript("count-recipients");
const mendCounts = loadScript("mend-counts");
const parkCorrupt = loadScript("park-corrupt");
const recipientsPerScript = 2000;
const domainsPerScan = 1000;
const tries = 5;

/** What a record says, and what it should say. */
export type Counted = {
  /** Opaque. */
  readonly said: string;
  readonly undone: number;
  readonly failed: number;
  readonly sent: number;
  readonly isLarge: boolean;
  /** Recipients can't be read, or are fewer than the record counts. */
  readonly isBroken: boolean;
  /** What is wrong, one sentence each. */
  readonly trouble: readonly string[];
  /** Domains as they should be counted; of a large message only those that change, 0 for those that go. */
  readonly domains: ReadonlyMap<string, number>;
};

export class RecipientCounts {
  readonly #redis: Redis;
  readonly #keys: InstanceKeys;

  constructor(redis: Redis, keys: InstanceKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  #run(script: Script, id: string, args: readonly ScriptArgument[]): Promise<unknown> {
    const { prefix, record } = this.#keys;
    return runInstanceScript(this.#redis, prefix, {
      script,
      keys: [record(id)],
      args: [id, ...args],
    });
  }

  /** @returns undefined: it is gone, or changes all the time */
  async count(id: string): Promise<Counted | undefined> {
    for (let attempt = 0; attempt < tries; attempt += 1) {
      const counted = await this.#countOnce(id);
      if (counted !== "changed") return counted;
    }
    return undefined;
  }

  /** @returns whether it says now what was counted, or is in corrupt because it can't */
  async mend(id: string): Promise<boolean> {
    for (let attempt = 0; attempt < tries; attempt += 1) {
      const counted = await this.count(id);
      if (counted === undefined) return false;
      if (counted.isBroken) {
        await this.#run(parkCorrupt, id, ["recipients are missing", "", ""]);
        return true;
      }
      const { said, undone, failed, sent, domains } = counted;
      const args = [said, undone, failed, sent, ...[...domains].flat()];
      const answer = await this.#run(mendCounts, id, args);
      if (answer === "mended") return true;
    }
    return false;
  }

  async #countOnce(id: string): Promise<Counted | undefined | "changed"> {
    let [undone, failed, sent, missing, isBad, isLarge] = [0, 0, 0, 0, false, false];
    let said: string | undefined;
    const domains = new Map<string, number>();
    for (let from = 0; ;) {
      const [next, says, ...rest] = asArray(
        await this.#run(countRecipients, id, [from, recipientsPerScript]),
      );
      if (asNumber(next) < 0) return undefined;
      if (said !== undefined && said !== asText(says)) return "changed";
      said = asText(says);
      const [u, fl, su, gone, large, bad, flat] = rest;
      undone += asNumber(u);
      failed += asNumber(fl);
      sent += asNumber(su);
      missing += asNumber(gone);
      isLarge = asNumber(large) === 1;
      isBad ||= asNumber(bad) === 1;
      addPairs(domains, asArray(flat));
      if (asNumber(next) <= from) break;
      from = asNumber(next);
    }
    const [, , , , fin, , , u = "", fl = "", su = "", ds = ""] = said.split("\n\n");
    const trouble = [
      ...differing("u", u, undone),
      ...differing("fl", fl, failed),
      ...differing("su", su, sent),
    ];
    const kept = isLarge ? await this.#largeDomains(id, said) : pairs(ds.split("\n"));
    const changed = new Map(
      [...new Set([...kept.keys(), ...domains.keys()])]
        .filter((domain) => kept.get(domain) !== domains.get(domain))
        .map((domain) => [domain, domains.get(domain) ?? 0]),
    );
    const isFinishedLarge = isLarge && fin !== "";
    if (!isFinishedLarge) {
      for (const [domain, count] of changed)
        trouble.push(`${domain} is counted ${kept.get(domain) ?? 0} times, not ${count}`);
    }
    return {
      said,
      undone,
      failed,
      sent,
      isLarge,
      isBroken: isBad || (missing > 0 && undone < Number(u)),
      trouble,
      domains: isFinishedLarge ? new Map() : isLarge ? changed : domains,
    };
  }

  async #largeDomains(id: string, said: string): Promise<ReadonlyMap<string, number>> {
    const round = said.split("\n\n")[3] ?? "";
    const key = this.#keys.largeDomains(id, round === "" ? "0" : round);
    const found = new Map<string, number>();
    for (let cursor = "0"; ;) {
      const [next, flat] = await fromStore(this.#redis.hscan(key, cursor, "COUNT", domainsPerScan));
      for (const [domain, count] of pairs(flat)) found.set(domain, count);
      cursor = next;
      if (cursor === "0") return found;
    }
  }
}

function differing(name: string, says: string, counted: number): readonly string[] {
  return Number(says) === counted
    ? []
    : [`${name} is ${says === "" ? "0" : says}, ${counted} were counted`];
}

function pairs(flat: readonly string[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (let i = 0; i + 1 < flat.length; i += 2) found.set(flat[i] ?? "", Number(flat[i + 1]));
  return found;
}

function addPairs(domains: Map<string, number>, flat: readonly unknown[]): void {
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const domain = asText(flat[i]);
    domains.set(domain, (domains.get(domain) ?? 0) + asNumber(flat[i + 1]));
  }
}
