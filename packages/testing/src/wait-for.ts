/** Waiting for a condition instead of for a time, as every test here does. */
import { setTimeout as delay } from "node:timers/promises";

export type WaitOptions = {
  /** Default 60 000: a busy machine is no failure. */
  readonly timeoutMs?: number;
  /** How often to look; default 10. */
  readonly everyMs?: number;
  /** What is waited for, for the message of the failure. A function is asked at the failure. */
  readonly describe?: string | (() => string);
};

/**
 * Waits until the condition gives something other than false and undefined, and returns that.
 *
 * @throws Error naming what was waited for when the time is over.
 */
export async function waitFor<T>(
  condition: () => T | false | undefined | Promise<T | false | undefined>,
  options: WaitOptions = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== undefined) return value;
    if (performance.now() > deadlineMs) {
      const what = typeof options.describe === "function" ? options.describe() : options.describe;
      throw new Error(`waited ${timeoutMs} ms in vain for ${what ?? "a condition"}`);
    }
    await delay(options.everyMs ?? 10);
  }
}
