/**
 * Opens the store at start, for as long as it takes: containers start in any order.
 *
 * A Redis that can't be reached, is full, or is still loading is tried again for ever, each failure logged at most
 * every 5 s. A Redis that is unfit (wrong version or policy) would be so again: that ends the process.
 *
 * Source: DESIGN P4, P9; PMQ_STORE_UNFIT in docs/ERRORS.md.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "@postmq/observability";
import { isPostmqError } from "@postmq/vocabulary";

const retryPauseMs = 500;
const logPauseMs = 5_000;

/**
 * @returns undefined when `signal` fired first.
 * @throws whatever `open` throws, except what may pass.
 */
export async function connectStore<Opened>(options: {
  readonly open: () => Promise<Opened>;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}): Promise<Opened | undefined> {
  const pause = options.pause ?? pauseFor;
  const aborted = whenAborted(options.signal);
  let saidAtMs = Number.NEGATIVE_INFINITY;
  while (!options.signal.aborted) {
    try {
      // When draining starts meanwhile the process ends, and the opening with it.
      return await Promise.race([options.open(), aborted]);
    } catch (error) {
      if (!mayPass(error)) throw error;
      if (options.nowMs() - saidAtMs >= logPauseMs) {
        saidAtMs = options.nowMs();
        options.log.warning(`${error.message} (trying again)`);
      }
    }
    await pause(retryPauseMs, options.signal);
  }
  return undefined;
}

function whenAborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

function mayPass(error: unknown): error is Error {
  return (
    isPostmqError(error, "PMQ_STORE_UNREACHABLE") ||
    isPostmqError(error, "PMQ_STORE_NO_REPLY") ||
    isPostmqError(error, "PMQ_STORE_FULL")
  );
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
