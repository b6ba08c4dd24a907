/** The main job end to end: a mail by each way in arrives at a server that is not ours, byte for byte. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import {
  bodyOf,
  FakeSmtpServer,
  hasPostfixTools,
  Ledger,
  ledgerReader,
  sendMail,
  smtpSink,
  startPostmq,
  submitJson,
  submitRaw,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

describe("a first mail", () => {
  let sink: FakeSmtpServer;
  let system: PostmqSystem;

  before(async () => {
    sink = await FakeSmtpServer.start();
    system = await startPostmq({ parameters: { relayhost: sink.relayhost } });
  });

  after(async () => {
    await system[Symbol.asyncDispose]();
    await sink[Symbol.asyncDispose]();
  });

  const arrivalOf = (recipient: string) =>
    waitFor(() => sink.accepted.find((message) => message.recipients.includes(recipient)), {
      describe: () => `mail for ${recipient}\n${system.lastLines()}`,
    });

  it("arrives when it is handed in by SMTP", async () => {
    const mail = testMail({ to: ["smtp@dest.example.com"] });
    const reply = await sendMail(system.smtpPort, mail);
    assert.match(reply.text, /^250 2\.0\.0 Ok: queued as [0-9A-Za-z]+$/);
    const arrived = await arrivalOf("smtp@dest.example.com");
    assert.equal(arrived.sender, mail.from);
    const text = arrived.content.toString();
    assert.match(text, /^Received: from client\.example\.com /);
    assert.match(text, /^Message-I[dD]: <[0-9A-Za-z]+@mail\.example\.com>\r$/m);
    assert.match(text, /^Date: \w{3}, /m);
    assert.deepEqual(bodyOf(arrived.content), bodyOf(mail.content));
  });

  it("arrives when it is handed in by HTTP, as JSON and as a raw message", async () => {
    const raw = testMail({ to: ["http-raw@dest.example.com"] });
    const answer = await submitRaw(system.submissionUrl, raw);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    assert.equal(answer.body["queue"], "maildrop");
    assert.equal(answer.headers.get("location"), `/v1/messages/${String(answer.body["id"])}`);
    const json = testMail({ to: ["http-json@dest.example.com"] });
    const jsonAnswer = await submitJson(system.submissionUrl, {
      mail_from: json.from,
      rcpt_to: json.to,
      raw: json.content.toString("base64"),
    });
    assert.equal(jsonAnswer.status, 202, JSON.stringify(jsonAnswer.body));
    for (const mail of [raw, json]) {
      const arrived = await arrivalOf(mail.to[0] ?? "");
      assert.equal(arrived.sender, mail.from);
      assert.deepEqual(bodyOf(arrived.content), bodyOf(mail.content));
    }
    const told = await waitFor(async () => {
      const { stdout } = await system.command("postmq", ["events", String(answer.body["id"])]);
      return stdout.includes(" removed") && stdout;
    });
    const kinds = told
      .trimEnd()
      .split("\n")
      .map((line) => line.split(" ")[1] ?? "");
    const delivery = ["queued", "claimed", "dot-sent", "sent", "removed"];
    assert.deepEqual(kinds, ["accepted", "claimed", "cleaned", ...delivery]);
    assert.match(told, /^\S+ accepted .*queue=maildrop, by=pickup,/);
    assert.match(told, / sent .*to=<http-raw@dest\.example\.com>, dsn=2\.0\.0, relay=.*, \(250 /);
  });

  it("arrives when it is handed in by sendmail, with recipients as arguments and with -t", async () => {
    const { code, stderr } = await system.command(
      "sendmail",
      ["-i", "-f", "me@src.example.com", "-F", "Some Body", "args@dest.example.com"],
      { input: "Subject: by hand\n\nfirst\n.\nafter the dot\n" },
    );
    assert.equal(code, 0, stderr);
    const arrived = await arrivalOf("args@dest.example.com");
    assert.equal(arrived.sender, "me@src.example.com");
    assert.match(arrived.content.toString(), /^From: .*Some Body.*me@src\.example\.com/m);
    assert.equal(bodyOf(arrived.content).toString(), "first\r\n.\r\nafter the dot\r\n");

    const extracted = await system.command("sendmail", ["-t", "-f", "me@src.example.com"], {
      input: "To: to@dest.example.com\nBcc: bcc@dest.example.com\nSubject: x\n\nhello\n",
    });
    assert.equal(extracted.code, 0, extracted.stderr);
    await arrivalOf("to@dest.example.com");
    const blind = await arrivalOf("bcc@dest.example.com");
    assert.doesNotMatch(blind.content.toString(), /bcc@dest/i);
  });

  it("D19 arrives byte for byte: dots, 8-bit, no last newline, an empty body, 10 000 000 bytes", async () => {
    const ledger = new Ledger();
    const bodies: readonly (readonly [string, Buffer])[] = [
      ["dots", Buffer.from(".\r\n..\r\n.x\r\n...\r\n.\r\n.\r\n")],
      ["eight-bit", Buffer.from(Array.from({ length: 224 }, (_, at) => at + 32)).subarray(0)],
      ["empty", Buffer.alloc(0)],
      ["no-newline", Buffer.from("the last line has no end")],
      ["large", largeBody(10_000_000)],
    ];
    for (const [name, body] of bodies) {
      const mail = testMail({ to: [`${name}@dest.example.com`], body });
      const reply = await sendMail(system.smtpPort, mail);
      assert.equal(reply.code, 250, `${name}: ${reply.text}`);
      ledger.accept(mail.id, `${name}@dest.example.com`);
    }
    for (const [name, body] of bodies) {
      const arrived = await arrivalOf(`${name}@dest.example.com`);
      const want =
        body.length === 0 || body.subarray(-2).toString() === "\r\n"
          ? body
          : Buffer.concat([body, Buffer.from("\r\n")]);
      assert.ok(bodyOf(arrived.content).equals(want), `${name} arrived changed`);
    }
    const report = await ledger.settle({
      refresh: ledgerReader(ledger, sink),
      describe: () => system.lastLines(),
    });
    assert.equal(report.duplicates.size, 0);
  });

  it("leaves nothing in the queue, and drains with exit 0", async () => {
    await waitFor(async () => (await system.command("mailq")).stdout === "Mail queue is empty\n");
    assert.deepEqual(await system.stop(), []);
  });
});

describe(
  "a first mail to smtp-sink",
  { skip: !hasPostfixTools() && "postfix is not installed" },
  () => {
    it("arrives at Postfix's own sink", async () => {
      await using sink = await smtpSink({ dumps: true });
      await using system = await startPostmq({ parameters: { relayhost: sink.relayhost } });
      const mail = testMail({ body: ".dot\r\n\r\ntext\r\n" });
      assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
      assert.equal((await submitRaw(system.submissionUrl, mail)).status, 202);
      const sendmail = await system.command("sendmail", ["-i", ...mail.to], {
        input: mail.content,
      });
      assert.equal(sendmail.code, 0, sendmail.stderr);
      const dumps = await waitFor(
        async () => {
          const all = await sink.dumped();
          return all.length === 3 && all;
        },
        { describe: () => `three mails at the sink\n${system.lastLines()}` },
      );
      for (const { content, recipients } of dumps) {
        assert.deepEqual(recipients, mail.to);
        assert.ok(content.toString().endsWith("\n\n.dot\n\ntext\n"), content.toString());
      }
    });
  },
);

/** Lines of all lengths up to 900 bytes, so that chunks end anywhere. */
function largeBody(sizeBytes: number): Buffer {
  const body = Buffer.alloc(sizeBytes, 0x61);
  for (let at = 70, length = 71; at < sizeBytes - 1; at += length, length = (length % 900) + 1) {
    if (length < 3) continue;
    body.write("\r\n.", at, "latin1");
  }
  body.write("\r\n", sizeBytes - 2, "latin1");
  return body;
}
