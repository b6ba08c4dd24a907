/**
 * A message as the records of a Postfix queue file, in the order and with the lengths that Postfix would write.
 *
 * A file is: the envelope (sizes, times, attributes, sender, recipients), a marker, the content line by line, a marker,
 * what was extracted from the headers, a marker. Each record is a letter, its length in bytes of seven bits, and its
 * text; so offsets and the six numbers of the first record follow from the records. What postmq does not store is left
 * out: rewrite_context of SMTP, reverse_client_name, server_address, server_port, the full name of an account.
 *
 * The first record tells the length of the content in records, so content is read twice: `measureContent`, then
 * `contentRecords`; neither holds more than a line of it.
 *
 * Source: Postfix src/global/rec_type.h; src/smtpd/smtpd.c mail_open_stream, src/sendmail/sendmail.c,
 * src/global/post_mail.c, src/cleanup/cleanup_envelope.c, cleanup_out_recipient.c, cleanup_final.c.
 */
import { isIPv6 } from "node:net";

import { unquoteAddress } from "@postmq/mail-format";
import type { CopiedRecipient, MessageCopy } from "@postmq/queue-store";
import type { NotifyCondition } from "@postmq/vocabulary";

import { printable } from "./printable.ts";

/** The letters of records, by what postcat calls them. Source: Postfix src/global/rec_type.c. */
export const recordNames = {
  C: "message_size",
  T: "message_arrival_time",
  F: "sender_fullname",
  // In the envelope; in the content it is a part of a long line.
  L: "content_filter",
  S: "sender",
  D: "done_recipient",
  R: "recipient",
  O: "original_recipient",
  W: "warning_message_time",
  A: "named_attribute",
  V: "verp_delimiters",
  M: "message_content",
  N: "regular_text",
  X: "extracted_info",
  E: "message_end",
} as const;
export type RecordType = keyof typeof recordNames;

export type FileRecord = { readonly type: RecordType; readonly text: Buffer };

/** What a message needs beside its copy to be written as a file. */
export type FileMessage = {
  readonly copy: MessageCopy;
  /** delay_warning_time; 0: nobody is warned. */
  readonly delayWarningMs: number;
};

type MeasuredContent = {
  /** Of its records, in bytes. */
  readonly recordBytes: number;
  /** A header line holds other than ASCII. */
  readonly has8BitHeader: boolean;
};

/** Longer lines of content are written in parts. Source: postconf(5) line_length_limit. */
const lineLengthLimit = 2048;

const notifyBits: Readonly<Record<NotifyCondition, number>> = {
  NEVER: 1,
  SUCCESS: 2,
  FAILURE: 4,
  DELAY: 8,
};

/** Bytes of a record in the file: its letter, its length, its text. */
export function recordBytes({ text }: FileRecord): number {
  let lengthBytes = 1;
  for (let rest = text.length >> 7; rest > 0; rest >>= 7) lengthBytes += 1;
  return 1 + lengthBytes + text.length;
}

/** A message as a file. */
export type QueueFile = {
  readonly path: string;
  /** All records before the content's first one, the marker among them. */
  readonly envelope: readonly FileRecord[];
  readonly content: () => AsyncIterable<FileRecord>;
  /** Of all its records; content that is not shown is not read. */
  readonly contentBytes: number;
  /** All records behind the content, the markers among them. */
  readonly extracted: readonly FileRecord[];
};

/**
 * @param message undefined: its envelope can't be read; the file then holds content alone
 * @param content as stored; read twice, or, if `isMeasured` is false, once: offsets and sizes are then wrong
 */
export async function queueFile(
  path: string,
  message: FileMessage | undefined,
  content: () => AsyncIterable<Buffer>,
  isMeasured: boolean,
): Promise<QueueFile> {
  const measured = isMeasured ? await measureContent(content()) : unmeasured;
  const end = message === undefined ? [] : encoding(message.copy.envelope);
  return {
    path,
    envelope: message === undefined ? [record("M", "")] : envelopeRecords(message, measured),
    content: () => contentRecords(content()),
    contentBytes: measured.recordBytes,
    extracted: [record("X", ""), ...end, record("E", "")],
  };
}

