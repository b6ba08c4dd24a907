/**
 * What `sendmail -q…` asks for: a run of the queue now, at intervals, or of some messages.
 *
 * Of texts of one kind one must be in a message; all kinds named must agree. An interval without a unit is in minutes.
 *
 * Source: spec sendmail-queue.md §4, §5.
 */
import type { Contains } from "@postmq/queue-admin";
import { exitCodes, parseDurationMs } from "@postmq/vocabulary";

import { CommandFailure } from "../command.ts";
import { shownText } from "../shown-text.ts";

export type QueueRun = {
  /** Texts that id, sender or recipients hold, or don't; none: everything. */
  readonly contains: readonly Contains[];
  /** Again and again, with this pause; absent: once. */
  readonly intervalMs?: number;
  /** -v: shows what becomes of each message. */
  readonly isVerbose: boolean;
};

const kinds: Readonly<Record<string, Contains["of"]>> = { I: "id", R: "recipient", S: "sender" };
const shortestMs = 1000;
/** Node's timers go no further than 24 days. */
const longestMs = 21 * 86_400_000;

/** @param values of all -q options @throws CommandFailure, exit 64, naming the one that makes no sense */
export function parseQueueRun(values: readonly string[], isVerbose: boolean): QueueRun {
  const contains: Contains[] = [];
  let intervalMs: number | undefined;
  for (const value of values) {
    if (value === "") continue;
    const text = parseContains(value);
    if (text === undefined) intervalMs = parseInterval(value);
    else contains.push(text);
  }
  return { contains, isVerbose, ...(intervalMs === undefined ? {} : { intervalMs }) };
}

function parseContains(value: string): Contains | undefined {
  const [, not, letter = "", text = ""] = /^(!?)([IRS])(.*)$/s.exec(value) ?? [];
  const of = kinds[letter];
  if (of === undefined) return undefined;
  if (text === "" || shownText(text) !== text) throw refused(value, "names no text");
  return { of, text, isNot: not === "!" };
}

function parseInterval(value: string): number {
  const ms = parseDurationMs(value, "m");
  if (ms === undefined) throw refused(value, "is not supported by this version");
  if (ms < shortestMs || ms > longestMs) throw refused(value, "must be from 1s to 3w");
  return ms;
}

function refused(value: string, why: string): CommandFailure {
  return new CommandFailure(exitCodes.usage, `-q${shownText(value)} ${why}`);
}
