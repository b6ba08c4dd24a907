/** Messages that carry an id of their own, so that each copy of each can be accounted for wherever it turns up. */
import { randomUUID } from "node:crypto";

import type { Ledger } from "./ledger.ts";
import type { FakeSmtpServer, ReceivedMessage } from "./fake-smtp-server.ts";

const idHeader = "X-Test-Id";

export type TestMail = {
  readonly id: string;
  readonly from: string;
  readonly to: readonly string[];
  readonly content: Buffer;
};

/** A small message with a fresh id. */
export function testMail(
  fields: {
    readonly id?: string;
    readonly from?: string;
    readonly to?: readonly string[];
    /** Default: one line. */
    readonly body?: Buffer | string;
    /** More header lines, each ending in CRLF. */
    readonly headers?: string;
  } = {},
): TestMail {
  const id = fields.id ?? randomUUID();
  const from = fields.from ?? "sender@src.example.com";
  const to = fields.to ?? [`r-${id}@dest.example.com`];
  const head =
    `From: <${from}>\r\nTo: <${to[0] ?? ""}>\r\nSubject: test ${id}\r\n` +
    `${idHeader}: ${id}\r\n${fields.headers ?? ""}\r\n`;
  const body = fields.body ?? "One line of text.\r\n";
  return { id, from, to, content: Buffer.concat([Buffer.from(head), Buffer.from(body)]) };
}

/** The id of a message or of the one that a report returns; undefined for one without. */
export function testIdOf(content: Buffer): string | undefined {
  return /^X-Test-Id: (\S+)/m.exec(content.toString("latin1"))?.[1];
}

/** The part after the header section, which ends with the first empty line. */
export function bodyOf(content: Buffer): Buffer {
  const end = content.indexOf("\r\n\r\n");
  return end < 0 ? Buffer.alloc(0) : content.subarray(end + 4);
}

/** A non-delivery report: its own queue id, of which message it tells, and which of its recipients failed. */
export type ReportedFailure = {
  readonly reportId: string;
  readonly id: string;
  readonly recipients: readonly string[];
};

export function readReport(content: Buffer): ReportedFailure | undefined {
  const text = content.toString("latin1");
  if (!/^Content-Type: multipart\/report;/im.test(text)) return undefined;
  const recipients = [...text.matchAll(/^Final-Recipient: rfc822; ?(\S+)/gim)];
  return {
    reportId: /^Message-ID: <([^@>]*)/im.exec(text)?.[1] ?? "",
    id: testIdOf(content) ?? "",
    recipients: recipients.map((match) => match[1] ?? ""),
  };
}

/**
 * Enters what a fake server accepted into a ledger: deliveries, and reports as bounces.
 *
 * A report is also a message of its own, by the queue id in its Message-ID: a second copy of it is a repeated delivery
 * of that message, and no second bounce.
 *
 * @returns a function that enters what came since its last call.
 */
export function ledgerReader(ledger: Ledger, server: FakeSmtpServer): () => void {
  let read = 0;
  return () => {
    for (const message of server.messages.slice(read)) enter(ledger, message);
    read = server.messages.length;
  };
}

function enter(ledger: Ledger, message: ReceivedMessage): void {
  if (message.reply !== "" && !message.reply.startsWith("2")) return;
  const report = readReport(message.content);
  if (report !== undefined) {
    const isFirst = message.recipients.every((recipient) => {
      ledger.leaveOpen(report.reportId, recipient);
      return ledger.deliver(report.reportId, recipient) === 1;
    });
    if (!isFirst) return;
    for (const recipient of report.recipients) ledger.bounce(report.id, recipient);
    return;
  }
  const id = testIdOf(message.content) ?? "(no id)";
  for (const recipient of message.recipients) ledger.deliver(id, recipient);
}
