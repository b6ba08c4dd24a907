import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatMailDate } from "@postmq/mail-format";
import { makeQueueId, parseQueueId } from "@postmq/vocabulary";
import type { Envelope, Recipient } from "@postmq/vocabulary";
import type {
  CleanedMessage,
  CleaningInput,
  RefusedMessage,
  RewritingParameters,
} from "./cleaning.ts";
import { cleanUp } from "./clean-up.ts";

const arrivalMs = Date.UTC(2026, 10, 21, 17, 12, 24);
const id = makeQueueId(arrivalMs * 1000, 42);
const parameters: RewritingParameters = {
  myhostname: "mx.example.com",
  myorigin: "example.com",
  mail_name: "postmq",
  hopcount_limit: 50,
  message_drop_headers: ["bcc", "content-length", "resent-bcc", "return-path"],
  empty_address_recipient: "MAILER-DAEMON",
  duplicate_filter_limit: 1000,
  header_size_limit: 102_400,
  message_size_limit: 10_240_000,
  undisclosed_recipients_header: "",
};
const complete = "From: a@b\r\nTo: c@d\r\nDate: today\r\nMessage-Id: <x@y>\r\n\r\nbody\r\n";

type Changes = {
  readonly envelope?: Partial<Envelope>;
  readonly recipients?: readonly Recipient[];
  readonly parameters?: Partial<RewritingParameters>;
  readonly input?: Partial<CleaningInput>;
};

function clean(content: string, changes: Changes = {}): CleanedMessage | RefusedMessage {
  return cleanUp({
    content: Buffer.from(content),
    envelope: { sender: "alice@example.net", origin: "sendmail", ...changes.envelope },
    recipients: changes.recipients ?? [{ address: "bob@example.org" }],
    id,
    arrivalMs,
    context: "local",
    parameters: { ...parameters, ...changes.parameters },
    ...changes.input,
  });
}

function cleaned(
  content: string,
  changes: Changes = {},
): CleanedMessage & { readonly text: string } {
  const result = clean(content, changes);
  assert.equal(result.kind, "cleaned");
  assert.ok(result.kind === "cleaned");
  return {
    ...result,
    text: result.head.toString() + Buffer.from(content).subarray(result.bodyOffset).toString(),
  };
}

function refused(content: string, changes: Changes = {}): RefusedMessage {
  const result = clean(content, changes);
  assert.ok(result.kind === "refused", "not refused");
  return result;
}

/** Without our own Received header, which is two or three lines long. */
function withoutTrace(text: string): string {
  return text.replace(/^Received: [^\r]*\r\n(?:\t[^\r]*\r\n)+/, "");
}

describe("completion of addresses (R1, R2, R3)", () => {
  it("R1 appends myorigin to a sender and a recipient without a domain, and keeps the original", () => {
    const { envelope, recipients } = cleaned(complete, {
      envelope: { sender: "root" },
      recipients: [{ address: "bob" }, { address: "x@y" }],
    });
    assert.equal(envelope.sender, "root@example.com");
    assert.deepEqual(recipients, [
      { address: "bob@example.com", original: "bob" },
      { address: "x@y" },
    ]);
  });

  it("R1 is not misled by an @ in a quoted local part", () => {
    const { recipients } = cleaned(complete, { recipients: [{ address: '"a@b"' }] });
    assert.equal(recipients[0]?.address, '"a@b"@example.com');
  });

  it("R2 makes MAILER-DAEMON at myorigin the null sender", () => {
    for (const sender of ["MAILER-DAEMON", "mailer-daemon@EXAMPLE.com", ""]) {
      assert.equal(cleaned(complete, { envelope: { sender } }).envelope.sender, "");
    }
    const elsewhere = { sender: "MAILER-DAEMON@example.org" };
    assert.equal(cleaned(complete, { envelope: elsewhere }).envelope.sender, elsewhere.sender);
  });

  it("R3 sends mail for the empty recipient to empty_address_recipient", () => {
    const { recipients } = cleaned(complete, { recipients: [{ address: "" }] });
    assert.deepEqual(recipients, [{ address: "MAILER-DAEMON@example.com", original: "" }]);
  });
});

