/**
 * A deadline that is moved for each command and seldom met.
 *
 * Its timer is left to run when the deadline moves on or is lifted, and looks again when it fires: a message of six commands
 * starts no timer, where one for each cost 3 % of the dialogue (docs/decisions/004-delivery-dialogue.md).
 */

/** What a timer can count. */
const longestMs = 2 ** 31 - 1;

export class Deadline implements Disposable {
  readonly #onLate: () => void;
  /** On the clock of `performance.now()`. */
  #dueMs = Infinity;
  #firesMs = Infinity;
  #timer: NodeJS.Timeout | undefined;

  /** @param onLate told once for each deadline that was met */
  constructor(onLate: () => void) {
    this.#onLate = onLate;
  }

  /** @param dueMs on the clock of `performance.now()`, in place of the one before; Infinity: none */
  set(dueMs: number): void {
    this.#dueMs = dueMs;
    if (dueMs < this.#firesMs) this.#start();
  }

  clear(): void {
    this.#dueMs = Infinity;
  }

  [Symbol.dispose](): void {
    this.clear();
    this.#stop();
  }

  #start(): void {
    this.#stop();
    const nowMs = performance.now();
    const waitMs = Math.min(Math.max(1, Math.ceil(this.#dueMs - nowMs)), longestMs);
    this.#firesMs = nowMs + waitMs;
    // What it is a deadline for keeps the process alive, not this.
    this.#timer = setTimeout(() => this.#look(), waitMs).unref();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#firesMs = Infinity;
  }

  #look(): void {
    this.#stop();
    if (this.#dueMs === Infinity) return;
    if (performance.now() < this.#dueMs) return this.#start();
    this.clear();
    this.#onLate();
  }
}
