/**
 * sendmail's command line.
 *
 * What can't be done yet is refused, never ignored; what is ignored is what Postfix ignores too, or what only made sense
 * to the sendmail of old.
 *
 * Source: spec admin-tools.md §4; sendmail(1); Postfix src/sendmail/sendmail.c.
 */
import { parseAddress, parseAddressHeader, quoteAddress } from "@postmq/mail-format";
import { exitCodes, notifyConditions } from "@postmq/vocabulary";
import type { NotifyCondition } from "@postmq/vocabulary";

import { CommandFailure } from "../command.ts";
import { getopt, lastValue } from "../getopt.ts";
import type { GivenArguments } from "../getopt.ts";
import { parseQueueRun } from "./queue-run-arguments.ts";
import type { QueueRun } from "./queue-run-arguments.ts";

export type Submission = {
  /** Empty: the null sender. */
  readonly sender: string;
  readonly recipients: readonly string[];
  /** -t: recipients from the headers too. */
  readonly extractRecipients: boolean;
  readonly fullName?: string;
  readonly encoding?: "7bit" | "8bit";
  readonly notify?: readonly NotifyCondition[];
  readonly ret?: "FULL" | "HDRS";
  readonly envid?: string;
  /** -XV: a sender of its own for each recipient; empty: with the default delimiters. Not checked yet. */
  readonly verpDelimiters?: string;
  /** A line with a lone dot ends the message: unless -i. */
  readonly dotEndsInput: boolean;
};

/** flush: a run of the queue (-q). */
type Mode = "submit" | "list" | "flush";

export type SendmailRequest = {
  readonly mode: Mode;
  /** -C: a configuration directory or file. */
  readonly config?: string;
  /** -oQ: another queue system. */
  readonly instance?: string;
  readonly submission: Submission;
  /** What to run, when the mode is flush. */
  readonly run: QueueRun;
};

const letters = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:q::tvx";
const longestEnvid = 100;
const longestFullName = 200;

export type Invocation = {
  readonly args: readonly string[];
  /** Called as mailq: lists by default. */
  readonly isMailq: boolean;
  readonly userName: string;
  /** Environment variable NAME. */
  readonly fullName: string | undefined;
  readonly warn: (text: string) => void;
};

/** @throws CommandFailure: exit 64 for options, 65 for addresses */
export function parseSendmailArguments(invocation: Invocation): SendmailRequest {
  const given = getopt(invocation.args, letters, (word, next) =>
    replaceOldVerp(word, next, invocation.warn),
  );
  const mode = modeOf(given, invocation.isMailq);
  refuseUnsupported(given, mode);
  refuseRecipients(given, mode);
  const config = lastValue(given, "C");
  const instance = valuesOf(given, "o").findLast((value) => value.startsWith("Q"));
  return {
    mode,
    ...(config === undefined ? {} : { config }),
    ...(instance === undefined ? {} : { instance: instance.slice(1) }),
    submission: submissionOf(given, invocation),
    run: parseQueueRun(mode === "flush" ? valuesOf(given, "q") : [], has(given, "v")),
  };
}

/**
 * -V was VERP before it was the envelope id, and is still where what follows can't be meant as an id: `-Vxy`, and `-V`
 * before a word of two letters such as `-t`.
 *
 * Source: Postfix src/sendmail/sendmail.c.
 */
function replaceOldVerp(
  word: string,
  next: string | undefined,
  warn: (text: string) => void,
): string {
  const isOld = word === "-V" ? next?.length === 2 : word.startsWith("-V") && word.length === 4;
  if (!isOld) return word;
  const now = `-X${word.slice(1)}`;
  warn(`option ${word} is deprecated with Postfix 2.3; specify ${now} instead`);
  return now;
}

