/** What happens to mail that is not taken at once: it waits, is tried again, or goes back to its sender. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import {
  FakeSmtpServer,
  readReport,
  sendMail,
  startPostmq,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

/** What `postmq events` tells of a message, by kind. */
async function happened(system: PostmqSystem, id: string): Promise<readonly string[]> {
  const { stdout } = await system.command("postmq", ["events", id]);
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "");
}

describe("mail that is not taken at once", () => {
  let sink: FakeSmtpServer;
  let system: PostmqSystem;
  /** Recipients that the sink refuses for now. */
  const deferring = new Set<string>();

  before(async () => {
    sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) => {
        if (stage !== "rcpt") return undefined;
        if (recipient.startsWith("nobody")) return { reply: "550 5.1.1 <nobody> unknown here" };
        if (deferring.has(recipient)) return { reply: "450 4.2.1 mailbox is busy" };
        return undefined;
      },
    });
    system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
        queue_run_delay: "1s",
      },
    });
  });

  after(async () => {
    await system[Symbol.asyncDispose]();
    await sink[Symbol.asyncDispose]();
  });

  it("S5 is shown by mailq with its reason in Postfix's place, tried again, and delivered", async () => {
    const recipient = "later@dest.example.com";
    deferring.add(recipient);
    const mail = testMail({ to: [recipient] });
    const reply = await sendMail(system.smtpPort, mail);
    const id = /queued as (\w+)/.exec(reply.text)?.[1] ?? "";
    const listing = await waitFor(
      async () => {
        const { stdout } = await system.command("mailq");
        return stdout.includes("450 4.2.1") && !stdout.includes(`${id}*`) && stdout;
      },
      { describe: () => `the reason in mailq\n${system.lastLines()}` },
    );
    const lines = listing.split("\n");
    assert.equal(
      lines[0],
      "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------",
    );
    const entry = lines.findIndex((line) => line.startsWith(`${id} `));
    const size = / +(\d+) \w{3} \w{3} .\d \d\d:\d\d:\d\d sender@src\.example\.com$/;
    const shownSize = Number(size.exec(lines[entry] ?? "")?.[1]);
    assert.ok(shownSize > mail.content.length, `Q4 size in ${listing}`);
    assert.match(
      lines[entry + 1] ?? "",
      /^ *\(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.1 mailbox is busy \(in reply to RCPT TO command\)\)$/,
    );
    assert.equal(lines[entry + 2], `${" ".repeat(47)}${recipient}`);
    deferring.delete(recipient);
    await waitFor(() => sink.accepted.some((message) => message.recipients.includes(recipient)));
    await waitFor(async () => (await system.command("mailq")).stdout === "Mail queue is empty\n");
    await waitFor(() => system.logs.includes(`${id}: removed`), { describe: "the line removed" });
    assert.match(system.logs, /status=deferred/);
    const told = await happened(system, id);
    const attempt = ["queued", "claimed"];
    const first = ["accepted", ...attempt, "deferred", "moved"];
    // The recipient may have been refused more than once.
    assert.deepEqual(told.slice(0, first.length), first);
    assert.deepEqual(told.slice(-5), [...attempt, "dot-sent", "sent", "removed"]);
  });

  it("D28 goes back to its sender as an RFC 3464 report when it is refused for good", async () => {
    const mail = testMail({
      from: "author@src.example.com",
      to: ["nobody@dest.example.com", "somebody@dest.example.com"],
    });
    const reply = await sendMail(system.smtpPort, mail);
    const report = await waitFor(
      () => sink.accepted.find((message) => message.recipients.includes("author@src.example.com")),
      { describe: () => `a report\n${system.lastLines()}` },
    );
    assert.equal(report.sender, "");
    const { id, recipients: failed } = readReport(report.content) ?? assert.fail("no report");
    assert.equal(id, mail.id);
    assert.deepEqual(failed, ["nobody@dest.example.com"]);
    const text = report.content.toString();
    assert.match(text, /^Auto-Submitted: auto-replied\r$/m);
    assert.match(text, /^Action: failed\r$/m);
    assert.match(text, /^Status: 5\.1\.1\r$/m);
    assert.match(text, /^Diagnostic-Code: smtp; 550 5\.1\.1 <nobody> unknown here/m);
    const delivered = sink.accepted.filter((message) => testIdOf(message.content) === mail.id);
    const recipients = delivered.flatMap((message) => message.recipients);
    assert.deepEqual(recipients.toSorted(), [
      "author@src.example.com",
      "somebody@dest.example.com",
    ]);
    const queueId = /queued as (\w+)/.exec(reply.text)?.[1] ?? "";
    await waitFor(() => system.logs.includes(`${queueId}: removed`));
    const told = await happened(system, queueId);
    assert.deepEqual(told.slice(-4), ["report-owed", "claimed", "reported", "removed"]);
    assert.deepEqual(told.filter((kind) => kind === "failed" || kind === "sent").toSorted(), [
      "failed",
      "sent",
    ]);
  });

  it("D29 never answers a message that has the null sender", async () => {
    const mail = testMail({ from: "", to: ["nobody-2@dest.example.com"] });
    await sendMail(system.smtpPort, mail);
    await waitFor(() => system.logs.includes("to=<nobody-2@dest.example.com>"));
    await waitFor(async () => (await system.command("mailq")).stdout === "Mail queue is empty\n");
    assert.equal(
      sink.accepted.some((message) => testIdOf(message.content) === mail.id),
      false,
    );
  });
});

describe("mail that is too old", () => {
  it("S13 goes back with the last reason when its lifetime is over", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) =>
        stage === "rcpt" && recipient.startsWith("busy")
          ? { reply: "450 4.2.1 mailbox is busy" }
          : undefined,
    });
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        maximal_queue_lifetime: "0",
        minimal_backoff_time: "1s",
        queue_run_delay: "1s",
      },
    });
    const mail = testMail({ to: ["busy@dest.example.com"] });
    await sendMail(system.smtpPort, mail);
    const report = await waitFor(() => sink.accepted.find(({ sender }) => sender === ""), {
      describe: () => `an expiry report\n${system.lastLines()}`,
    });
    assert.deepEqual(readReport(report.content)?.recipients, ["busy@dest.example.com"]);
    assert.match(report.content.toString(), /mailbox is busy/);
    assert.match(system.logs, /status=expired, returned to sender/);
  });
});
