/**
 * What pflogsumm makes of a log: its grand totals and its counts by sender and recipient.
 *
 * It is the log summariser that Postfix's users know best, and it knows nothing of us: what it counts is what a foreign
 * reader of our lines finds in them. It comes with Debian's package of that name. Source: pflogsumm(1).
 */
import { existsSync } from "node:fs";

import { run } from "@postmq/testing";

const program = "/usr/sbin/pflogsumm";

export function hasPflogsumm(): boolean {
  return existsSync(program);
}

export type LogSummary = {
  /** By pflogsumm's own words: received, delivered, deferred, deferrals, bounced, rejected, "bytes received" … */
  readonly totals: ReadonlyMap<string, number>;
  readonly bySender: ReadonlyMap<string, number>;
  readonly byRecipient: ReadonlyMap<string, number>;
  /** All that it printed. */
  readonly text: string;
};

/** @throws when it complains of anything. */
export async function summariseLog(log: string): Promise<LogSummary> {
  const { code, stdout, stderr } = await run(program, [], {
    input: log,
    env: { LC_ALL: "C.UTF-8", TZ: "UTC" },
  });
  if (code !== 0 || stderr !== "") throw new Error(`pflogsumm ended with ${code}: ${stderr}`);
  const deferrals = /\((\d+) +deferrals\)/.exec(stdout)?.[1];
  return {
    totals: new Map([
      ...counts(between(stdout, "Grand Totals", "Per-Hour")),
      ...(deferrals === undefined ? [] : [["deferrals", Number(deferrals)] as const]),
    ]),
    bySender: counts(between(stdout, "Senders by message count", "Recipients by message count")),
    byRecipient: counts(between(stdout, "Recipients by message count", "Senders by message size")),
    text: stdout,
  };
}

/** Lines of all services in the order of their time stamps; those of one millisecond stay as they were. */
export function inOrderOfTime(log: string): string {
  const stampLength = "2026-01-01T00:00:00.000Z".length;
  const stamped = log
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => ({ line, stamp: line.slice(0, stampLength) }));
  const ordered = stamped.toSorted((a, b) => a.stamp.localeCompare(b.stamp));
  return ordered.map(({ line }) => `${line}\n`).join("");
}

/** Lines `number  words`, with what follows the words in parentheses left out. */
function counts(text: string): ReadonlyMap<string, number> {
  const found = [...text.matchAll(/^ +(\d+) {2,}(\S+(?: \S+)*?)(?: +\(.*)?$/gm)];
  return new Map(found.map(([, count, words = ""]) => [words, Number(count)]));
}

function between(text: string, from: string, to: string): string {
  const start = text.indexOf(from);
  const end = text.indexOf(to, start);
  return start < 0 ? "" : text.slice(start, end < 0 ? undefined : end);
}
