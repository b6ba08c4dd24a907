/** The clock of Redis, as this process knows it: a monotonic one, and how far that of Redis is beyond it (DESIGN §4). */

/** An answer to TIME: what it said, and when this process asked and heard, by its monotonic clock; ms. */
export type ToldTime = {
  readonly redisMs: number;
  readonly askedMs: number;
  readonly heardMs: number;
};

/**
 * How far Redis's clock is beyond the monotonic one. Redis read its clock between the asking and the hearing; within
 * that what was known is kept, so that one late answer does not set this clock back. It is not ahead, but by the way of
 * one question, where Redis's goes slower or was set back.
 *
 * @param beforeMs what was known before
 */
export function clockOffsetMs(beforeMs: number | undefined, told: ToldTime): number {
  const leastMs = told.redisMs - told.heardMs;
  const mostMs = told.redisMs - told.askedMs;
  return beforeMs === undefined ? leastMs : Math.min(Math.max(beforeMs, leastMs), mostMs);
}
