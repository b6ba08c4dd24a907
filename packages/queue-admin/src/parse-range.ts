/** Ranges of whole numbers: `3`, `>=3`, `>3`, `<5`, `<=5`, `3..7`, both ends included. */
import type { Range } from "./selection.ts";

/** Factors by the letter behind a number. */
export type Units = Readonly<Record<string, number>>;

export const sizeUnits: Units = { K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** @throws RangeError when it is none, or when no number is in it */
export function parseRange(text: string, units: Units = {}): Range {
  const whole = (digits: string) => parseWhole(digits, units);
  const [, from, to] = /^(.*?)\.\.(.*)$/.exec(text) ?? [];
  if (from !== undefined && to !== undefined) return ordered(whole(from), whole(to));
  const [, sign = "", number = ""] = /^(>=|<=|>|<)?(.*)$/s.exec(text) ?? [];
  const value = whole(number);
  switch (sign) {
    case ">=":
      return { least: value };
    case ">":
      return { least: value + 1 };
    case "<=":
      return { most: value };
    case "<":
      return ordered(0, value - 1, { most: value - 1 });
    default:
      return { least: value, most: value };
  }
}

export function formatRange({ least, most }: Range): string {
  if (least === undefined) return `<=${most ?? Number.MAX_SAFE_INTEGER}`;
  if (most === undefined) return `>=${least}`;
  return least === most ? String(least) : `${least}..${most}`;
}

function ordered(least: number, most: number, range: Range = { least, most }): Range {
  if (least > most) throw new RangeError("leaves nothing: no number is in it");
  return range;
}

function parseWhole(text: string, units: Units): number {
  const [, digits, letter = ""] = /^(\d{1,15})([a-z]?)$/i.exec(text) ?? [];
  const factor = letter === "" ? 1 : units[letter.toUpperCase()];
  const value = digits === undefined || factor === undefined ? Number.NaN : Number(digits) * factor;
  if (Number.isSafeInteger(value)) return value;
  const letters = Object.keys(units).join(", ");
  throw new RangeError(
    `is no range of whole numbers${letters === "" ? "" : ` (units ${letters})`}: 3, >=3, <5, 3..7`,
  );
}
