/**
 * Something of the queue as it is read at a scrape: read again when it is older than a second, so that several
 * metrics of one scrape come from one reading, and a hasty scraper costs no more than a calm one.
 *
 * Source: spec metrics.md, trap (g); P12.
 */
import { whileReachable } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";

const cacheMs = 1_000;

export class CachedReading<Item> {
  readonly #store: Store;
  readonly #readNow: () => Promise<readonly Item[]>;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #items: Promise<readonly Item[]> = Promise.resolve([]);

  constructor(store: Store, readNow: () => Promise<readonly Item[]>) {
    this.#store = store;
    this.#readNow = readNow;
  }

  /** Nothing while Redis is away. */
  read(): Promise<readonly Item[]> {
    const nowMs = performance.now();
    if (nowMs - this.#readAtMs >= cacheMs) {
      this.#readAtMs = nowMs;
      // A failure is told by /readyz and by the absence of the figures.
      this.#items = whileReachable(this.#store, this.#readNow).catch(() => []);
    }
    return this.#items;
  }
}