const unmeasured: MeasuredContent = { recordBytes: 0, has8BitHeader: false };

function envelopeRecords(message: FileMessage, content: MeasuredContent): readonly FileRecord[] {
  const { copy } = message;
  const isDropped = copy.queue === "maildrop" && copy.envelope.origin === "sendmail";
  const rest = [
    ...times(copy, isDropped),
    ...beforeSender(copy),
    record("S", unquoteAddress(copy.envelope.sender)),
    ...afterSender(message, isDropped),
    ...copy.recipients.flatMap((recipient) => recipientRecords(copy, recipient, isDropped)),
    record("M", ""),
  ];
  // What postdrop writes has no record of sizes; cleanup puts one before everything.
  if (isDropped) return rest;
  const restBytes = rest.reduce((sum, one) => sum + recordBytes(one), 0);
  const sizes = (contentStart: number) => sizeRecord(copy, content, contentStart);
  return [sizes(recordBytes(sizes(0)) + restBytes), ...rest];
}

/** Content, CRLF as stored, as one record for each line; parts of long lines are of type L. */
async function* contentRecords(
  content: AsyncIterable<Buffer>,
): AsyncGenerator<FileRecord, void, void> {
  let held: Buffer = Buffer.alloc(0);
  for await (const part of content) {
    const bytes = held.length === 0 ? part : Buffer.concat([held, part]);
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(0x0a, from);
      const lineEnd = lineLength(bytes, from, end < 0 ? bytes.length : end);
      while (lineEnd - from >= lineLengthLimit) {
        yield { type: "L", text: bytes.subarray(from, from + lineLengthLimit) };
        from += lineLengthLimit;
      }
      if (end < 0) break;
      yield { type: "N", text: bytes.subarray(from, lineEnd) };
      from = end + 1;
    }
    held = Buffer.from(bytes.subarray(from));
  }
  if (held.length > 0) yield { type: "N", text: held };
}

async function measureContent(content: AsyncIterable<Buffer>): Promise<MeasuredContent> {
  let bytes = 0;
  let has8BitHeader = false;
  let isHeader = true;
  for await (const one of contentRecords(content)) {
    bytes += recordBytes(one);
    if (one.text.length === 0) isHeader = false;
    else if (isHeader) has8BitHeader ||= one.text.some((byte) => byte > 0x7f);
  }
  return { recordBytes: bytes, has8BitHeader };
}

/** Where the line ends: before its CR, which may be the last byte at hand. */
function lineLength(bytes: Buffer, from: number, end: number): number {
  return end > from && bytes[end - 1] === 0x0d ? end - 1 : end;
}

function record(type: RecordType, text: string): FileRecord {
  return { type, text: Buffer.from(printable(text)) };
}

function attribute(name: string, value: string | number | undefined): readonly FileRecord[] {
  return value === undefined || value === "" ? [] : [record("A", `${name}=${value}`)];
}

/** Content length, content offset, recipients, hints for qmgr, content length again, SMTPUTF8. */
function sizeRecord(
  { envelope, recipients }: MessageCopy,
  { recordBytes: length, has8BitHeader }: MeasuredContent,
  contentStart: number,
): FileRecord {
  const hints = recipients.reduce((bits, { notify }) => bits | (notifyFlags(notify) << 1), 0);
  const smtputf8 =
    (envelope.smtputf8 === true ? 1 : 0) |
    (has8BitHeader ? 2 : 0) |
    (isAscii(envelope.sender) ? 0 : 4);
  const numbers = [length, contentStart, recipients.length, hints, length, smtputf8];
  return record("C", numbers.map((number) => String(number).padStart(15)).join(" "));
}

function times({ arrivalMs, createdMs }: MessageCopy, isDropped: boolean): readonly FileRecord[] {
  const us = String((arrivalMs % 1000) * 1000);
  const arrival = record("T", `${seconds(arrivalMs)} ${us}`);
  return isDropped ? [arrival] : [arrival, ...attribute("create_time", seconds(createdMs))];
}

