import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer } from "./fake-smtp-server.ts";
import { sendMail, SmtpClient } from "./smtp-client.ts";
import { waitFor } from "./wait-for.ts";

const mail = { from: "a@x.example", to: ["b@y.example"] };

describe("FakeSmtpServer", () => {
  it("keeps content byte for byte: dots, 8-bit, bare line ends, nothing at all", async () => {
    await using server = await FakeSmtpServer.start();
    const contents = [
      Buffer.from(".\r\n..\r\n.a\r\n"),
      Buffer.from([0xff, 0x00, 0xe4, 0x0d, 0x0a]),
      Buffer.from("a\n.\nb\rc\r\n"),
      Buffer.alloc(0),
      Buffer.alloc(300_000, "line of text.\r\n"),
    ];
    for (const content of contents) {
      const reply = await sendMail(server.port, { ...mail, content });
      assert.equal(reply.code, 250);
    }
    const want = contents.map((bytes) =>
      bytes.length === 0 || bytes.subarray(-2).toString() === "\r\n"
        ? bytes
        : Buffer.concat([bytes, Buffer.from("\r\n")]),
    );
    assert.deepEqual(
      server.messages.map((message) => message.content),
      want,
    );
  });

  it("decides for each recipient, and at the dot", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage, recipient, connection }) => {
        if (recipient === "no@y.example") return { reply: "550 5.1.1 no such user" };
        if (stage === "dot" && connection === 1) return { reply: "451 4.3.0 try later" };
        return undefined;
      },
    });
    using client = await SmtpClient.open(server.port);
    await client.command("MAIL FROM:<> SIZE=10");
    assert.equal((await client.command("RCPT TO:<no@y.example>")).code, 550);
    assert.equal((await client.command('RCPT TO:<"> a"@y.example> NOTIFY=NEVER')).code, 250);
    assert.equal((await client.command("DATA")).code, 354);
    client.send("Subject: x\r\n\r\n.\r\n");
    assert.equal((await client.reply()).code, 451);
    assert.equal((await sendMail(server.port, { ...mail, content: "" })).code, 250);
    const [first, second] = server.messages;
    assert.deepEqual(first?.recipients, ['"> a"@y.example']);
    assert.equal(first?.mailParameters, "SIZE=10");
    assert.equal(server.accepted.length, 1);
    assert.equal(second?.connection, 2);
  });

  it("cuts after the dot with the message recorded, and counts connections", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { cut: "before" } : undefined),
    });
    using idle = await SmtpClient.open(server.port);
    await assert.rejects(sendMail(server.port, { ...mail, content: "x" }), /ended/);
    assert.equal(server.messages[0]?.reply, "");
    assert.equal(server.mostConnections, 2);
    await waitFor(() => server.openConnections === 1);
    assert.equal((await idle.command("NOOP")).code, 250);
  });

  it("drips, delays and hangs", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) =>
        stage === "greeting" ? { dripMs: 1 } : stage === "mail" ? { hangs: true } : { delayMs: 5 },
    });
    using client = await SmtpClient.open(server.port);
    client.send("MAIL FROM:<a@x.example>\r\n");
    const late = client.reply().then(
      () => "answered",
      () => "ended",
    );
    await waitFor(() => server.openConnections === 1);
    server.cutAll();
    assert.equal(await late, "ended");
  });
});
