/**
 * The words of reports where a site chose none.
 *
 * Departs: the words are our own, say what is attached, and tell times below the unit in the next smaller one, where
 * Postfix says `0 hour(s)`.
 *
 * Source: spec delivery.md §9 "Format", S13; bounce(5).
 */
import type { Template, Templates, WordsOccasion } from "./template.ts";

type Facts = {
  readonly myhostname: string;
  readonly delayWarningMs: number;
  readonly lifetimeMs: number;
};

export function builtInTemplates(facts: Facts): Templates {
  const common = { charset: "us-ascii", from: "Mail Delivery System <MAILER-DAEMON>" };
  return {
    failure: {
      ...common,
      subject: "Mail not delivered, returned to sender",
      postmasterSubject: "Postmaster copy: mail not delivered",
      words: (occasion) => framed(facts, failureWords(occasion), true),
    },
    delay: {
      ...common,
      subject: "Delayed Mail (still being retried)",
      postmasterSubject: "Postmaster copy: delayed mail",
      words: (occasion) => framed(facts, delayWords(facts, occasion), true),
    },
    success: {
      ...common,
      subject: "Successful mail delivery report",
      words: (occasion) => framed(facts, successWords(occasion), false),
    },
  } satisfies Record<string, Template>;
}

function framed(
  { myhostname }: Facts,
  words: readonly string[],
  offersHelp: boolean,
): readonly string[] {
  return [
    `This is the mail system at host ${myhostname}.`,
    "",
    ...words,
    ...(offersHelp
      ? ["", "If you need help, write to the postmaster and include this report."]
      : []),
  ];
}

function failureWords({ isExpired, returned }: WordsOccasion): readonly string[] {
  return [
    "Your message could not be delivered to the recipients below.",
    ...(isExpired ? ["It was tried again and again until it was too old."] : []),
    `${attached[returned]} this report.`,
  ];
}

function delayWords(facts: Facts, { returned }: WordsOccasion): readonly string[] {
  return [
    "####################################################################",
    "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #",
    "####################################################################",
    "",
    `Your message could not be delivered for more than ${span(facts.delayWarningMs, "hour")}`,
    "to the recipients below.",
    `It will be retried until it is ${span(facts.lifetimeMs, "day")} old.`,
    `${attached[returned]} this report.`,
  ];
}

/** "relayed" is the most that is known of most successes. */
function successWords({ returned }: WordsOccasion): readonly string[] {
  return [
    "Your message was delivered to the recipients below, or handed to a mail",
    "system that sends no such reports. If it was handed on, you may still hear",
    "from that system that it could not be delivered.",
    `${attached[returned]} this report.`,
  ];
}

const attached = {
  whole: "It is attached to",
  headers: "Its headers are attached to",
  unavailable: "Its content can't be read and is missing from",
};

const unitsMs = { day: 86_400_000, hour: 3_600_000, minute: 60_000, second: 1000 };

/** `4 hour(s)`, rounded down. */
function span(ms: number, unit: "day" | "hour" | "minute" | "second"): string {
  if (unit === "day" && ms < unitsMs.day) return span(ms, "hour");
  if (unit === "hour" && ms < unitsMs.hour) return span(ms, "minute");
  if (unit === "minute" && ms < unitsMs.minute) return span(ms, "second");
  return `${Math.floor(ms / unitsMs[unit])} ${unit}(s)`;
}
