/**
 * From which queue the next messages are brought into active.
 *
 * incoming and deferred take turns; a queue is asked only when it was rung for, or once a second. When active is full
 * nothing is brought in, and new mail comes first once there is room.
 *
 * Source: spec S1, S2.
 */
export type ImportSource = "incoming" | "deferred";

export class ImportTurns {
  #next: ImportSource = "incoming";
  readonly #wanted = new Set<ImportSource>();

  /** There may be messages in this queue. */
  want(source: ImportSource): void {
    this.#wanted.add(source);
  }

  /** The queue to ask now, or undefined when neither is wanted. It must be wanted again to be asked again. */
  take(): ImportSource | undefined {
    const source = [this.#next, other(this.#next)].find((one) => this.#wanted.has(one));
    if (source !== undefined) this.#wanted.delete(source);
    return source;
  }

  /** Messages came from it: look first at the other one (S1). */
  succeeded(source: ImportSource): void {
    this.#next = other(source);
  }

  /** Active is full (S2). */
  full(): void {
    this.#next = "incoming";
  }
}

function other(source: ImportSource): ImportSource {
  return source === "incoming" ? "deferred" : "incoming";
}
