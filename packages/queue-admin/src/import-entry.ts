/**
 * A line of an export, checked: every field has the type and the bounds that a record needs, whoever wrote the file.
 *
 * What is not known is passed over, so that a later version may add to it. What is wrong is named; nothing is guessed,
 * since a message restored with a wrong recipient is worse than one in corrupt.
 *
 * Source: docs/BACKUP.md; spec security.md.
 */
import type { CopiedRecipient, MessageCopy } from "@postmq/queue-store";
import {
  isMessageQueue,
  messageOrigins,
  notifyConditions,
  parseEnhancedStatus,
  parseQueueId,
  successActions,
} from "@postmq/vocabulary";
import type {
  ClientAttributes,
  Envelope,
  NotifyCondition,
  QueueId,
  RecipientState,
  RemoteReply,
} from "@postmq/vocabulary";

import { exportVersion } from "./export-format.ts";
import type { ExportHeader } from "./export-format.ts";
import { LineDamage } from "./import-lines.ts";
import { printable } from "./printable.ts";

/** A message's line, or one of those between messages. */
export type ImportEntry =
  | { readonly kind: "message"; readonly copy: MessageCopy; readonly sizeBytes: number }
  | { readonly kind: "header" | "checkpoint" | "end" };

type Json = Readonly<Record<string, unknown>>;

/**
 * Above what intake and delivery make: of an address 1 000 characters and our domain, in a dropped file 4 096; of a reason
 * a server's 2 048 with words round them, or what an operator wrote into a table, which has no bound of its own.
 */
const longestOf: Readonly<Record<string, number>> = {
  address: 4096,
  original: 4096,
  orcpt: 4096,
  sender: 4096,
  reason: 16_384,
  reply: 16_384,
};
const longestText = 65_536;
const mostRecipients = 1_000_000;
/**
 * Numbers below this and so many more for each recipient: every reader walks the gaps. A requeue begins behind all that there
 * were (release-cleaned.lua), those that are done by then among them: one that is left of 100 000 comes back as well as a
 * message that was requeued a hundred times.
 */
const numbersBeyond = { inAll: 100_000, perRecipient: 100 };
const latestMs = 8.64e15;
/** More than the format has: the parser takes some forty bytes for each that stands open. */
const mostOpenBrackets = 100;

/** @param line without its content. @throws LineDamage */
export function parseEntry(line: string): ImportEntry {
  const entry = asObject(parseJson(line), "the line");
  if (entry["postmq_export"] !== undefined) {
    if (entry["postmq_export"] !== exportVersion) damaged("is of another version of the format");
    return { kind: "header" };
  }
  if (entry["checkpoint"] !== undefined) {
    count(entry, "checkpoint");
    return { kind: "checkpoint" };
  }
  if (entry["end"] !== undefined) {
    count(asObject(entry["end"], "end"), "messages");
    return { kind: "end" };
  }
  return { kind: "message", copy: copyOf(entry), sizeBytes: count(entry, "size_bytes") };
}

/** The header of an export. @throws LineDamage */
export function parseHeader(line: string): ExportHeader {
  const header = asObject(parseJson(line), "the first line");
  if (header["postmq_export"] !== exportVersion) damaged("is no header of an export");
  const exportId = text(header, "export_id");
  if (!/^[0-9a-f]{32}$/.test(exportId)) damaged("export_id is none");
  return {
    exportId,
    instance: text(header, "instance"),
    exportedAtMs: Date.parse(text(header, "exported_at")),
    deletes: flag(header, "deletes"),
  };
}

