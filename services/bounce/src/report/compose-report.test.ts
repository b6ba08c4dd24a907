import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { formatMailDate } from "@postmq/mail-format";
import { enhancedStatus } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";

import { builtInTemplates } from "../template/built-in-templates.ts";
import { composeReport } from "./compose-report.ts";
import {
  delayInput,
  failureInput,
  inputWith,
  original,
  refused,
  relayed,
  successInput,
} from "./report-input.test-support.ts";
import type { ReportInput } from "./report-input.ts";
import { assertWireForm, readFields, readMultipart, readPart } from "./strict-mime.test-support.ts";

const hourMs = 3_600_000;

function compose(input: ReportInput = failureInput) {
  const report = composeReport(input);
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
    words: text.body.toString("utf8"),
    status,
    returned,
    fields: readFields(perMessage),
    recipients: perRecipient.map(readFields),
  };
}

describe("composeReport of a failure", () => {
  it("writes the headers that a report has (RFC 3464, RFC 3834)", () => {
    const { headers } = compose().message;
    assert.equal(headers.get("auto-submitted"), "auto-replied");
    assert.equal(headers.get("to"), "sender@x.example");
    assert.equal(headers.get("from"), "Mail Delivery System <MAILER-DAEMON@example>");
    assert.match(
      headers.get("content-type") ?? "",
      /^multipart\/report; report-type=delivery-status;/,
    );
    assert.match(
      headers.get("content-type") ?? "",
      /boundary="4Fq0000001zABCDEF\.\d+\/mail\.example"$/,
    );
    assert.equal(headers.get("mime-version"), "1.0");
    assert.equal(headers.get("message-id"), "<4Fq0000001zABCDEF@mail.example>");
    assert.match(headers.get("received") ?? "", /id 4Fq0000001zABCDEF;/);
    assert.equal(headers.has("references"), false);
  });

  it("tells people which recipient failed and why, wrapped at 79 columns", () => {
    const { words } = compose();
    assert(words.split("\r\n").every((line) => line.length <= 79));
    assert.match(
      words.replaceAll("\r\n   ", ""),
      /<joe@far.example> \(expanded from <info@near.example>\): host mx.far.example\[192.0.2.1\] said: 550/,
    );
  });

  it("tells programs about the message and the recipient (RFC 3464 §2)", () => {
    const { status, fields, recipients } = compose();
    assert.equal(status.headers.get("content-type"), "message/delivery-status");
    assert.deepEqual(Object.fromEntries(fields), {
      "reporting-mta": "dns; mail.example",
      "original-envelope-id": "env+1",
      "x-postfix-queue-id": "4Fq0000000zABCDEF",
      "x-postfix-sender": "rfc822; sender@x.example",
      "arrival-date": formatMailDate(failureInput.arrivalMs),
    });
    assert.deepEqual(Object.fromEntries(recipients[0] ?? []), {
      "final-recipient": "rfc822; joe@far.example",
      "original-recipient": "rfc822;Info@near.example",
      action: "failed",
      status: "5.1.1",
      "remote-mta": "dns; mx.far.example",
      "diagnostic-code": "smtp; 550 5.1.1 no such user",
    });
  });

  it("gives the address before rewriting where no ORCPT was given, as Postfix does", () => {
    const { orcpt: _, ...rewritten } = refused;
    const { original: __, ...plain } = rewritten;
    const { recipients } = compose(inputWith({ notice: { about: [rewritten, plain] } }));
    assert.equal(recipients[0]?.get("original-recipient"), "rfc822;info@near.example");
    assert.equal(recipients[1]?.get("original-recipient"), "rfc822;joe@far.example");
  });

  it("S12 D13 keeps the 4.x.x of the last deferral in an expiry report, with the action failed", () => {
    const deferred: StoredRecipient = {
      number: 1,
      address: "al@slow.example",
      state: {
        kind: "deferred",
        status: enhancedStatus("4.4.1"),
        reason: "connect to slow.example: timed out",
      },
    };
    const { recipients, words } = compose(
      inputWith({ notice: { kind: "expired", about: [deferred] } }),
    );
    assert.equal(recipients[0]?.get("status"), "4.4.1");
    assert.equal(recipients[0]?.get("action"), "failed");
    assert.equal(
      recipients[0]?.get("diagnostic-code"),
      "X-Postfix; connect to slow.example: timed out",
    );
    assert.equal(recipients[0]?.has("remote-mta"), false);
    assert.match(words, /too old/);
  });

  it("gives no retry time", () => {
    assert.equal(compose().recipients[0]?.has("will-retry-until"), false);
  });

  it("D33 lists every recipient that failed, each in a block of its own", () => {
    const about = [refused, { ...refused, number: 1, address: "al@far.example" }];
    const { recipients, words } = compose(inputWith({ notice: { about } }));
    assert.deepEqual(
      recipients.map((fields) => fields.get("final-recipient")),
      ["rfc822; joe@far.example", "rfc822; al@far.example"],
    );
    assert.match(words, /\r\n\r\n<joe@[^]*\r\n\r\n<al@/);
  });

  it("goes to the postmaster without words of introduction, under a subject of its own (D28)", () => {
    const from = "double-bounce@example";
    const { message, words, recipients } = compose(
      inputWith({ notice: { to: "postmaster", from, recipient: "postmaster@example" } }),
    );
    assert.equal(message.headers.get("subject"), "Postmaster copy: mail not delivered");
    assert.equal(message.headers.get("to"), "postmaster@example");
    assert.equal(message.headers.get("auto-submitted"), "auto-generated");
    assert.match(words, /^\r\n<joe@far\.example> /);
    assert.equal(recipients.length, 1);
  });

  it("D29 calls the null sender MAILER-DAEMON where an address is needed", () => {
    const { fields, returned } = compose(inputWith({ envelope: { sender: "", origin: "bounce" } }));
    assert.equal(fields.get("x-postfix-sender"), "rfc822; MAILER-DAEMON@example");
    assert.equal(readPart(returned.body).headers.get("return-path"), "<MAILER-DAEMON@example>");
  });

  it("refers to the original with enable_threaded_bounces, where that has a Message-ID", () => {
    const settings = { refersToOriginal: true };
    const { headers } = compose(inputWith({ settings })).message;
    assert.equal(headers.get("references"), "<one@x.example>");
    assert.equal(headers.get("in-reply-to"), "<one@x.example>");
    const bytes = Buffer.from("Message-ID: none\r\n\r\n");
    const without = compose(inputWith({ settings, returned: { kind: "whole", bytes } }));
    assert.equal(without.message.headers.has("references"), false);
    const gone = compose(inputWith({ settings, returned: { kind: "unavailable" } }));
    assert.equal(gone.message.headers.has("in-reply-to"), false);
  });
});

