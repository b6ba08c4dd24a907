/** How long a deferred message rests. */

export type BackoffLimits = { readonly minimalMs: number; readonly maximalMs: number };

/**
 * How long a deferred message rests before its next attempt.
 *
 * The rest equals the time the message has been in the queue, so an old message is tried ever more
 * seldom; both ends are clamped. A message created "in the future" (clock step) gets the minimum.
 *
 * @param ageMs now minus the create time (Q2: the clock that a requeue starts afresh)
 *
 * Source: spec S5; qmgr(8); postconf(5) minimal_backoff_time, maximal_backoff_time.
 */
export function backoffMs(ageMs: number, limits: BackoffLimits): number {
  const atMost = Math.min(ageMs, limits.maximalMs);
  return Number.isNaN(atMost) ? limits.minimalMs : Math.max(atMost, limits.minimalMs);
}
