/**
 * Bounds what is in work at once, in messages or in bytes, so that memory is bounded (P9).
 *
 * First come, first served. What is larger than the whole budget goes when nothing else is in work.
 */
export class WorkBudget {
  readonly #limit: number;
  #taken = 0;
  readonly #waiting: { readonly amount: number; readonly enter: () => void }[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` once there is room for `amount`. */
  async within<T>(amount: number, work: () => Promise<T>): Promise<T> {
    await this.#enter(amount);
    try {
      return await work();
    } finally {
      this.#leave(amount);
    }
  }

  async #enter(amount: number): Promise<void> {
    if (this.#waiting.length > 0 || !this.#fits(amount)) {
      await new Promise<void>((resolve) => this.#waiting.push({ amount, enter: resolve }));
    } else {
      this.#taken += amount;
    }
  }

  #fits(amount: number): boolean {
    return this.#taken === 0 || this.#taken + amount <= this.#limit;
  }

  /** Room goes to those who wait at once, before anybody new can take it. */
  #leave(amount: number): void {
    this.#taken -= amount;
    for (let next = this.#waiting[0]; next && this.#fits(next.amount); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#taken += next.amount;
      next.enter();
    }
  }
}