describe("drop list (R4)", () => {
  it("R4 removes the headers of message_drop_headers in any case, continuation lines too, and no others", () => {
    const { text } = cleaned(
      `BCC: hidden@example.com,\r\n more@example.com\r\nReturn-Path: <x@y>\r\nContent-Length: 5\r\nBccx: 1\r\n${complete}`,
    );
    assert.equal(withoutTrace(text), `Bccx: 1\r\n${complete}`);
  });

  it("R4 counts a dropped header as present", () => {
    const { text, messageId } = cleaned("Message-Id: <x@y>\r\nFrom: a@b\r\nDate: today\r\n\r\n", {
      parameters: { message_drop_headers: ["Message-ID"] },
    });
    assert.equal(withoutTrace(text), "From: a@b\r\nDate: today\r\n\r\n");
    assert.equal(messageId, "<x@y>");
  });
});

describe("missing headers (R5, R6)", () => {
  it("R6 adds Message-Id, Date (arrival time) and From (sender) after the headers", () => {
    const { text, messageId } = cleaned("Subject: x\r\n\r\nbody\r\n");
    assert.equal(
      withoutTrace(text),
      `Subject: x\r\nMessage-Id: <${id}@mx.example.com>\r\nDate: ${formatMailDate(arrivalMs)}\r\n` +
        "From: alice@example.net\r\n\r\nbody\r\n",
    );
    assert.equal(messageId, `<${id}@mx.example.com>`);
  });

  it("R6 adds nothing that is there", () => {
    const { text, messageId } = cleaned(complete);
    assert.equal(withoutTrace(text), complete);
    assert.equal(messageId, "<x@y>");
  });

  it("R6 adds the Resent- variants if any Resent- header is present", () => {
    const { text, messageId } = cleaned("Resent-To: c@d\r\nMessage-Id: <x@y>\r\n\r\n");
    const added = withoutTrace(text).match(/^(?:Resent-)?(?:Message-Id|Date|From)/gm);
    assert.deepEqual(added, ["Message-Id", "Resent-Message-Id", "Resent-Date", "Resent-From"]);
    assert.equal(messageId, "<x@y>");
  });

  it("R6 puts the full name in front, quoted or encoded where it must be", () => {
    const from = (fullName: string) =>
      /^From: (.*(?:\r\n .*)*)\r\n/m.exec(cleaned("", { envelope: { fullName } }).text)?.[1];
    assert.equal(from("Alice Liddell"), "Alice Liddell <alice@example.net>");
    assert.equal(from('Liddell, "Al"'), String.raw`"Liddell, \"Al\"" <alice@example.net>`);
    assert.equal(
      from("J\u00F6rg"),
      `=?UTF-8?B?${Buffer.from("J\u00F6rg").toString("base64")}?= <alice@example.net>`,
    );
    assert.equal(from("a\r\nBcc: victim@x"), '"a Bcc: victim@x" <alice@example.net>');
    assert.ok(
      from("\u00FC".repeat(100))
        ?.split("\r\n")
        .every((line) => line.length <= 100),
    );
  });

  it("R6 names MAILER-DAEMON for the null sender", () => {
    assert.match(
      cleaned("", { envelope: { sender: "" } }).text,
      /^From: MAILER-DAEMON@example\.com\r$/m,
    );
  });

  it("R6 adds undisclosed_recipients_header only if it is set and neither To nor Cc is there", () => {
    const header = "To: undisclosed-recipients:;";
    const set = { parameters: { undisclosed_recipients_header: header } };
    assert.ok(cleaned("Subject: x\r\n\r\n", set).text.includes(`\r\n${header}\r\n`));
    assert.ok(!cleaned("Cc: a@b\r\n\r\n", set).text.includes(header));
    assert.ok(!cleaned("Subject: x\r\n\r\n").text.includes("To:"));
  });

  it("R5 leaves mail of remote context as it is", () => {
    const { text, messageId } = cleaned("Subject: x\r\n\r\n", { input: { context: "remote" } });
    assert.equal(withoutTrace(text), "Subject: x\r\n\r\n");
    assert.equal(messageId, "<>");
  });

  it("gives a short queue id a Message-Id with the time in front (queues.md §6)", () => {
    const short = parseQueueId("4F9D195432C");
    assert.ok(short !== undefined);
    const { messageId } = cleaned("", { input: { id: short } });
    assert.equal(messageId, "<20261121171224.4F9D195432C@mx.example.com>");
  });
});

