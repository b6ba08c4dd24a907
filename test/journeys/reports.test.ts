/** What a sender is told, as it arrives at the sender's mail server: a failure, a delay and a success. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TestContext } from "node:test";

import {
  FakeSmtpServer,
  sendMail,
  SmtpClient,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

const sender = "sender@src.example.com";

describe("a report, as it arrives", () => {
  let sink: FakeSmtpServer;
  let system: PostmqSystem;

  before(async () => {
    sink = await FakeSmtpServer.start({
      keywords: ["PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"],
      decide: ({ stage, recipient }) => {
        if (stage !== "rcpt") return undefined;
        if (recipient.startsWith("nobody")) return { reply: "550 5.1.1 <nobody> unknown here" };
        if (recipient.startsWith("busy")) return { reply: "450 4.2.1 mailbox is busy" };
        return undefined;
      },
    });
    system = await startPostmq({
      parameters: {
        myhostname: "mail.example.com",
        relayhost: sink.relayhost,
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
        delay_warning_time: "1s",
        notify_classes: "bounce, delay",
        smtpd_authorized_verp_clients: "127.0.0.0/8",
      },
    });
  });

  after(async () => {
    await system[Symbol.asyncDispose]();
    await sink[Symbol.asyncDispose]();
  });

  /** Sends a mail with DSN parameters. @returns the report about it that its sender gets, and the mail's queue id. */
  async function reportAbout(to: string, notify: string) {
    using client = await SmtpClient.open(system.smtpPort);
    const mail = testMail({ from: sender, to: [to] });
    await client.command(`MAIL FROM:<${sender}> RET=FULL ENVID=e+2Bnv`);
    await client.command(`RCPT TO:<${to}> NOTIFY=${notify} ORCPT=rfc822;First@near.example.com`);
    await client.command("DATA");
    client.send(`${mail.content.toString()}.\r\n`);
    const id = /queued as (\w+)/.exec((await client.reply()).text)?.[1] ?? "";
    assert.notEqual(id, "");
    const report = await arrived(id, sender);
    return { id, report };
  }

  async function arrived(id: string, recipient: string): Promise<string> {
    const message = await waitFor(
      () =>
        sink.messages.find(
          ({ recipients, content }) =>
            recipients.includes(recipient) && content.includes(`X-Postfix-Queue-ID: ${id}`),
        ),
      { describe: () => `a report about ${id}\n${system.lastLines()}` },
    );
    return message.content.toString();
  }

  function show(test: TestContext, report: string): void {
    test.diagnostic(`\n${report.replaceAll("\r\n", "\n")}`);
  }

  function assertCommon(report: string): void {
    for (const line of [
      `To: ${sender}`,
      "Auto-Submitted: auto-replied",
      "Reporting-MTA: dns; mail.example.com",
      "Original-Envelope-Id: e+nv",
      `X-Postfix-Sender: rfc822; ${sender}`,
      "Original-Recipient: rfc822;First@near.example.com",
    ]) {
      assert(report.includes(`\r\n${line}\r\n`), `${line}\n${report}`);
    }
  }

  it("D30 tells of a failure, and gives the postmaster a copy of its headers (D28)", async (test) => {
    const { id, report } = await reportAbout("nobody@dest.example.com", "FAILURE");
    show(test, report);
    assertCommon(report);
    assert.match(report, /^Final-Recipient: rfc822; nobody@dest\.example\.com\r$/m);
    assert.match(report, /^Action: failed\r\nStatus: 5\.1\.1\r$/m);
    assert.match(report, /^Diagnostic-Code: smtp; 550 5\.1\.1 <nobody> unknown here\r$/m);
    assert.match(report, /One line of text/);
    const copy = await arrived(id, "postmaster@mail.example.com");
    show(test, copy);
    assert.match(copy, /^Auto-Submitted: auto-generated\r$/m);
    assert.doesNotMatch(copy, /One line of text/);
  });

  it("S13 tells of a delay, with headers alone though RET says FULL", async (test) => {
    const { report } = await reportAbout("busy@dest.example.com", "DELAY");
    show(test, report);
    assertCommon(report);
    assert.match(report, /^Action: delayed\r\nStatus: 4\.2\.1\r$/m);
    assert.match(report, /^Will-Retry-Until: /m);
    assert.doesNotMatch(report, /One line of text/);
  });

  it("D31 tells of a success, since the next hop does not speak DSN", async (test) => {
    const { report } = await reportAbout("joe@dest.example.com", "SUCCESS");
    show(test, report);
    assertCommon(report);
    assert.match(report, /^Action: relayed\r\nStatus: 2\.0\.0\r$/m);
    assert.match(report, /^Diagnostic-Code: smtp; 250 2\.0\.0 Ok: queued\r$/m);
    assert.doesNotMatch(report, /One line of text/);
  });

  it("D33 S17 comes to a sender that names the recipient, where mail asked for VERP", async (test) => {
    const to = ["verp.one", "nobody.verp", "verp.two"].map((local) => `${local}@dest.example.com`);
    const [one, nobody, two] = to.map((each) => `sender+${each.replace("@", "=")}@src.example.com`);
    using client = await SmtpClient.open(system.smtpPort);
    assert((await client.command("EHLO client.example.com")).lines.includes("XVERP"));
    await client.command(`MAIL FROM:<${sender}> XVERP`);
    for (const each of to) await client.command(`RCPT TO:<${each}>`);
    await client.command("DATA");
    client.send("Subject: list\r\n\r\nOne line of text\r\n.\r\n");
    const id = /queued as (\w+)/.exec((await client.reply()).text)?.[1] ?? "";
    const report = await arrived(id, nobody ?? "");
    show(test, report);
    assert.match(report, /^Final-Recipient: rfc822; nobody\.verp@dest\.example\.com\r$/m);
    assert(report.includes(`\r\nTo: ${nobody}\r\n`), report);
    assert(report.includes(`\r\nX-Postfix-Sender: rfc822; ${sender}\r\n`), report);
    await arrived(id, "postmaster@mail.example.com");
    const delivered = () => sink.messages.filter(({ sender: from }) => from.startsWith("sender+"));
    await waitFor(() => delivered().length === 2, { describe: () => system.lastLines() });
    assert.deepEqual(
      delivered()
        .map((message) => [message.sender, ...message.recipients])
        .toSorted(),
      [
        [one, to[0]],
        [two, to[2]],
      ],
    );
  });

  it("is one report for each event", async () => {
    assert.deepEqual(
      sink.messages
        .filter(({ recipients }) => recipients.includes(sender))
        .map(({ content }) => /^Action: (\w+)/m.exec(content.toString())?.[1])
        .toSorted(),
      ["delayed", "failed", "relayed"],
    );
  });

  it("Q1 NOTIFY keeps from the sender what it says, and nothing from mailq and the postmaster", async () => {
    using client = await SmtpClient.open(system.smtpPort);
    const mail = testMail({ from: sender });
    await client.command(`MAIL FROM:<${sender}>`);
    await client.command("RCPT TO:<nobody-told@dest.example.com> NOTIFY=FAILURE");
    await client.command("RCPT TO:<nobody-untold@dest.example.com> NOTIFY=NEVER");
    await client.command("RCPT TO:<busy-untold@dest.example.com> NOTIFY=NEVER");
    await client.command("DATA");
    client.send(`${mail.content.toString()}.\r\n`);
    const id = /queued as (\w+)/.exec((await client.reply()).text)?.[1] ?? "";
    const told = (report: string) =>
      [...report.matchAll(/^Final-Recipient: rfc822; ([^@]*)/gm)].map(([, name]) => name);

    assert.deepEqual(told(await arrived(id, sender)), ["nobody-told"]);
    const copies = await waitFor(
      () => {
        const found = sink.messages
          .filter(({ recipients }) => recipients.includes("postmaster@mail.example.com"))
          .map(({ content }) => content.toString())
          .filter((content) => content.includes(`X-Postfix-Queue-ID: ${id}`));
        return found.length === 2 ? found : undefined;
      },
      { describe: () => `copies about ${id}\n${system.lastLines()}` },
    );
    assert.deepEqual(copies.map(told).toSorted(), [
      ["busy-untold"],
      ["nobody-told", "nobody-untold"],
    ]);
    const { stdout } = await system.command("mailq");
    assert.match(
      stdout,
      /\(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.1 mailbox is busy[^\n]*\)\n +busy-untold@dest/,
    );
    const toSender = sink.messages.filter(
      ({ recipients, content }) => recipients.includes(sender) && content.includes(id),
    );
    assert.equal(toSender.length, 1);
  });
});

describe("a report under soft_bounce", () => {
  it("D13 is still sent when the message has become too old, with a 4.x.x and the action failed", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) =>
        stage === "rcpt" && recipient.startsWith("nobody")
          ? { reply: "550 5.1.1 <nobody> unknown here" }
          : undefined,
    });
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        soft_bounce: "yes",
        maximal_queue_lifetime: "1s",
        minimal_backoff_time: "1s",
        maximal_backoff_time: "1s",
      },
    });
    await sendMail(system.smtpPort, testMail({ from: sender, to: ["nobody@dest.example.com"] }));
    const report = await waitFor(
      () => sink.messages.find(({ recipients }) => recipients.includes(sender)),
      { describe: () => `the report\n${system.lastLines()}` },
    );
    assert.match(report.content.toString(), /^Action: failed\r\nStatus: 4\.1\.1\r$/m);
    assert.match(report.content.toString(), /too old/);
    assert.match(system.logs, /status=SOFTBOUNCE/);
  });
});
