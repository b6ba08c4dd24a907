import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FieldErrors } from "./field-errors.ts";
import { parseJsonSubmission, parseQueryEnvelope } from "./submission.ts";
import type { JsonSubmission } from "./submission.ts";

const raw = Buffer.from("Subject: x\r\n\r\nx\r\n").toString("base64");
const good = { mail_from: "a@src.example", rcpt_to: ["b@dest.example"], raw };

const rules = { maxRecipients: 3, verp: { delimiters: "+=", allowed: "-=+" } };

function parse(body: unknown): JsonSubmission {
  const errors = new FieldErrors();
  const submission = parseJsonSubmission(body, { ...rules, errors });
  assert.ok(submission, JSON.stringify(errors.all));
  return submission;
}

/** The fields that are named as wrong. */
function wrong(body: unknown): readonly string[] {
  const errors = new FieldErrors();
  assert.equal(parseJsonSubmission(body, { ...rules, errors }), undefined);
  return errors.all.map(({ field }) => field);
}

describe("a JSON submission", () => {
  it("takes envelope and raw message", () => {
    assert.deepEqual(parse({ ...good, rcpt_to: ["<b@dest.example>", '"c d"@dest.example'] }), {
      envelope: {
        sender: "a@src.example",
        recipients: [{ address: "b@dest.example" }, { address: '"c d"@dest.example' }],
      },
      message: { kind: "raw", raw: Buffer.from("Subject: x\r\n\r\nx\r\n") },
    });
  });

  it("takes the null sender as an empty string or <>, but no missing one", () => {
    assert.equal(parse({ ...good, mail_from: "" }).envelope.sender, "");
    assert.equal(parse({ ...good, mail_from: "<>" }).envelope.sender, "");
    assert.deepEqual(wrong({ rcpt_to: good.rcpt_to, raw }), ["mail_from"]);
  });

  it("takes dsn into envelope and recipients", () => {
    const dsn = { notify: ["failure", "DELAY"], ret: "HDRS", envid: "E1" };
    const { envelope } = parse({ ...good, dsn });
    assert.deepEqual(envelope.recipients[0]?.notify, ["FAILURE", "DELAY"]);
    assert.deepEqual([envelope.ret, envelope.envid], ["HDRS", "E1"]);
    const bad = { notify: ["NEVER", "DELAY"], ret: "x", envid: "a\r\nb", more: 1 };
    const fields = wrong({ ...good, dsn: bad });
    assert.deepEqual(fields, ["dsn.more", "dsn.notify", "dsn.ret", "dsn.envid"]);
  });

  it("D33 takes verp: true for the default delimiters, or others that are allowed", () => {
    const delimiters = (verp: unknown) => parse({ ...good, verp }).envelope.verpDelimiters;
    assert.deepEqual([true, "-=", false].map(delimiters), ["+=", "-=", undefined]);
    for (const verp of ["", "+", "+#", "+=-", 1, ["+="]]) {
      assert.deepEqual(wrong({ ...good, verp }), ["verp"]);
    }
    assert.deepEqual(wrong({ ...good, mail_from: "", verp: true }), ["verp"]);
  });

  it("marks addresses outside ASCII", () => {
    assert.equal(parse({ ...good, rcpt_to: ["ü@dest.example"] }).envelope.smtputf8, true);
    assert.equal(parse(good).envelope.smtputf8, undefined);
  });

  it("P8: tells everything that is wrong at once, each with its field", () => {
    const fields = wrong({ mail_from: 1, rcpt_to: ["x", "b@dest.example", "a@b@c"], raw: "%" });
    assert.deepEqual(fields, ["mail_from", "rcpt_to[0]", "rcpt_to[2]", "raw"]);
  });

  it("refuses no recipients, and more than submission_recipient_limit", () => {
    assert.deepEqual(wrong({ ...good, rcpt_to: [] }), ["rcpt_to"]);
    assert.deepEqual(wrong({ mail_from: "", raw }), ["rcpt_to"]);
    const many = Array.from({ length: 4 }, (_, i) => `r${i}@dest.example`);
    assert.deepEqual(wrong({ ...good, rcpt_to: many }), ["rcpt_to"]);
  });

  it("refuses what is not there yet and what is not known, instead of ignoring it", () => {
    const later = { tenant: "t", deliver_at: 1, priority: 1, hold: true, require_tls: true };
    assert.deepEqual(wrong({ ...good, ...later, frobnicate: 1 }), [
      ...Object.keys(later),
      "frobnicate",
    ]);
  });

  it("8: refuses members that would reach a prototype", () => {
    assert.deepEqual(
      wrong(JSON.parse(`{"__proto__":{},"mail_from":"","rcpt_to":["a@b.c"],"raw":"${raw}"}`)),
      ["__proto__"],
    );
    assert.deepEqual(wrong({ ...good, constructor: {} }), ["constructor"]);
  });

  it("3: refuses line breaks, NUL and unpaired surrogates in addresses", () => {
    const bad = [
      "a@b.example\r\nRCPT TO:<v@x.example>",
      "a\u0000@b.example",
      "a\u2028@b.c",
      "\uD800@b.c",
    ];
    for (const address of bad) {
      assert.deepEqual(wrong({ ...good, mail_from: address }), ["mail_from"]);
      assert.deepEqual(wrong({ ...good, rcpt_to: [address] }), ["rcpt_to[0]"]);
    }
  });

  it("wants exactly one of raw and content", () => {
    assert.deepEqual(wrong({ mail_from: "", rcpt_to: good.rcpt_to }), ["raw"]);
    assert.deepEqual(wrong({ ...good, content: { text: "x" } }), ["raw"]);
    assert.deepEqual(wrong({ ...good, raw: "" }), ["raw"]);
  });

  it("refuses what is no object", () => {
    for (const body of [undefined, null, [], "x", 1]) assert.deepEqual(wrong(body), ["body"]);
  });
});

