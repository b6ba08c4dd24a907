/**
 * Natural batching: one step at a time, and whatever arrives while a step is on its way goes with the next one.
 *
 * When idle a step starts at once (in the next microtask, so that what the same turn of the event loop brings goes
 * together); under load steps grow by themselves. No timer, no added wait.
 *
 * Source: DESIGN §8 "natural batching".
 */
export class Pump {
  readonly #step: () => Promise<boolean>;
  readonly #onError: (error: unknown) => void;
  #isWanted = false;
  #isStopped = false;
  #running: Promise<void> | undefined;

  /**
   * @param step does what there is to do; true: there is more
   * @param onError told of what a step throws; the pump stops then
   */
  constructor(step: () => Promise<boolean>, onError: (error: unknown) => void) {
    this.#step = step;
    this.#onError = onError;
  }

  /** There may be something to do. */
  wake(): void {
    if (this.#isStopped) return;
    this.#isWanted = true;
    this.#running ??= this.#run();
  }

  /** Starts no further step. */
  halt(): void {
    this.#isStopped = true;
  }

  /** Starts no further step. @returns when the running one has ended. */
  stop(): Promise<void> {
    this.halt();
    return this.#running ?? Promise.resolve();
  }

  async #run(): Promise<void> {
    await Promise.resolve();
    try {
      while (this.#isWanted && !this.#isStopped) {
        this.#isWanted = false;
        if (await this.#step()) this.#isWanted = true;
      }
    } catch (error) {
      this.#isStopped = true;
      this.#onError(error);
    } finally {
      this.#running = undefined;
    }
  }
}
