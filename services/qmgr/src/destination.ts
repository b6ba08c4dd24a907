/**
 * One destination: the requests that wait for it, first in first out, and the places that are taken at it.
 *
 * A place is one job, and a job is one connection at a time, however many requests it carries.
 *
 * Source: spec S16, S23 and S24 (with the window fixed at the limit).
 */
import type { Entry } from "./message.ts";
import { mustGoAlone } from "./message.ts";

/** How much one new measurement counts against the ones before it. */
const paceWeight = 0.5;

export class DestinationQueue {
  readonly name: string;
  /** Jobs that may run at once; Infinity for no limit. */
  readonly window: number;
  /** Jobs that run. Adopted ones may exceed the window: they were started before this leader. */
  busy = 0;
  #pace: number | undefined;
  #entries: Entry[] = [];
  #head = 0;
  #abandoned = 0;

  constructor(name: string, window: number) {
    this.name = name;
    this.window = window;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#entries.length - this.#head - this.#abandoned;
  }

  /** Whether a job may start now (S24). */
  get mayStart(): boolean {
    return this.busy < this.window && this.waiting > 0;
  }

  get isIdle(): boolean {
    return this.busy === 0 && this.waiting === 0;
  }

  /** What a request took lately, in ms; undefined before a job of several has ended. */
  get msPerRequest(): number | undefined {
    return this.#pace;
  }

  push(entry: Entry): void {
    entry.isQueued = true;
    this.#entries.push(entry);
  }

  /** An entry is no longer wanted. It is passed over later; a queue of mostly such entries is packed. */
  abandon(entry: Entry): void {
    entry.isQueued = false;
    this.#abandoned += 1;
    if (this.#abandoned > this.waiting + 32) this.#pack();
  }

  /** The next entries, at most `limit`; one that must go alone comes alone. */
  take(limit: number): readonly Entry[] {
    const taken: Entry[] = [];
    while (taken.length < limit) {
      const entry = this.#first();
      if (entry === undefined) break;
      const isAlone = mustGoAlone(entry.message);
      if (isAlone && taken.length > 0) break;
      this.#head += 1;
      entry.isQueued = false;
      taken.push(entry);
      if (isAlone) break;
    }
    if (this.#head > 64 && this.#head * 2 > this.#entries.length) this.#pack();
    return taken;
  }

  /** So many requests took so long, one after another. */
  measure(served: { readonly requests: number; readonly tookMs: number }): void {
    const pace = served.tookMs / served.requests;
    this.#pace = this.#pace === undefined ? pace : this.#pace + (pace - this.#pace) * paceWeight;
  }

  #first(): Entry | undefined {
    while (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head];
      if (entry?.isQueued === true) return entry;
      this.#head += 1;
      this.#abandoned -= 1;
    }
    return undefined;
  }

  #pack(): void {
    this.#entries = this.#entries.slice(this.#head).filter((entry) => entry.isQueued);
    this.#head = 0;
    this.#abandoned = 0;
  }
}
