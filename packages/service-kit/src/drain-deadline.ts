/**
 * The end of patience with a drain, wherever it hangs: in the service, in the store, in a start that never ended.
 *
 * Work in flight is left to its claims, which fall with this process's heartbeat.
 *
 * Source: DESIGN P10.
 */

/** How long what is in flight may take to end. Below the 30 s after which Kubernetes and our supervisor kill. */
export const drainGraceMs = 25_000;

/** Calls `giveUp` when the process is still there `drainGraceMs` after draining started. Keeps no process alive. */
export function watchDrain(draining: AbortSignal, giveUp: () => void): void {
  draining.addEventListener("abort", () => setTimeout(giveUp, drainGraceMs).unref(), {
    once: true,
  });
}
