import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SmtpClient } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { connectTo, openData, say } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

/** Ends of data that some server somewhere has taken for one. Source: security.md 1. */
const fakeEnds = [
  "\n.\n",
  "\n.\r\n",
  "\r\n.\n",
  "\r.\r",
  "\r.\r\n",
  "\r\n.\r",
  "\n.\r",
  "\r.\n",
  "\r\n\0.\r\n",
  "\r\n.\0\r\n",
  "\r\r\n.\r\r\n",
  "\r\n.\r\r\n",
  "\r\n .\r\n",
  "\r\n. \r\n",
];

/** Odd, but ending in CRLF.CRLF: what follows is a transaction of its own, and the client meant it. */
const trueEnds = ["\n\n\r\n.\r\n", "\r\r\n.\r\n"];

const smuggled =
  "MAIL FROM:<evil@example.org>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n.\r\n";

describe("SMTP smuggling (security.md 1, V28, V29)", () => {
  it("never makes two messages of one, whichever end of data is tried", async () => {
    for (const end of fakeEnds) {
      const intake = new MemoryIntake();
      await using server = await startListener({ intake });
      using client = await SmtpClient.open(server.port);
      await openData(client);
      client.send(`Subject: cover\r\n\r\ncover${end}${smuggled}`);
      assert.match((await client.reply()).text, /^250 2\.0\.0 Ok: queued/, JSON.stringify(end));
      assert.equal(intake.messages.length, 1, JSON.stringify(end));
      const [message] = intake.messages;
      assert.equal(message?.envelope.sender, "a@example.com");
      assert.match(message?.text ?? "", /MAIL FROM:<evil@example\.org>/, JSON.stringify(end));
    }
  });

  it("never makes two messages of one when each byte comes alone", async () => {
    for (const end of fakeEnds) {
      const intake = new MemoryIntake();
      await using server = await startListener({ intake });
      using client = await SmtpClient.open(server.port);
      await openData(client);
      for (const byte of `Subject: x\r\n\r\nx${end}MAIL FROM:<evil@example.org>\r\n.\r\n`) {
        client.send(byte);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      assert.equal((await client.reply()).code, 250, JSON.stringify(end));
      assert.equal(intake.messages.length, 1, JSON.stringify(end));
    }
  });

  it("V31 stores no bare LF, no bare CR, and no lone dot that the client did not send as a line", async () => {
    for (const end of [...fakeEnds, "\n\n.\r\n", "\r\n\r.\r\n"]) {
      const intake = new MemoryIntake();
      await using server = await startListener({ intake });
      using client = await SmtpClient.open(server.port);
      await openData(client);
      client.send(`Subject: cover\r\n\r\ncover${end}more\r\n.\r\n`);
      assert.equal((await client.reply()).code, 250);
      assert.doesNotMatch(
        intake.messages[0]?.text ?? "",
        /[^\r]\n|\r[^\n]|^\n|\r$/,
        JSON.stringify(end),
      );
    }
  });

  it("ends a message at CRLF.CRLF, also behind stray line ends", async () => {
    for (const end of trueEnds) {
      const intake = new MemoryIntake();
      await using server = await startListener({ intake });
      using client = await SmtpClient.open(server.port);
      await openData(client);
      client.send(`Subject: one\r\n\r\none${end}`);
      assert.equal((await client.reply()).code, 250, JSON.stringify(end));
      assert.equal(intake.messages.length, 1);
      await say(client, [["NOOP", "250 2.0.0 Ok"]]);
    }
  });

  it("V28 takes lines that end in LF alone, and with `reject` refuses them from strangers", async () => {
    const lenient = new MemoryIntake();
    await using normalising = await startListener({ intake: lenient });
    using first = await connectTo(normalising.port);
    first.send("HELO client\n");
    assert.equal((await first.reply()).code, 250);
    await openData(first);
    first.send("Subject: x\n\nbody\n\r\n.\r\n");
    assert.equal((await first.reply()).code, 250);
    assert.ok(lenient.messages[0]?.text.endsWith("Subject: x\r\n\r\nbody\r\n\r\n"));

    const strict = new MemoryIntake();
    const parameters = { smtpd_forbid_bare_newline: "reject", relay_domains: "example.net" };
    await using rejecting = await startListener({ intake: strict, parameters, isTrusted: false });
    using second = await connectTo(rejecting.port);
    await openData(second);
    second.send("Subject: x\r\n\r\nbody\nmore\r\n.\r\n");
    assert.equal((await second.reply()).text, "550 5.5.2 Error: bare <LF> received");
    second.send("NOOP\n");
    assert.deepEqual(await second.repliesToTheEnd(), ["550 5.5.2 Error: bare <LF> received"]);
    assert.equal(strict.messages.length, 0);
    assert.equal(strict.open.size, 0);
  });

  it("V28 with `reject` still takes bare newlines from mynetworks", async () => {
    const intake = new MemoryIntake();
    const parameters = { smtpd_forbid_bare_newline: "reject" };
    await using server = await startListener({ intake, parameters, isTrusted: true });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    client.send("Subject: x\n\nbody\n\r\n.\r\n");
    assert.equal((await client.reply()).code, 250);
  });
});

describe("V30 input before its turn", () => {
  const lost = "554 5.5.0 Error: SMTP protocol synchronization";

  it("ends the session at EHLO, DATA, NOOP and VRFY with more behind them", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    for (const command of ["EHLO client", "HELO client", "DATA", "NOOP", "VRFY b@example.net"]) {
      using client = await SmtpClient.open(server.port);
      client.send(`${command}\r\nMAIL FROM:<a@example.com>\r\n`);
      assert.deepEqual(await client.repliesToTheEnd(), [lost], command);
    }
    assert.ok(
      server.lines.includes("improper command pipelining after DATA from localhost[127.0.0.1]"),
    );
  });

  it("ends the session of a HELO client that pipelines at all, and of one that does not even greet", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using polite = await connectTo(server.port);
    await say(polite, [["HELO client", "250 mail.example.com"]]);
    polite.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\n");
    assert.deepEqual(await polite.repliesToTheEnd(), [lost]);
    using rude = await SmtpClient.connect(server.port);
    rude.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nx\r\n.\r\n");
    const replies = await rude.repliesToTheEnd();
    assert.deepEqual(replies, ["220 mail.example.com ESMTP postmq", lost]);
  });

  it("is let pass with smtpd_forbid_unauth_pipelining = no", async () => {
    await using server = await startListener({
      intake: new MemoryIntake(),
      parameters: { smtpd_forbid_unauth_pipelining: "no" },
    });
    using client = await connectTo(server.port);
    client.send("HELO client\r\nNOOP\r\nQUIT\r\n");
    assert.deepEqual(await client.repliesToTheEnd(), [
      "250 mail.example.com",
      "250 2.0.0 Ok",
      "221 2.0.0 Bye",
    ]);
  });
});