describe("composeReport of a delay", () => {
  it("S13 warns: still tried, nothing to do, and until when", () => {
    const { message, words, returned, recipients } = compose(delayInput);
    assert.equal(message.headers.get("subject"), "Delayed Mail (still being retried)");
    assert.equal(message.headers.get("to"), "sender@x.example");
    assert.equal(message.headers.get("auto-submitted"), "auto-replied");
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
      "will-retry-until": formatMailDate(failureInput.arrivalMs + 5 * 24 * hourMs),
    });
  });

  it("S13 tells times below the unit in a smaller one, not as 0 hours", () => {
    const words = (delayWarningMs: number, lifetimeMs: number) => {
      const templates = builtInTemplates({ myhostname: "h", delayWarningMs, lifetimeMs });
      return compose({ ...delayInput, settings: { ...delayInput.settings, templates } }).words;
    };
    assert.match(
      words(90_000, 5 * hourMs),
      /more than 1 minute\(s\)[^]* until it is 5 hour\(s\) old/,
    );
    assert.match(words(7 * hourMs + 1, 36 * hourMs), /more than 7 hour\(s\)[^]* is 1 day\(s\) old/);
    assert.match(words(5_000, 0), /more than 5 second\(s\)/);
  });
});

describe("composeReport of a success", () => {
  it("D31 says relayed, with the next hop's name, status and reply, and returns headers", () => {
    const { message, words, returned, recipients } = compose(successInput);
    assert.equal(message.headers.get("subject"), "Successful mail delivery report");
    assert.equal(message.headers.get("auto-submitted"), "auto-replied");
    assert.match(
      words.replaceAll("\r\n   ", ""),
      /delivery via mx\.far\.example\[192\.0\.2\.1\]:25: 250 2\.0\.0 Ok: queued as 12345\r\n$/,
    );
    assert.equal(returned.headers.get("content-type"), "text/rfc822-headers");
    assert.equal(returned.headers.get("content-description"), "Message Headers");
    assert.deepEqual(Object.fromEntries(recipients[0] ?? []), {
      "final-recipient": "rfc822; joe@far.example",
      "original-recipient": "rfc822;Info@near.example",
      action: "relayed",
      status: "2.0.0",
      "remote-mta": "dns; mx.far.example",
      "diagnostic-code": "smtp; 250 2.0.0 Ok: queued as 12345",
    });
  });

  it("D31 says delivered of a recipient whose next hop is the last one", () => {
    assert(relayed.state.kind === "sent");
    const delivered: StoredRecipient = {
      ...relayed,
      state: { ...relayed.state, action: "delivered" },
    };
    const notice = { ...successInput.notice, about: [delivered] };
    const { recipients } = compose({ ...successInput, notice });
    assert.equal(recipients[0]?.get("action"), "delivered");
  });
});

