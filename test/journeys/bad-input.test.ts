/** P8: bad input gets a clear error with the right code, and leaves nothing behind. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { readdir } from "node:fs/promises";

import {
  FakeSmtpServer,
  sendMail,
  SmtpClient,
  startPostmq,
  startRedis,
  submitJson,
  submitRaw,
  TcpProxy,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem, RedisServer } from "@postmq/testing";

describe("P8 bad input", () => {
  let sink: FakeSmtpServer;
  let redis: RedisServer;
  let proxy: TcpProxy;
  let system: PostmqSystem;

  before(async () => {
    sink = await FakeSmtpServer.start();
    redis = await startRedis();
    proxy = await TcpProxy.start(redis.port);
    system = await startPostmq({
      redis,
      redisUrl: `redis://127.0.0.1:${proxy.port}`,
      parameters: { relayhost: sink.relayhost, message_size_limit: "100000" },
    });
  });

  after(async () => {
    await system[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await redis[Symbol.asyncDispose]();
    await sink[Symbol.asyncDispose]();
  });

  const good = { mail_from: "a@src.example.com", rcpt_to: ["b@dest.example.com"] };
  const raw = Buffer.from("Subject: x\r\n\r\nx\r\n").toString("base64");

  async function assertNothingLeft(): Promise<void> {
    assert.equal((await system.command("mailq")).stdout, "Mail queue is empty\n");
    assert.equal(sink.messages.length, 0);
    const content = (await redis.cli("--scan", "--pattern", "postmq:*:c:*")).trim();
    assert.equal(content, "", "content without a message");
  }

  it("V1 SMTP refuses an oversized message, announced or not, with 552 5.3.4", async () => {
    using client = await SmtpClient.open(system.smtpPort);
    assert.match(
      (await client.command("MAIL FROM:<a@src.example.com> SIZE=100001")).text,
      /^552 5\.3\.4 /,
    );
    const reply = await client.deliver({
      ...testMail(),
      content: `Subject: x\r\n\r\n${"x".repeat(78)}\r\n`.repeat(2000),
    });
    assert.match(reply.text, /^552 5\.3\.4 /);
    assert.equal((await client.command("NOOP")).code, 250);
    await assertNothingLeft();
  });

  it("SMTP refuses bad addresses, a missing recipient, unknown parameters and commands", async () => {
    using client = await SmtpClient.open(system.smtpPort);
    const answers: readonly (readonly [string, RegExp])[] = [
      ["RCPT TO:<b@dest.example.com>", /^503 5\.5\.1 /],
      ["MAIL FROM:<a@b@c>", /^501 5\.1\.7 /],
      ["MAIL FROM:<a@src.example.com> NOSUCH=1", /^555 5\.5\.4 /],
      ["MAIL FROM:<a@src.example.com> SIZE=many", /^501 5\.5\.4 /],
      ["MAIL FROM:<a@src.example.com>", /^250 /],
      ["RCPT TO:<>", /^501 5\.1\.3 /],
      ["RCPT TO:<b c@dest.example.com>", /^501 5\.1\.3 /],
      ["DATA", /^(554|503) 5\.5\.1 /],
      ["FROBNICATE", /^500 5\.5\.2 /],
    ];
    for (const [line, want] of answers) {
      assert.match((await client.command(line)).text, want, line);
    }
    await assertNothingLeft();
  });

  it("HTTP answers problem+json that names what is wrong", async () => {
    const cases: readonly (readonly [unknown, number, RegExp])[] = [
      ["{not json", 400, /JSON/i],
      [{ ...good, raw, rcpt_to: [] }, 422, /rcpt_to/],
      [{ ...good, raw, rcpt_to: ["not an address"] }, 422, /rcpt_to|not an address/],
      [{ ...good, raw, mail_from: "a@b\r\nRCPT TO:<v@x>" }, 422, /mail_from/],
      [{ ...good, raw, frobnicate: 1 }, 422, /frobnicate/],
      [{ ...good }, 422, /raw|content/],
      [{ ...good, raw: Buffer.alloc(100_001, "x").toString("base64") }, 413, /size|large/i],
    ];
    for (const [body, status, names] of cases) {
      const answer = await submitJson(system.submissionUrl, body);
      const shown = JSON.stringify(answer.body);
      assert.equal(answer.status, status, shown);
      assert.match(answer.contentType, /^application\/problem\+json/);
      assert.match(shown, names);
    }
    await assertNothingLeft();
  });

  it("sendmail exits with sysexits: 64 for bad usage, 65 or 67 for a bad address, and stores nothing", async () => {
    const noRecipients = await system.command("sendmail", ["-i"], { input: "Subject: x\n\nx\n" });
    assert.equal(noRecipients.code, 64, noRecipients.stderr);
    const badOption = await system.command("sendmail", ["--no-such-option", "b@dest.example.com"], {
      input: "x\n",
    });
    assert.equal(badOption.code, 64, badOption.stderr);
    const oversized = await system.command("sendmail", ["-i", "b@dest.example.com"], {
      input: `Subject: x\n\n${"x".repeat(100_001)}\n`,
    });
    assert.ok([65, 69].includes(oversized.code ?? 0), `${oversized.code} ${oversized.stderr}`);
    await assertNothingLeft();
  });

  it("a daemon refuses to start with an unknown parameter or a bad value, naming it, exit 78", async () => {
    const cases: readonly (readonly [string, string, RegExp])[] = [
      ["no_such_parameter", "1", /no_such_parameter/],
      ["minimal_backoff_time", "soon", /minimal_backoff_time.*soon/],
    ];
    for (const [name, value, names] of cases) {
      await assert.rejects(
        startPostmq({ redis, services: ["qmgr"], parameters: { [name]: value } }),
        names,
      );
    }
  });

  it("fault 20: with Redis out of reach intake answers 4xx and 503, sendmail keeps the mail in a file", async () => {
    proxy.refuse(true);
    proxy.cut();
    const mail = testMail();
    const smtp = await sendMail(system.smtpPort, mail).catch((error: Error) => error.message);
    const smtpText = typeof smtp === "string" ? smtp : smtp.text;
    assert.match(smtpText, /\b4\d\d 4\.3\.\d /);
    const http = await submitRaw(system.submissionUrl, mail);
    assert.equal(http.status, 503);
    assert.match(http.contentType, /^application\/problem\+json/);
    assert.ok(http.headers.has("retry-after"));
    const sendmail = await system.command("sendmail", ["-i", ...mail.to], { input: mail.content });
    assert.equal(sendmail.code, 0, sendmail.stderr);
    const without = await system.command("sendmail", ["-i", ...mail.to], {
      input: mail.content,
      parameters: { drop_directory: "" },
    });
    assert.equal(without.code, 75, without.stderr);
    const dropDirectory = system.env["POSTMQ_DROP_DIRECTORY"] ?? "";
    assert.equal((await readdir(dropDirectory)).length, 1);
    proxy.refuse(false);
    await waitFor(() => sink.accepted.length === 1, {
      // Less than the minute after which pickup looks in any case.
      timeoutMs: 30_000,
      describe: () => `the dropped mail to arrive\n${system.lastLines()}`,
    });
    await waitFor(async () => (await readdir(dropDirectory)).length === 0);
  });
});
