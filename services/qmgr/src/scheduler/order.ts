/**
 * Who comes before whom among the jobs of a transport.
 *
 * A key is a list of numbers, compared one by one. A job that overtakes another gets the other's key with one more
 * number at its end, and so comes directly before it, behind those that overtook it earlier: a longer key comes before
 * the one that it continues. No other job has to move, and nobody has to be asked for a place.
 *
 * Source: spec S19, S21; Postfix src/qmgr/qmgr_job.c "job list".
 */
export type JobKey = readonly number[];

/** Below 0 when `a` comes first. */
export function compareKeys(a: JobKey, b: JobKey): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at += 1) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return b.length - a.length;
}
