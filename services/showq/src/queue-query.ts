/**
 * What a caller asks for in the query of a request, checked; what is not known is refused, never ignored.
 *
 * Source: spec http-api.md §2.
 */
import { isMessageQueue, PostmqError } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

const defaultLimit = 100;
const mostLimit = 1_000;
const mostBuckets = 100;
const mostMinutes = 1_000_000;

/** Later versions know these filters; this one must not pretend that they match everything. */
const laterFilters = ["tenant", "campaign", "tag"];

/** @throws PMQ_USAGE (422) for any parameter at all */
export function assertEmpty(query: unknown): Query {
  return new Query(query, []);
}

/** The parameters of a query by name. @throws PMQ_USAGE (422) for an unknown one or one given twice */
export class Query {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(query: unknown, known: readonly string[]) {
    const entries = typeof query === "object" && query !== null ? Object.entries(query) : [];
    this.#values = new Map(
      entries.map(([name, value]: [string, unknown]) => [
        name,
        (Array.isArray(value) ? value : [value]).map(String),
      ]),
    );
    for (const name of this.#values.keys()) {
      if (known.includes(name)) continue;
      const isLater = laterFilters.includes(name);
      throw refusal(
        name.slice(0, 100),
        isLater ? "is not supported by this version" : "is not known",
      );
    }
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  one(name: string): string | undefined {
    const values = this.#values.get(name) ?? [];
    if (values.length > 1) throw refusal(name, "is given more than once");
    return values[0];
  }

  /** Repeated, or separated by commas; `fallback` when there is none. */
  queues(fallback: readonly MessageQueue[]): readonly MessageQueue[] {
    const names = (this.#values.get("queue") ?? []).flatMap((value) => value.split(","));
    if (names.length === 0) return fallback;
    const queues = names.map((name) => {
      if (!isMessageQueue(name)) throw refusal("queue", `"${name.slice(0, 100)}" is not a queue`);
      return name;
    });
    return [...new Set(queues)];
  }

  /** Name and value of all but those named, one pair for each value. */
  pairsBut(others: readonly string[]): readonly (readonly [string, string])[] {
    return [...this.#values].flatMap(([name, values]) =>
      others.includes(name) ? [] : values.map((value) => [name, value] as const),
    );
  }

  limit(): number {
    return this.number("limit", { fallback: defaultLimit, most: mostLimit });
  }

  number(name: string, { fallback, most }: { readonly fallback: number; readonly most: number }) {
    const text = this.one(name);
    if (text === undefined) return fallback;
    const value = /^\d{1,9}$/.test(text) ? Number(text) : 0;
    if (value < 1 || value > most) throw refusal(name, `must be a whole number from 1 to ${most}`);
    return value;
  }

  oneOf<const Word extends string>(name: string, words: readonly [Word, ...Word[]]): Word {
    const text = this.one(name);
    if (text === undefined) return words[0];
    const found = words.find((word) => word === text);
    if (found === undefined) throw refusal(name, `must be one of ${words.join(", ")}`);
    return found;
  }
}

export type QshapeQuery = {
  readonly queues: readonly MessageQueue[];
  readonly by: "recipient" | "sender";
  readonly bucketCount: number;
  readonly unitMinutes: number;
  readonly isLinear: boolean;
  readonly minSubdomains?: number;
};

/** The same questions as the command's, with the same defaults (A7, A10). */
export function parseQshapeQuery(raw: unknown): QshapeQuery {
  const names = ["queue", "by", "buckets", "unit_minutes", "linear", "parents", "min_subdomains"];
  const query = new Query(raw, names);
  const hasParents = query.oneOf("parents", ["false", "true"]) === "true";
  const minSubdomains = query.number("min_subdomains", { fallback: 5, most: 1_000_000 });
  return {
    queues: query.queues(["incoming", "active"]),
    by: query.oneOf("by", ["recipient", "sender"]),
    bucketCount: query.number("buckets", { fallback: 10, most: mostBuckets }),
    unitMinutes: query.number("unit_minutes", { fallback: 5, most: mostMinutes }),
    isLinear: query.oneOf("linear", ["false", "true"]) === "true",
    ...(hasParents ? { minSubdomains } : {}),
  };
}

export function refusal(parameter: string, detail: string): PostmqError {
  return new PostmqError("PMQ_USAGE", `${parameter} ${detail}`, { facts: { parameter } });
}
