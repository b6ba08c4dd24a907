/**
 * A report about mail that could not be delivered, or not yet, as RFC 3464 wants it: multipart/report of a text for people, a
 * message/delivery-status part for programs, and the original or its headers.
 *
 * Pure: everything that varies is passed in. Whatever came from outside (addresses, replies, reasons) is made one line
 * before it is put in; the original goes back byte for byte. All line ends are CRLF.
 *
 * Source: spec delivery.md §9, D28 to D34, S12, S13; RFC 3464, RFC 6522, RFC 6533 (internationalised addresses), RFC 3834
 * (Auto-Submitted).
 */
import { formatMailDate, formatReceived } from "@postmq/mail-format";
import type { ReportKind } from "@postmq/queue-store";
import type { Envelope, QueueId, StoredRecipient } from "@postmq/vocabulary";
import { deliveryStatus } from "./delivery-status.ts";
import { explanation } from "./explanation.ts";
import type { ReturnedContent } from "./returned-content.ts";
import { oneLine } from "./sanitise.ts";

export type ReportInput = {
  /** The message that is reported. */
  readonly id: QueueId;
  readonly reportId: QueueId;
  readonly kind: ReportKind;
  readonly envelope: Envelope;
  readonly arrivalMs: number;
  readonly nowMs: number;
  /** Those that failed (delay: that are still deferred) and whose sender wants to know. */
  readonly recipients: readonly StoredRecipient[];
  readonly returned: ReturnedContent;
  readonly myhostname: string;
  readonly myorigin: string;
  readonly mailName: string;
  /** Stands for the null sender in From (empty_address_recipient). */
  readonly mailerDaemon: string;
  /** delay_warning_time: after how long a warning is sent. */
  readonly delayWarningMs: number;
  /** maximal_queue_lifetime: how long a message is tried. */
  readonly lifetimeMs: number;
};

export type ComposedReport = {
  readonly content: Buffer;
  readonly messageId: string;
  readonly has8Bit: boolean;
  readonly isUtf8: boolean;
};

/** Composes a failure report (expiry included), or a delay warning. */
export function composeReport(input: ReportInput): ComposedReport {
  const isUtf8 = needsUtf8(input);
  const text = Buffer.from(explanation(input));
  const status = Buffer.from(deliveryStatus(input, isUtf8));
  const original = originalPart(input, isUtf8);
  const has8Bit = [text, status, original.body].some(is8Bit);
  const boundary = freeBoundary(input, [text, status, original.body]);
  const messageId = `<${input.reportId}@${input.myhostname}>`;
  const global = isUtf8 ? "global-" : "";
  const parts = [
    part(boundary, {
      description: "Notification",
      type: `text/plain; charset=${is8Bit(text) ? "utf-8" : "us-ascii"}`,
      body: text,
    }),
    part(boundary, {
      description: "Delivery report",
      type: `message/${global}delivery-status`,
      body: status,
    }),
    part(boundary, original),
  ];
  const content = Buffer.concat([
    Buffer.from(topHeaders(input, { boundary, messageId, has8Bit, isUtf8 })),
    ...parts,
    Buffer.from(`--${boundary}--\r\n`),
  ]);
  return { content, messageId, has8Bit, isUtf8 };
}

/** SMTPUTF8 that was asked for but not used needs no internationalised report (D18). */
function needsUtf8({ envelope, recipients, returned }: ReportInput): boolean {
  if (envelope.smtputf8 !== true) return false;
  const addresses = [
    envelope.sender,
    ...recipients.flatMap(({ address, original }) => [address, original ?? ""]),
  ];
  const original = returned.kind === "unavailable" ? Buffer.alloc(0) : returned.bytes;
  return [Buffer.from(addresses.join(" ")), original].some(is8Bit);
}

function topHeaders(
  input: ReportInput,
  made: {
    readonly boundary: string;
    readonly messageId: string;
    readonly has8Bit: boolean;
    readonly isUtf8: boolean;
  },
): string {
  const received = formatReceived({
    by: input.myhostname,
    mailName: input.mailName,
    id: input.reportId,
    atMs: input.nowMs,
  });
  const lines = [
    `Date: ${formatMailDate(input.nowMs)}`,
    `From: ${input.mailerDaemon}@${input.myorigin} (Mail delivery system)`,
    `Subject: ${subject(input.kind)}`,
    `To: ${oneLine(input.envelope.sender, made.isUtf8)}`,
    "Auto-Submitted: auto-replied",
    "MIME-Version: 1.0",
    "Content-Type: multipart/report; report-type=delivery-status;",
    `\tboundary="${made.boundary}"`,
    ...(made.has8Bit ? ["Content-Transfer-Encoding: 8bit"] : []),
    `Message-Id: ${made.messageId}`,
    "",
    "This is a MIME-encapsulated message.",
    "",
  ];
  return `${received}${lines.map((line) => `${line}\r\n`).join("")}`;
}

function subject(kind: ReportKind): string {
  return kind === "delay"
    ? "Delayed Mail (still being retried)"
    : "Mail not delivered, returned to sender";
}

type Part = {
  readonly description: string;
  readonly type: string;
  readonly body: Buffer;
};

function originalPart(input: ReportInput, isUtf8: boolean): Part {
  const { returned, envelope } = input;
  if (returned.kind === "unavailable") {
    return {
      description: "Undelivered message",
      type: "text/plain; charset=us-ascii",
      body: Buffer.from("The content of the message can't be read.\r\n"),
    };
  }
  const returnPath = Buffer.from(`Return-Path: <${oneLine(envelope.sender, isUtf8)}>\r\n`);
  const body = Buffer.concat([returnPath, returned.bytes]);
  if (returned.kind === "headers") {
    const type = isUtf8 ? "message/global-headers" : "text/rfc822-headers";
    return { description: "Undelivered message headers", type, body };
  }
  const type = isUtf8 ? "message/global" : "message/rfc822";
  return { description: "Undelivered message", type, body };
}

function part(boundary: string, { description, type, body }: Part): Buffer {
  const encoding = is8Bit(body) ? "Content-Transfer-Encoding: 8bit\r\n" : "";
  const head = `--${boundary}\r\nContent-Description: ${description}\r\nContent-Type: ${type}\r\n${encoding}\r\n`;
  // The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1).
  return Buffer.concat([Buffer.from(head), body, Buffer.from("\r\n")]);
}

function is8Bit(bytes: Buffer): boolean {
  return bytes.some((byte) => byte > 127);
}

/** `QID.EPOCH/myhostname`, with a number where the original has such a line already. */
function freeBoundary(input: ReportInput, bodies: readonly Buffer[]): string {
  const wanted = `${input.reportId}.${Math.floor(input.nowMs / 1000)}/${input.myhostname}`;
  let boundary = wanted;
  for (let n = 1; bodies.some((body) => body.includes(`--${boundary}`)); n += 1) {
    boundary = `${n}.${wanted}`;
  }
  return boundary;
}