describe("Received (V9)", () => {
  const client = { name: "h.example.net", address: "192.0.2.9", helo: "h", protocol: "HTTP" };

  it("V9 is on top and names the only recipient as it was given", () => {
    const { text } = cleaned(complete, { envelope: { client }, recipients: [{ address: "bob" }] });
    assert.ok(text.startsWith("Received: from h (h.example.net [192.0.2.9])\r\n"));
    assert.ok(text.includes(`\tby mx.example.com (postmq) with HTTP id ${id}\r\n\tfor <bob>; `));
  });

  it("V9 names no recipient when there are more, those of -t included", () => {
    const several = { recipients: [{ address: "a@b" }, { address: "c@d" }], envelope: { client } };
    assert.doesNotMatch(cleaned(complete, several).text, /for </);
    const extracting = { envelope: { client, extractRecipients: true } };
    assert.doesNotMatch(cleaned(complete, extracting).text, /for </);
  });

  it("names the user id of a local submission", () => {
    const local = { name: "", address: "", protocol: "", uid: 1000 };
    const { text } = cleaned(complete, { envelope: { client: local } });
    assert.ok(text.startsWith("Received: by mx.example.com (postmq, from userid 1000)\r\n"));
  });
});

describe("hop limit", () => {
  const hops = (count: number) => "Received: from a by b; now\r\n".repeat(count) + complete;

  it("refuses a message with 554 5.4.0 whose Received headers, ours included, reach hopcount_limit", () => {
    cleaned(hops(48));
    const { smtpCode, status, text } = refused(hops(49));
    assert.deepEqual([smtpCode, status, text], [554, "5.4.0", "too many hops"]);
    refused(hops(1000));
  });

  it("hands back the envelope, so that the sender gets a report", () => {
    const { envelope, recipients } = refused(hops(60), {
      envelope: { sender: "root" },
      recipients: [{ address: "bob" }],
    });
    assert.equal(envelope.sender, "root@example.com");
    assert.deepEqual(recipients, [{ address: "bob@example.com", original: "bob" }]);
  });
});

describe("recipients from the headers (sendmail -t)", () => {
  const extracting = { envelope: { extractRecipients: true }, recipients: [] };

  it("takes To, Cc and Bcc, adds them to those given, and removes Bcc", () => {
    const { text, recipients, envelope } = cleaned(
      'To: a@b, "C, D" <c@d>\r\nCC: root\r\nBcc: e@f,\r\n g@h\r\nFrom: x@y\r\n\r\n',
      { envelope: { extractRecipients: true }, recipients: [{ address: "given@example.org" }] },
    );
    assert.deepEqual(
      recipients.map(({ address }) => address),
      ["given@example.org", "a@b", "c@d", "root@example.com", "e@f", "g@h"],
    );
    assert.equal(envelope.extractRecipients, undefined);
    assert.doesNotMatch(text, /e@f|g@h/);
  });

  it("gives those it finds the NOTIFY that -N named", () => {
    const { recipients, envelope } = cleaned("To: a@b\r\n\r\n", {
      envelope: { extractRecipients: true, extractedNotify: ["NEVER"] },
      recipients: [],
    });
    assert.deepEqual(recipients, [{ address: "a@b", notify: ["NEVER"] }]);
    assert.equal(envelope.extractedNotify, undefined);
  });

  it("takes the Resent- variants alone if any Resent- header is present", () => {
    const { recipients } = cleaned(
      "To: a@b\r\nResent-To: c@d\r\nResent-Bcc: e@f\r\n\r\n",
      extracting,
    );
    assert.deepEqual(
      recipients.map(({ address }) => address),
      ["c@d", "e@f"],
    );
  });

  it("lets a malformed address fail, and the rest go", () => {
    const { recipients } = cleaned("To: a@b@c, d@e\r\n\r\n", extracting);
    assert.deepEqual(recipients, [
      { address: "a@b@c", failed: { status: "5.1.3", reason: "bad address syntax" } },
      { address: "d@e" },
    ]);
  });

  it("leaves the headers alone when it is not asked for", () => {
    assert.deepEqual(cleaned(complete).recipients, [{ address: "bob@example.org" }]);
  });

  it("refuses a message without recipients with 550 5.1.0", () => {
    const { smtpCode, status } = refused("Subject: x\r\n\r\n", extracting);
    assert.deepEqual([smtpCode, status], [550, "5.1.0"]);
  });
});

