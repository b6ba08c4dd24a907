/**
 * Times and counts as a sentence says them.
 *
 * Source: spec http-api.md §2 "explain".
 */

/** `2026-11-22T03:30:00Z (in 5 min)`, or `(5 min ago)`. */
export function moment(atMs: number, nowMs: number): string {
  const at = `${new Date(atMs).toISOString().slice(0, 19)}Z`;
  const away = atMs - nowMs;
  return away >= 0 ? `${at} (in ${span(away)})` : `${at} (${span(-away)} ago)`;
}

/** The largest unit that fits twice: 90 s, 5 min, 3 h, 4 d. */
function span(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** `1 attempt`, `2 attempts`. */
export function times(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

/** `1 request waits`, `7 requests wait`. */
export function requestsText(count: number): string {
  return count === 1 ? "1 request waits" : `${count} requests wait`;
}
