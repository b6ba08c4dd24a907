import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { enhancedStatus, makeQueueId } from "@postmq/vocabulary";
import type { Envelope, RecipientState } from "@postmq/vocabulary";
import type { RewritingParameters } from "@postmq/rewriting";
import { decide } from "./decide.ts";
import type { Decision } from "./decide.ts";

const id = makeQueueId(1_800_000_000_000_000, 9);
const parameters: RewritingParameters = {
  myhostname: "mx.example.com",
  myorigin: "example.com",
  mail_name: "postmq",
  hopcount_limit: 50,
  message_drop_headers: ["bcc"],
  empty_address_recipient: "MAILER-DAEMON",
  duplicate_filter_limit: 1000,
  header_size_limit: 102_400,
  message_size_limit: 10_000,
  undisclosed_recipients_header: "",
};

type Changes = {
  readonly envelope?: Partial<Envelope>;
  readonly recipients?: readonly (readonly [string, RecipientState])[];
};
const todo: RecipientState = { kind: "todo" };

function decideOn(content: string, changes: Changes = {}): Decision {
  const recipients = changes.recipients ?? [["bob@example.org", todo] as const];
  const opened = {
    id,
    generation: 1,
    arrivalMs: 1_800_000_000_000,
    envelope: { sender: "alice@example.net", origin: "sendmail", ...changes.envelope } as const,
    recipients: recipients.map(([address, state], number) => ({ address, state, number })),
    content: { contentId: id, sizeBytes: content.length, chunks: 1 },
  };
  return decide(opened, Buffer.from(content), parameters);
}

function released(
  content: string,
  changes?: Changes,
): Extract<Decision, { action: "release" }> & { readonly text: string } {
  const decision = decideOn(content, changes);
  assert.ok(decision.action === "release");
  return { ...decision, text: Buffer.concat(decision.content).toString() };
}

const hops = (count: number) => "Received: from a by b; now\r\n".repeat(count);
const tooManyHops = { status: "5.4.0", reason: "too many hops" };

describe("decide", () => {
  it("releases a message with its head rewritten and its recipients without number and state", () => {
    const decision = released("Subject: x\r\n\r\nbody\r\n", { recipients: [["bob", todo]] });
    assert.match(
      decision.text,
      /^Received: [^]*\r\nSubject: x\r\nMessage-Id: [^]*\r\n\r\nbody\r\n$/,
    );
    assert.deepEqual(decision.recipients, [{ address: "bob@example.com", original: "bob" }]);
    assert.equal(decision.messageId, `<${id}@mx.example.com>`);
  });

  it("R19, D19 lets no bare CR or LF pass, and ends the content with a line end", () => {
    const { text } = released("Subject: x\n\nbo\rdy");
    assert.doesNotMatch(text, /\r(?!\n)|(?<!\r)\n/);
    assert.ok(text.endsWith("\r\n\r\nbo dy\r\n"));
  });

  it("R18 lets every recipient of a refused message fail, so that its sender gets a report; the content stays", () => {
    const decision = released(`${hops(60)}\r\nbody\r\n`, {
      envelope: { sender: "root" },
      recipients: [
        ["a@b", todo],
        ["c", todo],
      ],
    });
    assert.equal(decision.envelope.sender, "root@example.com");
    assert.deepEqual(decision.recipients, [
      { address: "a@b", failed: tooManyHops },
      { address: "c@example.com", original: "c", failed: tooManyHops },
    ]);
    assert.equal(decision.text, `${hops(60)}\r\nbody\r\n`);
    assert.equal(decision.refusal?.smtpCode, 554);
  });

  it("R18 refuses recipients that were found in the headers as well", () => {
    const decision = released(`To: a@b\r\n${hops(60)}\r\n`, {
      envelope: { extractRecipients: true },
      recipients: [],
    });
    assert.deepEqual(decision.recipients, [{ address: "a@b", failed: tooManyHops }]);
  });

  it("refuses a message over message_size_limit", () => {
    assert.equal(released("x".repeat(20_000)).refusal?.status, "5.3.4");
  });

  it("discards a message for nobody (Q7)", () => {
    const nobody = decideOn("Subject: x\r\n\r\n", {
      envelope: { extractRecipients: true },
      recipients: [],
    });
    assert.equal(nobody.action, "discard");
    assert.equal(decideOn("", { recipients: [["a@b", { kind: "done" }]] }).action, "discard");
  });

  it("keeps unfinished recipients only, and a failure that is not yet reported", () => {
    const failed = { status: enhancedStatus("5.1.1"), reason: "no such user" };
    const { recipients } = released("", {
      recipients: [
        ["a@b", { kind: "done" }],
        ["c@d", { kind: "deferred", status: enhancedStatus("4.1.1"), reason: "later" }],
        ["e@f", { kind: "failed", ...failed }],
      ],
    });
    assert.deepEqual(recipients, [{ address: "c@d" }, { address: "e@f", failed }]);
  });

  it("R5 adds no headers to mail that came by SMTP", () => {
    const { text } = released("Subject: x\r\n\r\n", { envelope: { origin: "smtp" } });
    assert.doesNotMatch(text, /^(?:Message-Id|Date|From):/m);
  });

  it("A4 cleans a requeued message for those with work left; those of which a report is owed go on as they are", () => {
    const told = { status: enhancedStatus("5.1.1"), reason: "no such user" };
    const decision = released("Subject: x\r\n\r\nbody\r\n", {
      envelope: { contentFilter: "filter:[127.0.0.1]:10025" },
      recipients: [
        ["failed", { kind: "failed", ...told }],
        ["sent", { kind: "sent", action: "relayed", ...told }],
        ["done", { kind: "done" }],
        ["deferred", { kind: "deferred", ...told }],
        ["todo", todo],
      ],
    });
    assert.deepEqual(decision.recipients, [
      { address: "deferred@example.com", original: "deferred" },
      { address: "todo@example.com", original: "todo" },
      { address: "failed", failed: told },
      { address: "sent", sent: { action: "relayed", ...told } },
    ]);
    assert.equal(decision.envelope.contentFilter, undefined);
  });

  it("A4 releases one that only owes reports, and discards one that owes nothing", () => {
    const told = { status: enhancedStatus("5.1.1"), reason: "no such user" };
    const content = "Subject: x\r\n\r\nbody\r\n";
    const owing = released(content, { recipients: [["failed", { kind: "failed", ...told }]] });
    assert.deepEqual(owing.recipients, [{ address: "failed", failed: told }]);
    assert.equal(owing.text, content);
    const finished = decideOn(content, { recipients: [["done", { kind: "done" }]] });
    assert.equal(finished.action, "discard");
  });
});
