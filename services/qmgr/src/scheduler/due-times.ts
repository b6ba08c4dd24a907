/**
 * When deferred messages are due, so that not all of a million are due in the same second.
 *
 * Where many fall due together, those that come later are spread over up to a twentieth of their rest. Seconds that are
 * past are forgotten.
 *
 * Source: spec S6 "postmq departs"; DESIGN §8 "spread due times".
 */
/** Messages due in one second before others are spread. */
const crowd = 100;
const spreadPart = 0.05;
const forgetEveryMs = 60_000;

export class DueTimes {
  readonly #random: () => number;
  /** Messages due by second. */
  readonly #due = new Map<number, number>();
  #forgottenMs = 0;

  /** @param random from 0 up to 1 */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Seconds that are remembered. */
  get size(): number {
    return this.#due.size;
  }

  /** When a message is due that is to rest so long. */
  add(nowMs: number, restMs: number): number {
    this.#forgetPast(nowMs);
    const exactMs = nowMs + restMs;
    const isCrowded = (this.#due.get(second(exactMs)) ?? 0) >= crowd;
    const dueMs = isCrowded ? exactMs + restMs * spreadPart * this.#random() : exactMs;
    this.#due.set(second(dueMs), (this.#due.get(second(dueMs)) ?? 0) + 1);
    return dueMs;
  }

  #forgetPast(nowMs: number): void {
    if (nowMs < this.#forgottenMs + forgetEveryMs) return;
    this.#forgottenMs = nowMs;
    for (const at of this.#due.keys()) {
      if (at * 1000 < nowMs) this.#due.delete(at);
    }
  }
}

function second(ms: number): number {
  return Math.ceil(ms / 1000);
}
