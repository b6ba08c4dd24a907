/**
 * Whose turn it is when a transport's jobs are shared fairly among senders (or whatever `fair_share_key` names).
 *
 * Start-time fair queueing: each key has a virtual time at which its next job may start; each request of it moves that
 * on by 1/weight. A key that was idle starts at the virtual time of the job in service, so that nobody saves up
 * turns, and one sender's hundred thousand messages stand behind another's one from its second message on.
 *
 * Beyond Postfix, whose order is that of arrival (`fair_share_key = none`, the default).
 *
 * Source: P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996.
 */
/** Keys that are remembered before those that save nothing are forgotten. */
const fewestRemembered = 10_000;

export class FairShare {
  readonly #weightOf: (key: string) => number;
  readonly #nextStart = new Map<string, number>();
  #virtualTime = 0;
  #mostRemembered = fewestRemembered;

  /** @param weightOf above 0; 1 is usual */
  constructor(weightOf: (key: string) => number) {
    this.#weightOf = weightOf;
  }

  /** When a new job of this key starts. */
  start(key: string): number {
    return Math.max(this.#virtualTime, this.#nextStart.get(key) ?? 0);
  }

  /** A request of this key was added. */
  charge(key: string): void {
    this.#nextStart.set(key, this.start(key) + 1 / this.#weightOf(key));
    if (this.#nextStart.size > this.#mostRemembered) this.#forgetIdle();
  }

  /** A job that started then is in service. */
  served(start: number): void {
    this.#virtualTime = Math.max(this.#virtualTime, start);
  }

  #forgetIdle(): void {
    for (const [key, start] of this.#nextStart) {
      if (start <= this.#virtualTime) this.#nextStart.delete(key);
    }
    // Twice as many before the next look, so that a look costs each request a constant amount.
    this.#mostRemembered = Math.max(fewestRemembered, 2 * this.#nextStart.size);
  }
}