function submissionOf(given: GivenArguments, invocation: Invocation): Submission {
  const said = lastSaid(given, ["f", "r"]);
  const fullName = cleanFullName(lastValue(given, "F") ?? invocation.fullName ?? "");
  const encoding = encodingOf(lastValue(given, "B"));
  const notify = notifyOf(lastValue(given, "N"), invocation.warn);
  const ret = retOf(lastValue(given, "R"), invocation.warn);
  const envid = envidOf(lastValue(given, "V"), invocation.warn);
  const verp = valuesOf(given, "X").findLast((value) => value.startsWith("V"));
  return {
    sender: said === undefined ? quoteAddress(invocation.userName) : senderOf(said),
    recipients: given.operands.flatMap(recipientsOf),
    extractRecipients: has(given, "t"),
    dotEndsInput: !has(given, "i") && !valuesOf(given, "o").includes("i"),
    ...(fullName === "" ? {} : { fullName }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(notify === undefined ? {} : { notify }),
    ...(ret === undefined ? {} : { ret }),
    ...(envid === undefined ? {} : { envid }),
    ...(verp === undefined ? {} : { verpDelimiters: verp.slice(1) }),
  };
}

function refuseUnsupported(given: GivenArguments, mode: Mode): void {
  for (const { letter, value } of given.options) {
    const isUnsupported =
      (letter === "b" && value !== "m" && value !== "p") ||
      (letter === "q" && value !== "" && mode !== "flush") ||
      (letter === "v" && mode === "submit") ||
      letter === "I";
    if (isUnsupported) throw usage(`-${letter}${value} is not supported by this version`);
  }
}

/** The last of -b and -q says what to do. */
function modeOf(given: GivenArguments, isMailq: boolean): Mode {
  const said = given.options.findLast(({ letter }) => letter === "b" || letter === "q");
  if (said?.letter === "q") return "flush";
  return (said === undefined ? isMailq : said.value === "p") ? "list" : "submit";
}

function refuseRecipients(given: GivenArguments, mode: Mode): void {
  if (mode === "submit") return;
  if (has(given, "t")) throw usage("-t can be used only in delivery mode");
  if (given.operands.length === 0) return;
  const shown = mode === "list" ? "display" : "flush";
  throw usage(`${shown} queue mode requires no recipient`);
}

function senderOf(text: string): string {
  if (text === "" || text === "<>") return "";
  const [address, ...others] = addressesOf(text, "sender");
  if (address === undefined || others.length > 0) throw badAddress("sender", text);
  return address;
}

/** Some mail programs give "a@x, b@y" or "Name <address>" as one argument. */
function recipientsOf(text: string): readonly string[] {
  const addresses = addressesOf(text, "recipient");
  if (addresses.length === 0) throw badAddress("recipient", text);
  return addresses;
}

/** A leading hyphen is refused: such an address would be an option to somebody else. Source: allow_min_user = no. */
function addressesOf(text: string, what: string): readonly string[] {
  if (/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text) || !text.isWellFormed()) throw badAddress(what, text);
  return addressTexts(text).map((part) => {
    const address = parseAddress(part);
    if (address === undefined || address.startsWith("-")) throw badAddress(what, part);
    return address;
  });
}

/** Only where it is written as in a header may there be anything beside the address: "a b@c" is no address. */
function addressTexts(text: string): readonly string[] {
  if (/[<("]/.test(text)) return parseAddressHeader(text);
  const parts = text.split(",").map((part) => part.trim());
  return parts.filter((part) => part !== "");
}

function badAddress(what: string, text: string): CommandFailure {
  const shown = text.toWellFormed().replaceAll(/\p{Cc}/gu, "?");
  return new CommandFailure(exitCodes.dataErr, `bad ${what} address: "${shown}"`);
}

/** A name goes into a header: what could break out of it becomes a blank. */
function cleanFullName(name: string): string {
  return name
    .toWellFormed()
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ")
    .trim()
    .slice(0, longestFullName);
}

function encodingOf(value: string | undefined): "7bit" | "8bit" | undefined {
  if (value === undefined) return undefined;
  if (value.toUpperCase() === "7BIT") return "7bit";
  if (value.toUpperCase() === "8BITMIME") return "8bit";
  throw usage("-B option needs 8BITMIME or 7BIT");
}

function notifyOf(
  value: string | undefined,
  warn: (text: string) => void,
): readonly NotifyCondition[] | undefined {
  if (value === undefined) return undefined;
  const words = value.toUpperCase().split(/[\s,]+/);
  const conditions = words.flatMap((word) => notifyConditions.find((each) => each === word) ?? []);
  const isNeverAmongOthers = conditions.includes("NEVER") && conditions.length > 1;
  if (conditions.length === words.length && !isNeverAmongOthers) return conditions;
  warn("bad -N option value -- ignored");
  return undefined;
}

function retOf(
  value: string | undefined,
  warn: (text: string) => void,
): "FULL" | "HDRS" | undefined {
  const word = value?.toUpperCase();
  if (word === undefined || word === "FULL" || word === "HDRS") return word;
  warn("bad -R option value -- ignored");
  return undefined;
}

/** Source: RFC 3461 §4.4 (printable, at most 100 characters). */
function envidOf(value: string | undefined, warn: (text: string) => void): string | undefined {
  if (value === undefined) return undefined;
  if (value.length <= longestEnvid && /^[\x20-\x7E]+$/.test(value)) return value;
  warn("bad -V option value -- ignored");
  return undefined;
}

function lastSaid(given: GivenArguments, either: readonly string[]): string | undefined {
  return given.options.findLast(({ letter }) => either.includes(letter))?.value;
}

function valuesOf(given: GivenArguments, letter: string): readonly string[] {
  return given.options.filter((option) => option.letter === letter).map(({ value }) => value);
}

function has(given: GivenArguments, letter: string): boolean {
  return given.options.some((option) => option.letter === letter);
}

function usage(text: string): CommandFailure {
  return new CommandFailure(exitCodes.usage, text);
}
