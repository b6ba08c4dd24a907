import assert from "node:assert/strict";
import { connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { connect } from "node:tls";
import type { ConnectionOptions } from "node:tls";

import { FakeSmtpServer } from "./fake-smtp-server.ts";
import type { StageEvent } from "./fake-smtp-stages.ts";
import { SmtpClient } from "./smtp-client.ts";
import { testCertificates } from "./test-certificates.ts";

const good = () => testCertificates().make({ names: ["mx.example.com"] });

async function upgraded(socket: Socket, options: ConnectionOptions = {}): Promise<SmtpClient> {
  const ca = testCertificates().authority;
  const secure = connect({ socket, ca, servername: "mx.example.com", ...options });
  await new Promise<void>((resolve, reject) => {
    secure.once("secureConnect", resolve);
    secure.once("error", reject);
    secure.once("close", () => reject(new Error("closed")));
  });
  return new SmtpClient(secure);
}

/** A connection that has sent STARTTLS and read 220. */
async function started(port: number): Promise<Socket> {
  const socket = connectTcp(port, "127.0.0.1");
  const client = new SmtpClient(socket);
  await client.reply();
  const hello = await client.command("EHLO c.example.com");
  assert.ok(hello.lines.includes("STARTTLS"));
  assert.equal((await client.command("STARTTLS")).code, 220);
  socket.removeAllListeners("data");
  return socket;
}

describe("FakeSmtpServer under TLS", () => {
  it("upgrades, wants a second EHLO, offers other keywords and keeps what TLS it was", async () => {
    await using server = await FakeSmtpServer.start({
      tls: good(),
      keywordsUnderTls: ["AUTH PLAIN", "REQUIRETLS"],
    });
    using client = await upgraded(await started(server.port));
    assert.equal((await client.command("MAIL FROM:<a@x.example>")).code, 503);
    const hello = await client.command("EHLO c.example.com");
    assert.deepEqual(hello.lines.slice(1), ["AUTH PLAIN", "REQUIRETLS"]);
    await client.command("MAIL FROM:<a@x.example> REQUIRETLS");
    await client.command("RCPT TO:<b@y.example>");
    await client.command("DATA");
    client.send("x\r\n.\r\n");
    assert.equal((await client.reply()).code, 250);
    const [message] = server.messages;
    assert.equal(message?.mailParameters, "REQUIRETLS");
    assert.equal(message?.tls?.servername, "mx.example.com");
    assert.equal(message?.tls?.protocol, "TLSv1.3");
  });

  it("speaks TLS from the first byte", async () => {
    await using server = await FakeSmtpServer.start({ tls: good(), isTlsImplicit: true });
    using client = await upgraded(connectTcp(server.port, "127.0.0.1"));
    assert.equal((await client.reply()).code, 220);
    const hello = await client.command("EHLO c.example.com");
    assert.ok(!hello.lines.includes("STARTTLS"));
  });

  it("refuses STARTTLS, spoils and cuts the handshake", async () => {
    await using server = await FakeSmtpServer.start({
      tls: good(),
      decide: ({ stage, connection }) => {
        if (connection === 1 && stage === "starttls") return { reply: "454 4.7.0 not now" };
        if (connection === 2 && stage === "tls") return { reply: "500 what?" };
        if (connection === 3 && stage === "tls") return { cut: "before" };
        return undefined;
      },
    });
    using plain = await SmtpClient.open(server.port);
    assert.equal((await plain.command("STARTTLS")).code, 454);
    assert.equal((await plain.command("NOOP")).code, 250);
    await assert.rejects(upgraded(await started(server.port)));
    await assert.rejects(upgraded(await started(server.port)));
  });

  it("shows certificates that are expired, of a wrong name, self-signed, or of a stranger", async () => {
    const make = testCertificates();
    const names = ["mx.example.com"];
    const codes: unknown[] = [];
    for (const tls of [
      make.make({ names, isExpired: true }),
      make.make({ names: ["other.example"] }),
      make.make({ names, issuer: "self" }),
      make.make({ names, issuer: "stranger" }),
    ]) {
      await using server = await FakeSmtpServer.start({ tls });
      const failure = upgraded(await started(server.port));
      await failure.catch((error: NodeJS.ErrnoException) => codes.push(error.code));
    }
    assert.deepEqual(codes, [
      "CERT_HAS_EXPIRED",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    ]);
  });
});

describe("FakeSmtpServer's AUTH", () => {
  it("hears PLAIN and LOGIN, answers as decided, and lets a client give up", async () => {
    const heard: StageEvent["credentials"][] = [];
    await using server = await FakeSmtpServer.start({
      decide: ({ stage, credentials }) => {
        if (stage !== "auth") return undefined;
        heard.push(credentials);
        return credentials?.password === "wrong" ? { reply: "535 5.7.8 no" } : undefined;
      },
    });
    using client = await SmtpClient.open(server.port);
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    assert.equal((await client.command(`AUTH PLAIN ${base64("\0me\0wrong")}`)).code, 535);
    assert.equal((await client.command("AUTH PLAIN")).code, 334);
    assert.equal((await client.command(base64("\0me\0right"))).code, 235);
    assert.equal((await client.command("AUTH LOGIN")).lines[0], base64("Username:"));
    assert.equal((await client.command(base64("you"))).code, 334);
    assert.equal((await client.command(base64("word"))).code, 235);
    assert.equal((await client.command("AUTH LOGIN")).code, 334);
    assert.equal((await client.command("*")).code, 501);
    assert.equal((await client.command("AUTH GSSAPI")).code, 504);
    assert.deepEqual(
      heard.map((one) => [one?.mechanism, one?.user, one?.password]),
      [
        ["PLAIN", "me", "wrong"],
        ["PLAIN", "me", "right"],
        ["LOGIN", "you", "word"],
      ],
    );
  });
});

describe("FakeSmtpServer as an LMTP server", () => {
  it("answers LHLO, and each recipient after the dot", async () => {
    await using server = await FakeSmtpServer.start({
      protocol: "lmtp",
      decide: ({ stage, recipient }) =>
        stage === "dot" && recipient === "full@y.example" ? { reply: "452 4.2.2 full" } : undefined,
    });
    using client = await SmtpClient.connect(server.port);
    await client.reply();
    assert.equal((await client.command("EHLO c.example.com")).code, 502);
    assert.equal((await client.command("LHLO c.example.com")).code, 250);
    await client.command("MAIL FROM:<a@x.example>");
    await client.command("RCPT TO:<full@y.example>");
    await client.command("RCPT TO:<b@y.example>");
    await client.command("DATA");
    client.send("x\r\n.\r\n");
    assert.equal((await client.reply()).code, 452);
    assert.equal((await client.reply()).code, 250);
    assert.deepEqual(
      server.messages.map(({ recipients, reply }) => [recipients, reply.slice(0, 3)]),
      [
        [["full@y.example"], "452"],
        [["b@y.example"], "250"],
      ],
    );
  });
});
