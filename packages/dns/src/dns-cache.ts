/**
 * Answers of DNS, kept for as long as they may be.
 *
 * The least recently used one gives way when there are too many. Who asks for what is being asked already waits for
 * that answer, also when it may not be kept.
 *
 * Source: RFC 1035 §7.4; RFC 2308 §5.
 */
import type { DnsAnswer } from "./resolver.ts";

/** An answer and how long it holds; 0: only for those who wait for it. */
export type TimedAnswer<T> = { readonly answer: DnsAnswer<T>; readonly ttlMs: number };

type Kept<T> = { readonly answer: DnsAnswer<T>; readonly untilMs: number };

/** Some megabytes at most; a busy worker sees a few thousand domains an hour. */
const mostEntries = 10_000;

export class DnsCache<T> {
  readonly #nowMs: () => number;
  readonly #mostEntries: number;
  /** Least recently used first. */
  readonly #kept = new Map<string, Kept<T>>();
  readonly #asked = new Map<string, Promise<DnsAnswer<T>>>();

  /** @param nowMs a clock that does not jump */
  constructor(nowMs: () => number, limit = mostEntries) {
    this.#nowMs = nowMs;
    this.#mostEntries = limit;
  }

  get size(): number {
    return this.#kept.size;
  }

  async get(key: string, ask: () => Promise<TimedAnswer<T>>): Promise<DnsAnswer<T>> {
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      this.#kept.delete(key);
      if (this.#nowMs() < kept.untilMs) {
        this.#kept.set(key, kept);
        return kept.answer;
      }
    }
    const asked = this.#asked.get(key);
    if (asked !== undefined) return await asked;
    const answer = this.#fetch(key, ask);
    this.#asked.set(key, answer);
    try {
      return await answer;
    } finally {
      this.#asked.delete(key);
    }
  }

  async #fetch(key: string, ask: () => Promise<TimedAnswer<T>>): Promise<DnsAnswer<T>> {
    const { answer, ttlMs } = await ask();
    if (ttlMs > 0) this.#keep(key, { answer, untilMs: this.#nowMs() + ttlMs });
    return answer;
  }

  #keep(key: string, kept: Kept<T>): void {
    this.#kept.set(key, kept);
    if (this.#kept.size <= this.#mostEntries) return;
    const oldest = this.#kept.keys().next();
    if (oldest.done !== true) this.#kept.delete(oldest.value);
  }
}
