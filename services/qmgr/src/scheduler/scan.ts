/**
 * From which queue the next messages are brought into active, and which of deferred are due.
 *
 * incoming and deferred take turns; a queue is asked only when it was rung for, or once a second, and a request that
 * comes meanwhile is remembered. When active is full nothing is brought in, and new mail comes first once there is room.
 * A flush makes one pass over deferred that ignores due times: over all that lay there when it was asked for; what
 * fails again comes back later than that, so the pass ends by itself.
 *
 * Departs: messages come in batches, as many as have room up to a bound, where Postfix takes one at a time; the order
 * within a queue is that of entry, not that of a directory (S3).
 *
 * Source: spec S1 to S4, §2, §11.
 */
export type ImportSource = "incoming" | "deferred";

export class Scan {
  #next: ImportSource = "incoming";
  #flushMs: number | undefined;
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

  /** Everything in deferred was flushed at that moment. Many flushes collapse into one pass. */
  flush(requestedMs: number): void {
    this.#flushMs = Math.max(this.#flushMs ?? 0, requestedMs);
    this.want("incoming");
    this.want("deferred");
  }

  /** What entered deferred up to then is due, whatever its time; undefined: no flush is under way. */
  get flushMs(): number | undefined {
    return this.#flushMs;
  }

  /** The pass has found nothing more. @returns when the flush was asked for. */
  endFlush(): number | undefined {
    const ended = this.#flushMs;
    this.#flushMs = undefined;
    return ended;
  }

  /** Active is full (S2). */
  full(): void {
    this.#next = "incoming";
  }
}

function other(source: ImportSource): ImportSource {
  return source === "incoming" ? "deferred" : "incoming";
}