/** The id of a line, however damaged the rest of it is. */
export function readableId(line: string): QueueId | undefined {
  const found = /^\s*\{\s*"id"\s*:\s*"([A-Za-z0-9_]{1,255})"/.exec(line)?.[1];
  return found === undefined ? undefined : parseQueueId(found);
}

/** Whether a line begins as an export writes a message, however damaged the rest of it is. */
export function beginsAsMessage(line: string): boolean {
  return readableId(line) !== undefined && /^\s*\{[^,]*,\s*"queue"\s*:/.test(line);
}

function copyOf(entry: Json): MessageCopy {
  const queue = text(entry, "queue");
  const isFinished = flag(entry, "finished");
  if (!isMessageQueue(queue) || queue === "active")
    damaged("queue is none that a message rests in");
  const recipients = list(entry, "recipients").map(recipientOf);
  checkNumbers(recipients);
  const corruptReason = optionalWords(entry, "corrupt_reason") || "unknown reason";
  return {
    id: parseQueueId(text(entry, "id")) ?? damaged("id is no queue id"),
    queue,
    arrivalMs: time(entry, "arrival_ms") ?? damaged("arrival_ms is missing"),
    createdMs: time(entry, "created_ms") ?? damaged("created_ms is missing"),
    envelope: envelopeOf(asObject(entry["envelope"], "envelope")),
    recipients,
    attempts: count(entry, "attempts"),
    ...defined("lastAttemptMs", time(entry, "last_attempt_ms")),
    ...defined("dueMs", time(entry, "due_ms")),
    isForceExpired: flag(entry, "force_expired"),
    wasWarned: flag(entry, "warned"),
    isFinished,
    ...(queue === "corrupt" ? { corruptReason } : {}),
  };
}

/** Numbers rise, places standing for those that are not given, and leave no gaps that no requeue leaves. */
function checkNumbers(recipients: readonly CopiedRecipient[]): void {
  if (recipients.length > mostRecipients) damaged("has too many recipients");
  const bound = numbersBeyond.inAll + numbersBeyond.perRecipient * recipients.length;
  let last = -1;
  for (const [i, recipient] of recipients.entries()) {
    const number = recipient.number ?? i;
    if (number <= last) damaged("numbers of recipients do not rise");
    last = number;
  }
  if (last >= Math.min(bound, mostRecipients)) damaged("numbers of recipients are too far apart");
}

function envelopeOf(from: Json): Envelope {
  const origin = messageOrigins.find((one) => one === from["origin"]);
  const client = from["client"];
  const verp = optionalText(from, "verp_delimiters");
  if (verp !== undefined && !/^[!-~]{2}$/.test(verp))
    damaged("verp_delimiters are not two characters");
  const encoding = oneOf(from, "encoding", ["7bit", "8bit"] as const);
  const extracted = from["extracted_notify"];
  return {
    sender: text(from, "sender"),
    origin: origin ?? damaged("origin is not known"),
    ...defined("fullName", optionalWords(from, "full_name")),
    ...defined("encoding", encoding),
    ...(flag(from, "smtputf8") ? { smtputf8: true } : {}),
    ...(flag(from, "require_tls") ? { requireTls: true } : {}),
    ...defined("envid", optionalText(from, "envid")),
    ...defined("ret", oneOf(from, "ret", ["FULL", "HDRS"] as const)),
    ...defined("verpDelimiters", verp),
    ...(client === undefined ? {} : { client: clientOf(asObject(client, "client")) }),
    ...defined("contentFilter", optionalText(from, "content_filter")),
    ...(flag(from, "extract_recipients") ? { extractRecipients: true } : {}),
    ...(extracted === undefined ? {} : { extractedNotify: notifyOf(extracted) }),
  };
}

function clientOf(from: Json): ClientAttributes {
  return {
    name: words(from, "name"),
    address: words(from, "address"),
    ...defined("port", optionalCount(from, "port")),
    ...defined("helo", optionalWords(from, "helo")),
    protocol: words(from, "protocol"),
    ...defined("saslMethod", optionalWords(from, "sasl_method")),
    ...defined("saslUsername", optionalWords(from, "sasl_username")),
    ...defined("uid", optionalCount(from, "uid")),
  };
}

function recipientOf(value: unknown): CopiedRecipient {
  const from = asObject(value, "a recipient");
  const address = text(from, "address");
  if (address === "") damaged("a recipient has no address");
  const notify = from["notify"];
  return {
    ...defined("number", optionalCount(from, "number")),
    address,
    ...defined("original", optionalText(from, "original")),
    ...defined("orcpt", optionalText(from, "orcpt")),
    ...(notify === undefined ? {} : { notify: notifyOf(notify) }),
    state: stateOf(from),
  };
}

function notifyOf(value: unknown): readonly NotifyCondition[] {
  if (!Array.isArray(value)) return damaged("notify is no list");
  return value.map(
    (one) => notifyConditions.find((known) => known === one) ?? damaged("notify is not known"),
  );
}

function stateOf(from: Json): RecipientState {
  const kind = from["state"] ?? "todo";
  if (kind === "todo" || kind === "done") return { kind };
  const remote = from["remote"];
  const told = {
    status: parseEnhancedStatus(text(from, "status")) ?? damaged("status is no enhanced code"),
    reason: words(from, "reason"),
    ...(remote === undefined ? {} : { remote: remoteOf(asObject(remote, "remote")) }),
  };
  if (kind === "deferred" || kind === "failed") return { kind, ...told };
  if (kind !== "sent") return damaged("state of a recipient is not known");
  const action = successActions.find((one) => one === from["action"]);
  return { kind, action: action ?? damaged("action is not known"), ...told };
}

function remoteOf(from: Json): RemoteReply {
  return {
    host: words(from, "host"),
    address: words(from, "address"),
    port: count(from, "port"),
    ...defined("reply", optionalWords(from, "reply")),
  };
}

// ------------------------------------------------------------------------------------------------- fields

function damaged(what: string): never {
  throw new LineDamage(what);
}

function parseJson(source: string): unknown {
  if (isTooDeep(source)) damaged("is nested too deep");
  try {
    return JSON.parse(source);
  } catch {
    return damaged("is no JSON");
  }
}

function isTooDeep(source: string): boolean {
  let open = 0;
  let isQuoted = false;
  for (let i = 0; i < source.length && open <= mostOpenBrackets; i += 1) {
    const character = source[i];
    if (character === '"') isQuoted = !isQuoted;
    else if (isQuoted) i += character === "\\" ? 1 : 0;
    else if (character === "[" || character === "{") open += 1;
    else if (character === "]" || character === "}") open -= 1;
  }
  return open > mostOpenBrackets;
}

function asObject(value: unknown, name: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return damaged(`${name} is no object`);
  }
  return value as Json;
}

function text(from: Json, name: string): string {
  return optionalText(from, name) ?? damaged(`${name} is missing`);
}

/** What goes into a dialogue must not bring lines of its own. */
function optionalText(from: Json, name: string): string | undefined {
  const value = boundedText(from, name);
  if (value === undefined) return undefined;
  if (/\p{Cc}/u.test(value)) damaged(`${name} has control characters in it`);
  return value.isWellFormed() ? value : damaged(`${name} is no well-formed Unicode`);
}

/** What is only shown is made fit for that. */
function optionalWords(from: Json, name: string): string | undefined {
  const value = boundedText(from, name);
  return value === undefined ? undefined : printable(value).toWellFormed();
}

function boundedText(from: Json, name: string): string | undefined {
  const value = from[name];
  if (value === undefined) return undefined;
  if (typeof value !== "string") return damaged(`${name} is no text`);
  return value.length <= (longestOf[name] ?? longestText) ? value : damaged(`${name} is too long`);
}

function words(from: Json, name: string): string {
  return optionalWords(from, name) ?? damaged(`${name} is missing`);
}

function list(from: Json, name: string): readonly unknown[] {
  const value = from[name];
  return Array.isArray(value) ? value : damaged(`${name} is no list`);
}

function count(from: Json, name: string): number {
  return optionalCount(from, name) ?? damaged(`${name} is missing`);
}

function optionalCount(from: Json, name: string): number | undefined {
  const value = from[name];
  if (value === undefined) return undefined;
  const isCount = typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  return isCount ? value : damaged(`${name} is no whole number`);
}

/** Milliseconds since 1970, parts of them too. Cursors take no exponents, so nothing is between 0 and 1. */
function time(from: Json, name: string): number | undefined {
  const value = from[name];
  if (value === undefined) return undefined;
  const isTime = typeof value === "number" && (value === 0 || value >= 1) && value <= latestMs;
  return isTime ? value : damaged(`${name} is no time`);
}

function flag(from: Json, name: string): boolean {
  const value = from[name] ?? false;
  return typeof value === "boolean" ? value : damaged(`${name} is neither true nor false`);
}

function oneOf<Word extends string>(
  from: Json,
  name: string,
  words: readonly Word[],
): Word | undefined {
  if (from[name] === undefined) return undefined;
  return words.find((word) => word === from[name]) ?? damaged(`${name} is not known`);
}

function defined<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { readonly [Key in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [Key in Name]: Value });
}
