/** Spans of time as people type them to commands: `5d`, `1h30m`, `90s`. Units are Postfix's: s, m, h, d, w. */

const unitsMs: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

export type DurationUnit = "s" | "m" | "h" | "d" | "w";

/**
 * Milliseconds of one or more numbers with units.
 *
 * @param bareUnit unit of a number that has none; without it, such a number is refused
 * @returns undefined: it is none
 * Source: postconf(5) "time units"; spec sendmail-queue.md §4 (several may join).
 */
export function parseDurationMs(text: string, bareUnit?: DurationUnit): number | undefined {
  if (bareUnit !== undefined && /^\d{1,9}$/.test(text)) return toMs(text, bareUnit);
  if (!/^(?:\d{1,9}[smhdw])+$/i.test(text)) return undefined;
  let totalMs = 0;
  for (const [, number = "", unit = ""] of text.matchAll(/(\d+)([a-z])/gi))
    totalMs += toMs(number, unit.toLowerCase());
  return Number.isSafeInteger(totalMs) ? totalMs : undefined;
}

function toMs(number: string, unit: string): number {
  return Number(number) * (unitsMs[unit] ?? 0);
}
