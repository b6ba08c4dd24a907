/**
 * Bounds how long a client waits for the store, without a timer per message.
 *
 * All waits are equally long, so they end in the order in which they began: one timer, armed for the oldest, is enough.
 *
 * Source: faults.md 19 ("intake 4xx after bounded wait"); spec smtpd.md §1 "Server fault".
 */
export class CommitDeadline {
  readonly #limitMs: number;
  readonly #waits = new Set<Wait>();
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** What the promise gives, or "late" when that takes too long; what it gives afterwards is dropped. */
  within<T>(promise: Promise<T>): Promise<T | "late"> {
    return new Promise((resolve, reject) => {
      const wait: Wait = {
        deadlineMs: performance.now() + this.#limitMs,
        expire: () => resolve("late"),
      };
      this.#waits.add(wait);
      this.#timer ??= setTimeout(() => this.#expire(), this.#limitMs);
      promise.then(
        (value) => {
          this.#waits.delete(wait);
          resolve(value);
        },
        (reason: unknown) => {
          this.#waits.delete(wait);
          reject(reason);
        },
      );
    });
  }

  /** Stops the timer. Waits that are under way end with their promises alone. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #expire(): void {
    const nowMs = performance.now();
    this.#timer = undefined;
    for (const wait of this.#waits) {
      if (wait.deadlineMs > nowMs) {
        this.#timer = setTimeout(() => this.#expire(), wait.deadlineMs - nowMs);
        return;
      }
      this.#waits.delete(wait);
      wait.expire();
    }
  }
}

type Wait = {
  readonly deadlineMs: number;
  expire(): void;
};
