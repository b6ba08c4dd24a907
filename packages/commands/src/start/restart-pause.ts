/**
 * How long a dead process rests before it is started again.
 *
 * The first restart is nearly at once, so that one crash costs no time; each further death in short order
 * doubles the pause, so that a process that can't run doesn't eat the machine. One that ran well starts over.
 *
 * Source: DESIGN §7 `npm start`.
 */
export const restartPause = { firstMs: 100, longestMs: 5_000, ranWellMs: 10_000 } as const;

/**
 * @param lastPauseMs the pause before the run that ended just now; 0 for the first run.
 * @param ranMs how long that run lasted.
 */
export function nextRestartPauseMs(lastPauseMs: number, ranMs: number): number {
  if (lastPauseMs === 0 || ranMs >= restartPause.ranWellMs) return restartPause.firstMs;
  return Math.min(lastPauseMs * 2, restartPause.longestMs);
}