describe("duplicate filter (R15)", () => {
  const addresses = (recipients: readonly Recipient[], limit = 1000) =>
    cleaned(complete, { recipients, parameters: { duplicate_filter_limit: limit } }).recipients
      .length;

  it("R15 removes a second recipient of the same address, whatever its case", () => {
    assert.equal(addresses([{ address: "a@b" }, { address: "A@B" }]), 1);
  });

  it("R15 keeps recipients that differ in original address, ORCPT or NOTIFY", () => {
    const address = "bob@example.com";
    assert.equal(addresses([{ address }, { address: "bob" }]), 2);
    assert.equal(addresses([{ address }, { address, orcpt: "rfc822;x@y" }]), 2);
    assert.equal(addresses([{ address }, { address, notify: ["NEVER"] }]), 2);
    assert.equal(
      addresses([
        { address, notify: ["DELAY", "FAILURE"] },
        { address, notify: ["FAILURE", "DELAY"] },
      ]),
      1,
    );
  });

  it("R15 lets duplicates pass beyond duplicate_filter_limit; 0 is no limit", () => {
    const recipients = ["a@b", "c@d", "c@d", "a@b"].map((address) => ({ address }));
    assert.equal(addresses(recipients, 1), 3);
    assert.equal(addresses(recipients, 0), 2);
  });
});

describe("limits", () => {
  it("cuts a header at header_size_limit", () => {
    const { text } = cleaned(`X-Long: ${"y".repeat(200)}\r\n more\r\n${complete}`, {
      parameters: { header_size_limit: 100 },
    });
    assert.equal(withoutTrace(text), `X-Long: ${"y".repeat(92)}\r\n${complete}`);
  });

  it("refuses headers of more than 1 MB with 552 5.3.4 (security 5)", () => {
    const { smtpCode, status } = refused(`${"X: y\r\n".repeat(200_000)}\r\n`);
    assert.deepEqual([smtpCode, status], [552, "5.3.4"]);
  });

  it("refuses a message over message_size_limit with 552 5.3.4; 0 is no limit", () => {
    const over = { input: { sizeBytes: 10_240_001 } };
    const { smtpCode, status } = refused(complete, over);
    assert.deepEqual([smtpCode, status], [552, "5.3.4"]);
    cleaned(complete, { ...over, parameters: { message_size_limit: 0 } });
  });
});

describe("cleanUp", () => {
  it("leaves the body as it is, whatever it is, and parts it from the headers", () => {
    const line = fc.constantFrom(
      "",
      ".",
      "..",
      "To: x",
      "\u00FC",
      "\0",
      "Bcc: in the body",
      " x",
      "From me",
    );
    const lines = (max: number) =>
      fc.array(line, { maxLength: max }).map((list) => list.map((text) => `${text}\r\n`).join(""));
    fc.assert(
      fc.property(lines(8), (body) => {
        assert.equal(withoutTrace(cleaned(`${complete}${body}`).text), `${complete}${body}`);
        const { head } = cleaned(`no header\r\n${body}`);
        assert.ok(head.toString().endsWith("\r\n\r\n"));
      }),
    );
  });

  it("adds no body to a message that has none", () => {
    assert.ok(cleaned("Subject: x\r\n").text.endsWith("From: alice@example.net\r\n"));
    assert.ok(cleaned("").text.endsWith("From: alice@example.net\r\n"));
  });

  it("keeps the From line of a mailbox file as X-Mailbox-Line", () => {
    const { text } = cleaned(`From bob Sat Nov 21 18:12:24 2026\r\n${complete}`);
    assert.equal(
      withoutTrace(text),
      `X-Mailbox-Line: From bob Sat Nov 21 18:12:24 2026\r\n${complete}`,
    );
  });

  it("gives the same for the front of a message as for all of it", () => {
    const whole = complete + "x".repeat(10_000);
    const front = cleaned(whole.slice(0, complete.length));
    assert.ok(front.head.equals(cleaned(whole).head));
    assert.equal(front.bodyOffset, cleaned(whole).bodyOffset);
  });
});