describe("what composeReport returns of the original", () => {
  it("is the original byte for byte under its Return-Path", () => {
    const { returned } = compose();
    assert.equal(returned.headers.get("content-type"), "message/rfc822");
    assert.equal(returned.headers.get("content-description"), "Undelivered Message");
    assert.deepEqual(
      returned.body,
      Buffer.concat([Buffer.from("Return-Path: <sender@x.example>\r\n"), original]),
    );
  });

  it("D32 is headers as text/rfc822-headers", () => {
    const bytes = Buffer.from("Subject: hello\r\n");
    const { returned, words } = compose(inputWith({ returned: { kind: "headers", bytes } }));
    assert.equal(returned.headers.get("content-type"), "text/rfc822-headers");
    assert.match(words, /headers are attached/);
  });

  it("is a placeholder when the content can't be read", () => {
    const { returned, words } = compose(inputWith({ returned: { kind: "unavailable" } }));
    assert.equal(returned.headers.get("content-type"), "text/plain; charset=us-ascii");
    assert.match(words, /can't be read/);
  });

  it("announces 8-bit content where it stands and above it", () => {
    const bytes = Buffer.from("Subject: x\r\n\r\nf\xfcr dich\r\n", "latin1");
    const { report, message, returned, status } = compose(
      inputWith({ returned: { kind: "whole", bytes } }),
    );
    assert.equal(report.has8Bit, true);
    assert.equal(message.headers.get("content-transfer-encoding"), "8bit");
    assert.equal(returned.headers.get("content-transfer-encoding"), "8bit");
    assert.equal(status.headers.has("content-transfer-encoding"), false);
    assert(returned.body.includes(bytes));
  });

  it("may hold the boundary: another is taken", () => {
    const taken = /boundary="([^"]+)"/.exec(compose().report.content.toString())?.[1] ?? "";
    const bytes = Buffer.from(`Subject: x\r\n\r\n--${taken}\r\n\r\n--${taken}--\r\n`);
    const { returned } = compose(inputWith({ returned: { kind: "whole", bytes } }));
    assert(returned.body.includes(bytes));
  });
});

describe("a report about odd addresses and replies", () => {
  it("speaks of internationalised addresses as RFC 6533 does, and only where there are such", () => {
    const about = [{ ...refused, address: "jürgen@far.example" }, refused];
    const envelope = { ...failureInput.envelope, smtputf8: true };
    const { report, status, returned, recipients, fields } = compose(
      inputWith({ envelope, notice: { about } }),
    );
    assert.equal(report.isUtf8, true);
    assert.equal(status.headers.get("content-type"), "message/global-delivery-status");
    assert.equal(status.headers.get("content-transfer-encoding"), "8bit");
    assert.equal(returned.headers.get("content-type"), "message/global");
    assert.equal(recipients[0]?.get("final-recipient"), "utf-8; jürgen@far.example");
    assert.equal(recipients[1]?.get("final-recipient"), "rfc822; joe@far.example");
    assert.equal(fields.get("x-postfix-sender"), "rfc822; sender@x.example");
    assert.equal(compose(inputWith({ envelope })).report.isUtf8, false);
  });

  it("writes such an address in ASCII where the message did not ask for SMTPUTF8 (RFC 6533 §3)", () => {
    const about = [{ ...refused, address: "jürgen@far.example", orcpt: "utf-8;jürgen@a.example" }];
    const { report, recipients } = compose(inputWith({ notice: { about } }));
    assert.equal(report.isUtf8, false);
    const [fields] = recipients;
    assert.equal(fields?.get("final-recipient"), String.raw`utf-8; j\x{FC}rgen@far.example`);
    assert.equal(fields?.get("original-recipient"), String.raw`utf-8;j\x{FC}rgen@a.example`);
  });

  it("returns headers of an internationalised message as message/global-headers", () => {
    const envelope = { ...failureInput.envelope, smtputf8: true };
    const bytes = Buffer.from("Subject: grüß\r\n");
    const { returned } = compose(inputWith({ envelope, returned: { kind: "headers", bytes } }));
    assert.equal(returned.headers.get("content-type"), "message/global-headers");
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
    const sender = "s\r\nCc: c@x.example";
    const { message, recipients, returned } = compose(
      inputWith({
        envelope: { ...failureInput.envelope, sender, envid: "e\r\nf: g" },
        notice: { about: [hostile], recipient: sender },
      }),
    );
    assert.equal(message.headers.has("cc"), false);
    assert.equal(recipients.length, 1);
    assert.equal(recipients[0]?.get("action"), "failed");
    assert.equal(recipients[0]?.get("status"), "5.0.0");
    assert.equal(readPart(returned.body).headers.get("return-path"), "<s??Cc: c@x.example>");
  });

  it("keeps blanks between quotes in an address, and its boundary short under a long host name", () => {
    const local = `"${"two  blanks ".repeat(10)}"`;
    const about = [{ ...refused, address: `${local}@far.example` }];
    const settings = { myhostname: `${"long-label.".repeat(20)}example` };
    const { recipients } = compose(inputWith({ notice: { about }, settings }));
    assert.equal(recipients[0]?.get("final-recipient"), `rfc822; ${local}@far.example`);
  });
});
