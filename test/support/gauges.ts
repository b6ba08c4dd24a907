/** What a running process says of itself: memory by the kernel, figures by its /metrics. */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** Proportional set size in MB: memory of its own, and its part of what it shares. Linux only. */
export async function pssMegabytes(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) / 1024;
}

/** A metric without labels. @throws when it is absent. */
export async function readMetric(metricsUrl: string, name: string): Promise<number> {
  const text = await (await fetch(`${metricsUrl}/metrics`)).text();
  const value = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1];
  if (value === undefined) throw new Error(`${metricsUrl} has no ${name}`);
  return Number(value);
}

/** Looks at a value again and again, and remembers the largest. */
export class Highest {
  readonly #running: Promise<void>;
  #value = 0;
  #isStopped = false;

  constructor(read: () => Promise<number>, everyMs = 250) {
    this.#running = this.#keepLooking(read, everyMs);
    // It may reject before `stop` awaits it.
    this.#running.catch(() => undefined);
  }

  get value(): number {
    return this.#value;
  }

  /** @throws what reading threw. */
  async stop(): Promise<number> {
    this.#isStopped = true;
    await this.#running;
    return this.#value;
  }

  async #keepLooking(read: () => Promise<number>, everyMs: number): Promise<void> {
    while (!this.#isStopped) {
      this.#value = Math.max(this.#value, await read());
      await delay(everyMs);
    }
  }
}
