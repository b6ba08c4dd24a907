/**
 * A message's timeline as `postmq events` prints it: one line per event, in local time; or one JSON object per event.
 *
 * The words are those of the log: to=, relay=, dsn=, and what a server said in parentheses.
 */
import type { TimelineEvent } from "@postmq/queue-store";
import type { QueueId } from "@postmq/vocabulary";

import { printable } from "./printable.ts";

const kindWidth = 11;
/** Free text: last in its line, in parentheses. */
const freeTexts: readonly string[] = ["reason", "reply", "why"];

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}

/** ISO 8601 with milliseconds and the offset of local time. */
function localTime(ms: number): string {
  const offsetMinutes = -new Date(ms).getTimezoneOffset();
  const shifted = new Date(ms + offsetMinutes * 60_000).toISOString().slice(0, -1);
  const [hours, minutes] = [Math.abs(offsetMinutes) / 60, Math.abs(offsetMinutes) % 60];
  const sign = offsetMinutes < 0 ? "-" : "+";
  return `${shifted}${sign}${twoDigits(Math.floor(hours))}:${twoDigits(minutes)}`;
}

function detail([name, value]: readonly [string, string]): string {
  if (freeTexts.includes(name)) return `(${value})`;
  if (name === "to") return `to=<${value}>`;
  if (name === "due") return `due=${localTime(Date.parse(value))}`;
  return `${name === "status" ? "dsn" : name}=${value}`;
}

export function timelineLine({ atMs, kind, queue, details }: TimelineEvent): string {
  const words = [
    ...(queue === undefined ? [] : [`queue=${queue}`]),
    ...Object.entries(details).map(detail),
  ].join(", ");
  return `${printable(`${localTime(atMs)} ${kind.padEnd(kindWidth)} ${words}`).trimEnd()}\n`;
}

export function timelineJsonLine(id: QueueId, event: TimelineEvent): string {
  const { atMs, kind, queue, details } = event;
  return `${JSON.stringify({
    id,
    time: Math.floor(atMs / 1000),
    time_ms: atMs,
    kind,
    ...(queue === undefined ? {} : { queue }),
    details,
  })}\n`;
}