describe("the content of a JSON submission", () => {
  const content = (parts: object) => ({
    mail_from: "",
    rcpt_to: ["b@dest.example"],
    content: parts,
  });

  it("takes addresses with names, single or in a list", () => {
    const { message } = parse(
      content({ from: "A <a@b.example>", to: "b@c.example", cc: ["C <c@d.example>"], text: "x" }),
    );
    assert.ok(message.kind === "content");
    assert.deepEqual(message.content.to, ["b@c.example"]);
    assert.deepEqual(message.content.cc, ["C <c@d.example>"]);
  });

  it("3: refuses header names and values that could end a header", () => {
    const headers = {
      "X-A\r\nBcc": "x",
      "X B": "y",
      "X-C": "a\r\nBcc: v@x.example",
      "X-D": ["\u0000"],
    };
    assert.deepEqual(wrong(content({ text: "x", headers })), [
      "content.headers",
      "content.headers",
      "content.headers.X-C",
      "content.headers.X-D",
    ]);
    assert.deepEqual(wrong(content({ text: "x", subject: "a\nb" })), ["content.subject"]);
    assert.deepEqual(wrong(content({ text: "x", to: "a@b.c\r\nX: y" })), ["content.to"]);
  });

  it("refuses headers that it makes itself", () => {
    const headers = { "Content-Type": "x", bcc: "y@z.example", "X-Fine": "z" };
    assert.deepEqual(wrong(content({ text: "x", headers })), [
      "content.headers.Content-Type",
      "content.headers.bcc",
    ]);
  });

  it("refuses attachments that name a file or a URL instead of holding their content", () => {
    const attachments = [
      { filename: "a", path: "/etc/passwd" },
      { filename: "a\r\nX: y", content: "" },
    ];
    assert.deepEqual(wrong(content({ attachments })), [
      "content.attachments[0].path",
      "content.attachments[0].content",
      "content.attachments[1].filename",
    ]);
  });

  it("refuses content without any text or attachment", () => {
    assert.deepEqual(wrong(content({ subject: "x" })), ["content"]);
  });
});

describe("the envelope in a query", () => {
  const parseQuery = (query: unknown) => {
    const errors = new FieldErrors();
    const envelope = parseQueryEnvelope(query, { ...rules, errors });
    return envelope ?? errors.all.map(({ field }) => field);
  };

  it("takes one recipient or several", () => {
    assert.deepEqual(parseQuery({ mail_from: "", rcpt_to: "a@b.example" }), {
      sender: "",
      recipients: [{ address: "a@b.example" }],
    });
    const rcpt_to = ["a@b.example", "c@d.example"];
    assert.deepEqual(parseQuery({ mail_from: "x@y.example", rcpt_to }), {
      sender: "x@y.example",
      recipients: [{ address: "a@b.example" }, { address: "c@d.example" }],
    });
  });

  it("D33 takes verp as text", () => {
    const query = { mail_from: "x@y.example", rcpt_to: "a@b.example" };
    const recipients = [{ address: "a@b.example" }];
    const taken = { sender: "x@y.example", recipients };
    assert.deepEqual(parseQuery({ ...query, verp: "true" }), { ...taken, verpDelimiters: "+=" });
    assert.deepEqual(parseQuery({ ...query, verp: "-=" }), { ...taken, verpDelimiters: "-=" });
  });

  it("refuses a missing sender, missing recipients and anything else", () => {
    assert.deepEqual(parseQuery({ hold: "true", x: "y" }), ["hold", "x", "mail_from", "rcpt_to"]);
    assert.deepEqual(parseQuery({ mail_from: ["a@b.c", "d@e.f"], rcpt_to: "a@b.c" }), [
      "mail_from",
    ]);
  });
});
