/**
 * The part of a report that people read: what happened to their message, what will happen now, and why, for each
 * recipient.
 *
 * Source: spec delivery.md §9 "Format", S13; bounce(5), whose delay template this is in words.
 */
import type { StoredRecipient } from "@postmq/vocabulary";
import type { ReportInput } from "./compose-report.ts";
import type { ReturnedContent } from "./returned-content.ts";
import { oneLine, wrap } from "./sanitise.ts";

/** Lines with CRLF, none above 79 columns but where a word is longer. */
export function explanation(input: ReportInput): string {
  const lines = [
    `This is the mail system at host ${input.myhostname}.`,
    "",
    ...(input.kind === "delay" ? delayWords(input) : failureWords(input)),
    "",
    "If you need help, write to the postmaster and include this report.",
    "",
    ...input.recipients.map((recipient) => wrap(recipientLine(recipient))),
  ];
  return lines.map((line) => `${line}\r\n`).join("");
}

function failureWords({ kind, returned }: ReportInput): readonly string[] {
  return [
    "Your message could not be delivered to the recipients below.",
    ...(kind === "expired" ? ["It was tried again and again until it was too old."] : []),
    `${returnedPhrase(returned)} this report.`,
  ];
}

function delayWords({ delayWarningMs, lifetimeMs, returned }: ReportInput): readonly string[] {
  return [
    "####################################################################",
    "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #",
    "####################################################################",
    "",
    `Your message could not be delivered for more than ${span(delayWarningMs, "hour")}`,
    "to the recipients below.",
    `It will be retried until it is ${span(lifetimeMs, "day")} old.`,
    `${returnedPhrase(returned)} this report.`,
  ];
}

const unitsMs = { day: 86_400_000, hour: 3_600_000, minute: 60_000, second: 1000 };

/**
 * `4 hour(s)`, rounded down.
 *
 * Departs: a time shorter than the unit is told in the next smaller one, where Postfix says `0 hour(s)`.
 *
 * Source: bounce(5) delay_warning_time_hours, maximal_queue_lifetime_days.
 */
function span(ms: number, unit: "day" | "hour" | "minute" | "second"): string {
  if (unit === "day" && ms < unitsMs.day) return span(ms, "hour");
  if (unit === "hour" && ms < unitsMs.hour) return span(ms, "minute");
  if (unit === "minute" && ms < unitsMs.minute) return span(ms, "second");
  return `${Math.floor(ms / unitsMs[unit])} ${unit}(s)`;
}

function returnedPhrase(returned: ReturnedContent): string {
  switch (returned.kind) {
    case "whole":
      return "It is attached to";
    case "headers":
      return "Its headers are attached to";
    case "unavailable":
      return "Its content can't be read and is missing from";
  }
}

/** `<r> (expanded from <o>): reason`. Source: delivery.md §9 "Format". */
function recipientLine(recipient: StoredRecipient): string {
  const { address, original, state } = recipient;
  const isExpanded =
    original !== undefined && original !== "" && original.toLowerCase() !== address.toLowerCase();
  const from = isExpanded ? ` (expanded from <${oneLine(original, true)}>)` : "";
  const reason = "reason" in state ? oneLine(state.reason, true) : "delivery failed";
  return `<${oneLine(address, true)}>${from}: ${reason}`;
}
