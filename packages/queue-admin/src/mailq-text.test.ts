import assert from "node:assert/strict";
import { before, describe, it } from "node:test";

import type { ListedMessage } from "@postmq/queue-store";

import { mailqText } from "./mailq-text.ts";
import { listedMessage, messagesOfMailq, recordedCommands } from "./samples.test-support.ts";

async function listing(messages: readonly ListedMessage[]): Promise<string> {
  async function* source() {
    yield* messages;
  }
  return (await Array.fromAsync(mailqText(source(), "MAILER-DAEMON"))).join("");
}

async function assertReproduced(file: string, command: string): Promise<void> {
  const recorded = recordedCommands(file).find((entry) => entry.command === command);
  assert.ok(recorded, `${command} is in ${file}`);
  const expected = recorded.output.replace(/^postqueue: warning:.*\n/, "");
  assert.equal(await listing(messagesOfMailq(recorded.output)), expected);
}

const one = {
  id: "4jX2VV0nvnzM155",
  queue: "deferred" as const,
  arrivalMs: Date.UTC(2026, 10, 1, 7, 5, 9),
  sizeBytes: 1500,
  sender: "alice@example.com",
  recipients: [{ address: "bob@example.net" }],
};

describe("mailq", () => {
  before(() => {
    process.env["TZ"] = "UTC";
  });

  it("prints what Postfix printed for active, deferred and held mail", () =>
    assertReproduced("long/postqueue-p.txt", "postqueue -p"));

  it("prints what Postfix printed when all mail is on hold", () =>
    assertReproduced("long/postqueue-p-hold.txt", "postqueue -p"));

  it("prints what Postfix printed about mail of many days", () =>
    assertReproduced("long/postqueue-p-stopped.txt", "postqueue -p"));

  it("marks mail that is to expire as Postfix does", async () => {
    const [recorded] = recordedCommands("long/postqueue-p-expired.txt");
    assert.ok(recorded);
    const printed = await listing(messagesOfMailq(recorded.output));
    assert.ok(printed.includes(recorded.output));
  });

  it("says so in one line when the queue is empty", async () => {
    const [recorded] = recordedCommands("long/mailq-empty.txt");
    assert.equal(await listing([]), recorded?.output);
  });

  it("says Request for one message and cuts the sum down to whole Kbytes", async () => {
    assert.match(await listing([listedMessage(one)]), /^-- 1 Kbytes in 1 Request\.$/m);
    assert.match(
      await listing([listedMessage(one), listedMessage(one)]),
      /^-- 2 Kbytes in 2 Requests\.$/m,
    );
  });

  it("shows deferred recipients first and repeats none that has a reason", async () => {
    const text = await listing([
      listedMessage({
        ...one,
        recipients: [
          { address: "new@example.net" },
          { address: "late@example.net", reason: "busy" },
          { address: "late@example.net" },
        ],
      }),
    ]);
    assert.deepEqual(text.match(/\S+@example\.net/g), ["late@example.net", "new@example.net"]);
  });

  it("says that a reason is unavailable after a recipient that has one", async () => {
    const text = await listing([
      listedMessage({
        ...one,
        recipients: [
          { address: "late@example.net", reason: "busy" },
          { address: "new@example.net" },
        ],
      }),
    ]);
    assert.match(text, /^ {58}\(reason unavailable\)\n {47}new@example\.net$/m);
  });

  it("never shows recipients that are done or have failed", async () => {
    const message = listedMessage(one);
    const done = message.recipients.map((recipient) => ({
      ...recipient,
      state: { kind: "done" as const },
    }));
    assert.ok(!(await listing([{ ...message, recipients: done }])).includes("bob@"));
  });

  it("prints ? for what could drive a terminal", async () => {
    const text = await listing([
      listedMessage({
        ...one,
        recipients: [{ address: "a@b.c", reason: "said \u001B[2J\r\n\u0085\uD800" }],
      }),
    ]);
    assert.ok(text.includes("(said ?[2J????)"));
  });

  it("quotes addresses that need it", async () => {
    const text = await listing([
      listedMessage({ ...one, recipients: [{ address: '"a b"@example.net' }] }),
    ]);
    assert.ok(text.includes(' "a b"@example.net\n'));
  });
});
