/** How many requests ended within the last minute, to ten seconds. */
const bucketMs = 10_000;
const buckets = 6;

export class EndedRate {
  readonly #counts = Array.from({ length: buckets }, () => 0);
  #newest = 0;

  add(nowMs: number): void {
    this.#turn(nowMs);
    const at = this.#newest % buckets;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  perMinute(nowMs: number): number {
    this.#turn(nowMs);
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** Empties the buckets of the time that has passed since. */
  #turn(nowMs: number): void {
    const now = Math.floor(nowMs / bucketMs);
    const passed = Math.min(buckets, now - this.#newest);
    for (let step = 1; step <= passed; step += 1) {
      this.#counts[(this.#newest + step + (now - this.#newest - passed)) % buckets] = 0;
    }
    if (now > this.#newest) this.#newest = now;
  }
}
