/**
 * Runs the importer of the drop directory: at start, when something changes there, and every minute besides.
 *
 * Source: spec queues.md §1 ("pickup wakes every 60 s and on a trigger").
 */
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

import { makeDropDirectory } from "@postmq/drop-directory";

import { claimDirectory } from "./directory-claim.ts";
import { importDropped } from "./drop-importer.ts";
import type { DropImporterOptions } from "./drop-importer.ts";

const scanEveryMs = 60_000;
const retryAfterMs = 2_000;

export class DropWatch {
  readonly #options: DropImporterOptions;
  readonly #ended = new AbortController();
  #wake = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: DropImporterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Waits for the file that is being taken in, and for no other. */
  async stop(): Promise<void> {
    this.#ended.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      this.#wake = new AbortController();
      try {
        await this.#importUntilEnd();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        this.#options.log.warning(`drop_directory ${this.#options.directory}: ${reason}`);
      }
      await this.#sleep(retryAfterMs);
    }
  }

  /** Returns when another process has the directory, or at the end. */
  async #importUntilEnd(): Promise<void> {
    const { directory } = this.#options;
    await makeDropDirectory(directory);
    await using claim = await claimDirectory(directory);
    if (claim === undefined) return;
    using watcher = this.#watchDirectory(directory);
    while (!this.#ended.signal.aborted) {
      // Renewed before the scan, so that a change during the scan is not missed.
      this.#wake = new AbortController();
      const result = await importDropped({
        ...this.#options,
        isEnding: () => this.#ended.signal.aborted,
      });
      await this.#sleep(result === "later" || watcher.isBroken() ? retryAfterMs : scanEveryMs);
    }
  }

  #watchDirectory(directory: string): Disposable & { isBroken(): boolean } {
    let isBroken = false;
    const watcher: FSWatcher = watch(directory, () => this.#wake.abort());
    watcher.on("error", () => {
      // No more news from there: looking often does as well.
      isBroken = true;
    });
    return { isBroken: () => isBroken, [Symbol.dispose]: () => watcher.close() };
  }

  async #sleep(ms: number): Promise<void> {
    if (this.#ended.signal.aborted) return;
    const { signal } = this.#wake;
    await pause(ms, undefined, { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}
