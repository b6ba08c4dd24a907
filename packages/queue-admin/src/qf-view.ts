/**
 * A message as sendmail's control file (`qf`) would say it: one line for each fact, its first character the code.
 *
 * V version, T created, K last attempt, N attempts, P priority, M why it waits, F flags, B body type, Z envelope id,
 * $ macros, S sender, Q original recipient before its R, R recipients still to be tried, H headers, `.` the end. Left
 * out: I (there is no inode), C (nothing is delivered to files or programs), O (no client speaks it).
 *
 * Source: spec sendmail-queue.md §2, §3.
 */
import { scanHeaders } from "@postmq/mail-format";
import type { ScannedHeaders } from "@postmq/mail-format";
import type { CopiedRecipient, MessageCopy } from "@postmq/queue-store";
import type { NotifyCondition } from "@postmq/vocabulary";

import { printable } from "./printable.ts";

/** The first version that knows all of these codes. */
const fileVersion = 8;

/** Source: spec sendmail-queue.md §3. */
export const ClassFactor = 1_800;
export const RecipientFactor = 30_000;
export const RetryFactor = 90_000;

/** Values of a Precedence header; any other is 0. Source: sendmail's configuration, its Pname=value lines. */
const messageClasses: Readonly<Record<string, number>> = {
  "special-delivery": 100,
  "first-class": 0,
  list: -30,
  bulk: -60,
  junk: -100,
};

/** P, Q: see QPRIMARY and the others in sendmail. */
const notifyLetters: readonly (readonly [NotifyCondition, string])[] = [
  ["SUCCESS", "S"],
  ["FAILURE", "F"],
  ["DELAY", "D"],
];

/** Headers beyond this are not shown. */
export const qfHeaderBytes = 1024 * 1024;

/**
 * @param head the front of the content, all headers in it
 * @param sizeBytes of the whole content
 */
export function qfView(copy: MessageCopy, head: Buffer, sizeBytes: number): string {
  const scanned = scanHeaders(head);
  const { envelope } = copy;
  const lines = [
    `V${fileVersion}`,
    `T${seconds(copy.createdMs)}`,
    `K${seconds(copy.lastAttemptMs ?? 0)}`,
    `N${copy.attempts}`,
    `P${priorityOf(copy, messageClass(scanned), sizeBytes)}`,
    ...reasonLine(copy),
    `F${flags(copy)}`,
    ...(envelope.encoding === undefined
      ? []
      : [`B${envelope.encoding === "8bit" ? "8BITMIME" : "7BIT"}`]),
    ...(envelope.envid === undefined ? [] : [`Z${printable(envelope.envid)}`]),
    `$r${printable(envelope.client?.protocol ?? "")}`,
    `$s${printable(envelope.client?.helo ?? envelope.client?.name ?? "")}`,
    `S${printable(envelope.sender)}`,
    ...copy.recipients.flatMap(recipientLines),
    ...scanned.headers.map(({ raw }) => `H${foldedText(raw)}`),
    ".",
  ];
  return `${lines.join("\n")}\n`;
}

/**
 * Larger is later: large, many-recipient and often tried mail sinks.
 *
 * Source: spec sendmail-queue.md §3.
 */
export function priorityOf(
  {
    recipients,
    attempts,
  }: Pick<MessageCopy, "attempts"> & { readonly recipients: ArrayLike<unknown> },
  messageClass: number,
  sizeBytes: number,
): number {
  return (
    sizeBytes -
    messageClass * ClassFactor +
    recipients.length * RecipientFactor +
    attempts * RetryFactor
  );
}

function messageClass({ headers }: ScannedHeaders): number {
  const word =
    headers
      .find(({ name }) => name === "precedence")
      ?.value()
      .trim()
      .toLowerCase() ?? "";
  return Object.hasOwn(messageClasses, word) ? (messageClasses[word] ?? 0) : 0;
}

/** The reason of the first recipient that was put off. */
function reasonLine({ recipients }: MessageCopy): readonly string[] {
  for (const { state } of recipients) {
    if (state.kind === "deferred") return [`MDeferred: ${printable(state.reason)}`];
  }
  return [];
}

/** w: a warning was sent; r: it is a report; 8: its content is not all ASCII. */
function flags({ envelope, wasWarned }: MessageCopy): string {
  const isReport = envelope.origin === "bounce" || envelope.sender === "";
  return [
    wasWarned && envelope.sender !== "" ? "w" : "",
    isReport ? "r" : "",
    envelope.encoding === "8bit" ? "8" : "",
  ].join("");
}

function recipientLines(recipient: CopiedRecipient): readonly string[] {
  const { address, orcpt, notify, state } = recipient;
  if (state.kind !== "todo" && state.kind !== "deferred") return [];
  const letters = notifyLetters.filter(([condition]) => notify?.includes(condition) ?? false);
  const prefix = notify === undefined ? "" : `PN${letters.map(([, letter]) => letter).join("")}:`;
  return [
    ...(orcpt === undefined ? [] : [`Q${printable(orcpt)}`]),
    `R${prefix}${printable(address)}`,
  ];
}

/** A header with its continuation lines, as text: line ends LF, the last one off, control characters made `?`. */
function foldedText(raw: Buffer): string {
  const lines = raw
    .toString("utf8")
    .replace(/\r?\n$/, "")
    .split(/\r?\n/);
  return lines.map((line) => line.split("\t").map(printable).join("\t")).join("\n");
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}
