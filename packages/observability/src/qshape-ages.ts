/**
 * The age buckets of qshape, shared by the command, the HTTP API and the metrics, so that their figures agree (P12).
 *
 * Source: spec A7; Postfix auxiliary/qshape/qshape.pl.
 */

/**
 * Upper bounds of all buckets but the last, in ms, rising: 5, 10, 20, 40 … minutes, or 5, 10, 15 … if linear.
 *
 * @param buckets how many buckets there are, the open last one included
 */
export function qshapeAgeLimitsMs(
  buckets = 10,
  unitMinutes = 5,
  linear = false,
): readonly number[] {
  return Array.from({ length: Math.max(0, buckets - 1) }, (_, index) => {
    const units = linear ? index + 1 : 2 ** index;
    return units * unitMinutes * 60_000;
  });
}
