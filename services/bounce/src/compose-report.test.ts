import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatMailDate } from "@postmq/mail-format";
import { enhancedStatus, parseQueueId } from "@postmq/vocabulary";
import type { QueueId, StoredRecipient } from "@postmq/vocabulary";
import { composeReport } from "./compose-report.ts";
import type { ReportInput } from "./compose-report.ts";
import { assertWireForm, readFields, readMultipart, readPart } from "./strict-mime.test-support.ts";

function queueId(text: string): QueueId {
  const id = parseQueueId(text);
  assert(id !== undefined);
  return id;
}

const hourMs = 3_600_000;

const refused: StoredRecipient = {
  number: 0,
  address: "joe@far.example",
  original: "info@near.example",
  orcpt: "rfc822;Info@near.example",
  state: {
    kind: "failed",
    status: enhancedStatus("5.1.1"),
    reason:
      "host mx.far.example[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
    remote: {
      host: "mx.far.example",
      address: "192.0.2.1",
      port: 25,
      reply: "550 5.1.1 no such user",
    },
  },
};

const later: StoredRecipient = {
  ...refused,
  state: {
    kind: "deferred",
    status: enhancedStatus("4.2.1"),
    reason: "host mx.far.example[192.0.2.1] said: 450 4.2.1 later",
    remote: { host: "mx.far.example", address: "192.0.2.1", port: 25, reply: "450 4.2.1 later" },
  },
};

const original = Buffer.from("Subject: hello\r\nX-Odd: .dot\r\n\r\n.line\r\nlast");

const input: ReportInput = {
  id: queueId("4Fq0000000zABCDEF"),
  reportId: queueId("4Fq0000001zABCDEF"),
  kind: "failure",
  envelope: { sender: "sender@x.example", origin: "smtp", envid: "env+1" },
  arrivalMs: Date.UTC(2026, 10, 21, 10, 0, 0),
  nowMs: Date.UTC(2026, 10, 21, 10, 5, 0),
  recipients: [refused],
  returned: { kind: "whole", bytes: original },
  myhostname: "mail.example",
  myorigin: "example",
  mailName: "postmq",
  mailerDaemon: "MAILER-DAEMON",
  delayWarningMs: 4 * hourMs,
  lifetimeMs: 5 * 24 * hourMs,
};

function compose(changes: Partial<ReportInput> = {}) {
  const report = composeReport({ ...input, ...changes });
  assertWireForm(report.content);
  const message = readPart(report.content);
  const [text, status, returned] = readMultipart(message);
  assert(text !== undefined && status !== undefined && returned !== undefined);
  const [perMessage = "", ...perRecipient] = status.body
    .toString("utf8")
    .replace(/\r\n$/, "")
    .split("\r\n\r\n");
  return {
    report,
    message,
    text,
    status,
    returned,
    fields: readFields(perMessage),
    recipients: perRecipient.map(readFields),
  };
}