function beforeSender({ id, envelope }: MessageCopy): readonly FileRecord[] {
  const { client } = envelope;
  const filter = envelope.contentFilter === undefined ? [] : [record("L", envelope.contentFilter)];
  const wishes = [
    ...attribute("envelope_id", envelope.envid),
    ...attribute("ret_flags", envelope.ret && (envelope.ret === "FULL" ? 1 : 2)),
  ];
  switch (envelope.origin) {
    case "bounce":
      return [
        ...filter,
        ...attribute("log_message_origin", "local"),
        ...attribute("trace_flags", "0"),
      ];
    case "sendmail":
      return [
        ...filter,
        ...wishes,
        ...attribute("rewrite_context", "local"),
        ...(envelope.fullName === undefined ? [] : [record("F", envelope.fullName)]),
      ];
    default:
      return [
        ...filter,
        ...attribute("log_ident", id),
        ...attribute("sasl_method", client?.saslMethod),
        ...attribute("sasl_username", client?.saslUsername),
        ...wishes,
      ];
  }
}

function afterSender(message: FileMessage, isDropped: boolean): readonly FileRecord[] {
  const { copy, delayWarningMs } = message;
  const { envelope } = copy;
  const isFromNetwork = envelope.origin === "smtp" || envelope.origin === "http";
  const warnedAt = copy.wasWarned ? "0" : seconds(copy.arrivalMs + delayWarningMs);
  const isToBeWarned = !isDropped && envelope.sender !== "" && delayWarningMs > 0;
  return [
    // Of a report it stands only behind the content.
    ...(envelope.origin === "bounce" ? [] : encoding(envelope)),
    ...(isFromNetwork ? clientRecords(copy) : []),
    ...(envelope.verpDelimiters === undefined ? [] : [record("V", envelope.verpDelimiters)]),
    ...(isToBeWarned ? [record("W", warnedAt.padStart(15))] : []),
  ];
}

/** For the log (and XFORWARD), then as it really was; here they are the same. */
function clientRecords({ envelope: { client } }: MessageCopy): readonly FileRecord[] {
  if (client === undefined) return [];
  return [
    ...attribute("log_client_name", client.name),
    ...attribute("log_client_address", client.address),
    ...attribute("log_client_port", client.port),
    ...attribute("log_message_origin", `${client.name}[${client.address}]`),
    ...attribute("log_helo_name", client.helo),
    ...attribute("log_protocol_name", client.protocol),
    ...attribute("client_name", client.name),
    ...attribute("client_address", client.address),
    ...attribute("client_port", client.port),
    ...attribute("helo_name", client.helo),
    ...attribute("protocol_name", client.protocol),
    ...attribute("client_address_type", isIPv6(client.address) ? 10 : 2),
  ];
}

/** A recipient that needs no more attempts is done: in Postfix too one that waits only for its report. */
function recipientRecords(
  { envelope }: MessageCopy,
  recipient: CopiedRecipient,
  isDropped: boolean,
): readonly FileRecord[] {
  const address = unquoteAddress(recipient.address);
  const original = unquoteAddress(recipient.original ?? recipient.address);
  const flags = notifyFlags(recipient.notify);
  const notify = flags === 0 ? [] : attribute("notify_flags", flags);
  if (isDropped) {
    return [...notify, ...attribute("dsn_orig_rcpt", recipient.orcpt), record("R", address)];
  }
  const type = envelope.smtputf8 === true && !isAscii(address) ? "utf-8" : "rfc822";
  const { kind } = recipient.state;
  const isUndone = kind === "todo" || kind === "deferred";
  return [
    ...notify,
    ...attribute("dsn_orig_rcpt", recipient.orcpt ?? `${type};${address}`),
    record("O", original),
    record(isUndone ? "R" : "D", address),
  ];
}

function encoding({ encoding: name }: MessageCopy["envelope"]): readonly FileRecord[] {
  return attribute("encoding", name);
}

function notifyFlags(notify: readonly NotifyCondition[] = []): number {
  return notify.reduce((bits, condition) => bits | notifyBits[condition], 0);
}

function seconds(ms: number): string {
  return String(Math.floor(ms / 1000));
}

function isAscii(text: string): boolean {
  return !/[^\0-\x7f]/.test(text);
}
