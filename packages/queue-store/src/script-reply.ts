/**
 * Reading the replies of our own scripts: `unknown` until looked at, a panic when the shape is not what the script's header says.
 */
import { panic } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";
import { unpackRecipient } from "./packing.ts";
import type { ReportRounds } from "./packing.ts";

export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value)
    ? value
    : panic(`a script answered ${typeof value} where a list was due`);
}

export function asText(value: unknown): string {
  if (typeof value === "string") return value;
  if (Buffer.isBuffer(value)) return value.toString("utf8");
  if (typeof value === "number") return String(value);
  return panic(`a script answered ${typeof value} where text was due`);
}

export function asNumber(value: unknown): number {
  const number = Number(asText(value));
  return Number.isNaN(number) ? panic("a script answered no number") : number;
}

/** For lists of undone recipients, in which no report is owed of anybody. */
export const allReported: ReportRounds = {
  failures: Number.POSITIVE_INFINITY,
  successes: Number.POSITIVE_INFINITY,
};

/** A flat list: number, value, state, number, value, state … */
export function asRecipients(value: unknown, rounds: ReportRounds): readonly StoredRecipient[] {
  const flat = asArray(value);
  const recipients: StoredRecipient[] = [];
  for (let i = 0; i + 2 < flat.length; i += 3) {
    recipients.push(
      unpackRecipient(asNumber(flat[i]), asText(flat[i + 1]), asText(flat[i + 2]), rounds),
    );
  }
  return recipients;
}

/** One of a closed set of words. */
export function asWord<Word extends string>(value: unknown, words: readonly Word[]): Word {
  const text = asText(value);
  return words.find((word) => word === text) ?? panic(`a script answered ${text}`);
}