describe("composeReport", () => {
  it("writes the headers that a report has (RFC 3464, RFC 3834)", () => {
    const { headers } = compose().message;
    assert.equal(headers.get("auto-submitted"), "auto-replied");
    assert.equal(headers.get("to"), "sender@x.example");
    assert.match(headers.get("from") ?? "", /^MAILER-DAEMON@example /);
    assert.match(
      headers.get("content-type") ?? "",
      /^multipart\/report; report-type=delivery-status;/,
    );
    assert.equal(headers.get("mime-version"), "1.0");
    assert.equal(headers.get("message-id"), "<4Fq0000001zABCDEF@mail.example>");
    assert.match(headers.get("received") ?? "", /id 4Fq0000001zABCDEF;/);
  });

  it("tells people which recipient failed and why, wrapped at 79 columns", () => {
    const { text } = compose();
    const lines = text.body.toString("utf8").split("\r\n");
    assert(lines.every((line) => line.length <= 79));
    assert.match(
      text.body.toString("utf8").replaceAll("\r\n   ", ""),
      /<joe@far.example> \(expanded from <info@near.example>\): host mx.far.example\[192.0.2.1\] said: 550/,
    );
  });

  it("tells programs about the message and the recipient (RFC 3464 §2)", () => {
    const { status, fields, recipients } = compose();
    assert.equal(status.headers.get("content-type"), "message/delivery-status");
    assert.equal(fields.get("reporting-mta"), "dns; mail.example");
    assert.equal(fields.get("original-envelope-id"), "env+1");
    assert.equal(fields.get("x-postfix-queue-id"), "4Fq0000000zABCDEF");
    assert.equal(fields.get("x-postfix-sender"), "rfc822; sender@x.example");
    assert.match(fields.get("arrival-date") ?? "", /21 Nov 2026/);
    assert.deepEqual(Object.fromEntries(recipients[0] ?? []), {
      "final-recipient": "rfc822; joe@far.example",
      "original-recipient": "rfc822;Info@near.example",
      action: "failed",
      status: "5.1.1",
      "remote-mta": "dns; mx.far.example",
      "diagnostic-code": "smtp; 550 5.1.1 no such user",
    });
  });

  it("S12 keeps the 4.x.x of the last deferral in an expiry report, with the action failed", () => {
    const deferred: StoredRecipient = {
      number: 1,
      address: "al@slow.example",
      state: {
        kind: "deferred",
        status: enhancedStatus("4.4.1"),
        reason: "connect to slow.example: timed out",
      },
    };
    const { recipients, text } = compose({ kind: "expired", recipients: [deferred] });
    assert.equal(recipients[0]?.get("status"), "4.4.1");
    assert.equal(recipients[0]?.get("action"), "failed");
    assert.equal(
      recipients[0]?.get("diagnostic-code"),
      "X-Postfix; connect to slow.example: timed out",
    );
    assert.equal(recipients[0]?.has("remote-mta"), false);
    assert.match(text.body.toString(), /too old/);
  });

  it("S13 warns of a delay: still tried, nothing to do, and until when", () => {
    const bytes = Buffer.from("Subject: hello\r\n");
    const { message, text, returned, recipients } = compose({
      kind: "delay",
      recipients: [later],
      returned: { kind: "headers", bytes },
    });
    assert.equal(message.headers.get("subject"), "Delayed Mail (still being retried)");
    assert.equal(message.headers.get("to"), "sender@x.example");
    assert.equal(message.headers.get("auto-submitted"), "auto-replied");
    const words = text.body.toString();
    assert.match(words, /# THIS IS A WARNING ONLY\. {2}YOU DO NOT NEED TO RESEND YOUR MESSAGE\. #/);
    assert.match(words, /could not be delivered for more than 4 hour\(s\)\r\n/);
    assert.match(words, /will be retried until it is 5 day\(s\) old/);
    assert.match(words, /<joe@far\.example> .*450 4\.2\.1 later/s);
    assert.equal(returned.headers.get("content-type"), "text/rfc822-headers");
    assert.deepEqual(Object.fromEntries(recipients[0] ?? []), {
      "final-recipient": "rfc822; joe@far.example",
      "original-recipient": "rfc822;Info@near.example",
      action: "delayed",
      status: "4.2.1",
      "remote-mta": "dns; mx.far.example",
      "diagnostic-code": "smtp; 450 4.2.1 later",
      "will-retry-until": formatMailDate(input.arrivalMs + 5 * 24 * hourMs),
    });
  });

  it("S13 tells times below the unit in a smaller one, not as 0 hours", () => {
    const words = (delayWarningMs: number, lifetimeMs: number) =>
      compose({
        kind: "delay",
        recipients: [later],
        delayWarningMs,
        lifetimeMs,
      }).text.body.toString();
    assert.match(
      words(90_000, 5 * hourMs),
      /more than 1 minute\(s\)[^]* until it is 5 hour\(s\) old/,
    );
    assert.match(words(7 * hourMs + 1, 36 * hourMs), /more than 7 hour\(s\)[^]* is 1 day\(s\) old/);
    assert.match(words(5_000, 0), /more than 5 second\(s\)/);
  });

  it("gives no retry time in a report of failure", () => {
    assert.equal(compose().recipients[0]?.has("will-retry-until"), false);
  });

  it("D33 lists every recipient that failed, each in a block of its own", () => {
    const { recipients } = compose({
      recipients: [refused, { ...refused, number: 1, address: "al@far.example" }],
    });
    assert.deepEqual(
      recipients.map((fields) => fields.get("final-recipient")),
      ["rfc822; joe@far.example", "rfc822; al@far.example"],
    );
  });

  it("returns the original byte for byte under its Return-Path", () => {
    const { returned } = compose();
    assert.equal(returned.headers.get("content-type"), "message/rfc822");
    assert.deepEqual(
      returned.body,
      Buffer.concat([Buffer.from("Return-Path: <sender@x.example>\r\n"), original]),
    );
  });

  it("D32 returns headers as text/rfc822-headers", () => {
    const bytes = Buffer.from("Subject: hello\r\n");
    const { returned, text } = compose({ returned: { kind: "headers", bytes } });
    assert.equal(returned.headers.get("content-type"), "text/rfc822-headers");
    assert.match(text.body.toString(), /headers are attached/);
  });

  it("goes out with a placeholder when the content can't be read", () => {
    const { returned } = compose({ returned: { kind: "unavailable" } });
    assert.equal(returned.headers.get("content-type"), "text/plain; charset=us-ascii");
  });

  it("announces 8-bit content where it stands and above it", () => {
    const bytes = Buffer.from("Subject: x\r\n\r\nf\xfcr dich\r\n", "latin1");
    const { report, returned, status } = compose({ returned: { kind: "whole", bytes } });
    assert.equal(report.has8Bit, true);
    assert.equal(returned.headers.get("content-transfer-encoding"), "8bit");
    assert.equal(status.headers.has("content-transfer-encoding"), false);
    assert(returned.body.includes(bytes));
  });

  it("speaks of internationalised addresses as RFC 6533 does, and only where there are such", () => {
    const recipient = { ...refused, address: "jürgen@far.example" };
    const envelope = { ...input.envelope, smtputf8: true };
    const { report, status, returned, recipients } = compose({ envelope, recipients: [recipient] });
    assert.equal(report.isUtf8, true);
    assert.equal(status.headers.get("content-type"), "message/global-delivery-status");
    assert.equal(returned.headers.get("content-type"), "message/global");
    assert.equal(recipients[0]?.get("final-recipient"), "utf-8; jürgen@far.example");
    assert.equal(compose({ envelope }).report.isUtf8, false);
  });

  it("lets no reply or address start a field or a part of its own", () => {
    const hostile: StoredRecipient = {
      number: 0,
      address: "a\r\nBcc: b@x.example",
      original: "o\r\n\r\nx",
      orcpt: "rfc822;x\r\nAction: delivered",
      state: {
        kind: "failed",
        status: enhancedStatus("5.0.0"),
        reason: "550 no\r\n\r\n--4Fq0000001zABCDEF\0",
        remote: {
          host: "h\r\nX: y",
          address: "192.0.2.1",
          port: 25,
          reply: `550 ${"long".repeat(1000)}\r\nStatus: 2.0.0`,
        },
      },
    };
    const envelope = { ...input.envelope, sender: "s\r\nCc: c@x.example", envid: "e\r\nf: g" };
    const { message, recipients, returned } = compose({ recipients: [hostile], envelope });
    assert.equal(message.headers.has("cc"), false);
    assert.equal(recipients.length, 1);
    assert.equal(recipients[0]?.get("action"), "failed");
    assert.equal(recipients[0]?.get("status"), "5.0.0");
    assert.equal(readPart(returned.body).headers.get("return-path"), "<s??Cc: c@x.example>");
  });

  it("takes another boundary when the original holds this one", () => {
    const taken = /boundary="([^"]+)"/.exec(compose().report.content.toString())?.[1] ?? "";
    const bytes = Buffer.from(`Subject: x\r\n\r\n--${taken}\r\n\r\n--${taken}--\r\n`);
    const { returned } = compose({ returned: { kind: "whole", bytes } });
    assert(returned.body.includes(bytes));
  });
});
