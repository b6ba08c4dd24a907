/**
 * Ends the process when a delivery takes longer than any can: something is stuck in a way that nobody foresaw.
 *
 * As a bug does: the leader then reaps the process's claims, and its connections close. An outage of Redis is no such
 * thing, and outcomes that wait for it would be lost: while there are some, the end is put off.
 *
 * Its timer does not keep the process alive: the connection to Redis does.
 *
 * Source: spec S35; postconf(5) daemon_timeout; Postfix src/util/watchdog.c.
 */
import { panic } from "@postmq/vocabulary";

import { Deadline } from "../session/deadline.ts";

export type WatchdogOptions = {
  readonly limitMs: number;
  /** Whether the process has facts that only it knows. */
  readonly holdsFacts: () => boolean;
  /** Until it is looked again whether it still has. */
  readonly putOffMs?: number;
  /** Default: the end of the process. */
  readonly bite?: (why: string) => void;
};

type Watched = { readonly what: () => string; readonly dueMs: number };

/** All deliveries of a process have the same limit: the one that began first is the first to be late. */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #watched = new Set<Watched>();
  readonly #deadline = new Deadline(() => this.#bark());

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** Dispose of it when the delivery has ended. */
  watch(what: () => string): Disposable {
    const watched = { what, dueMs: performance.now() + this.#options.limitMs };
    this.#watched.add(watched);
    if (this.#watched.size === 1) this.#deadline.set(watched.dueMs);
    return { [Symbol.dispose]: () => this.#leave(watched) };
  }

  #leave(watched: Watched): void {
    this.#watched.delete(watched);
    if (this.#watched.size === 0) this.#deadline.clear();
  }

  #bark(): void {
    const [oldest] = this.#watched;
    if (oldest === undefined) return;
    const { holdsFacts, putOffMs = 1_000, bite = panic } = this.#options;
    const isLate = performance.now() >= oldest.dueMs;
    if (isLate && !holdsFacts()) bite(`${oldest.what()} has taken longer than daemon_timeout`);
    else this.#deadline.set(isLate ? performance.now() + putOffMs : oldest.dueMs);
  }
}
