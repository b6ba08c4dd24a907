/**
 * When a job of several requests stops and gives the rest back untouched.
 *
 * A job holds one slot at its destination and is served in series, so one slow host would hold many claims; and after
 * trouble with the site, the rest would only meet the same. What is given back counts as not tried.
 *
 * Source: DESIGN §3 "Requests"; PROTOTYPE §6.6.
 */

/** A job that has run this long takes no further request. postmq's own. */
const longestJobMs = 5_000;

export type JobState = {
  readonly runningMs: number;
  readonly hasSiteTrouble: boolean;
  readonly isDraining: boolean;
};

/** Whether the job may try one more request. The first is tried however long the claim took. */
export function mayTryNext(state: JobState, tried: number): boolean {
  if (state.isDraining || state.hasSiteTrouble) return false;
  return tried === 0 || state.runningMs < longestJobMs;
}
