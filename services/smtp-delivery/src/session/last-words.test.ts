/** What a server says before it hangs up counts; what it says beside the point does not. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, it } from "node:test";

import { FakeSmtpServer, testCertificates } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

/** A server that writes its answer to one line in one piece and hangs up at once. */
async function abruptServer(
  protocol: "smtp" | "lmtp",
  answer: (line: string) => string | undefined,
  keyword = "HELP",
) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write("220 abrupt ESMTP\r\n");
    let isContent = false;
    socket.on("data", (bytes) => {
      const text = bytes.toString("latin1");
      if (isContent && !text.endsWith("\r\n.\r\n")) return;
      const lines = isContent ? ["."] : text.split("\r\n").filter((line) => line !== "");
      const replies = lines.map((line) => {
        if (/^[EL]HLO/.test(line)) return `250-abrupt\r\n250-${keyword}\r\n250 PIPELINING\r\n`;
        const own = answer(line);
        if (own !== undefined) return own;
        if (line === "DATA") return "354 go on\r\n";
        return "250 ok\r\n";
      });
      if (lines.includes("DATA")) isContent = true;
      socket.write(replies.join(""));
      if (replies.some((reply, index) => reply === answer(lines[index] ?? ""))) socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const nexthop = `[127.0.0.1]:${port}`;
  return {
    request: (to: readonly string[]) =>
      request(1, nexthop, { to, destination: { transport: protocol, nexthop } }),
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

describe("a server that hangs up behind its last words", () => {
  const to = Array.from({ length: 20 }, (_, number) => `u${number}@example.net`);
  const transports = { POSTMQ_TRANSPORTS: "smtp, lmtp" };

  it("D6: is heard out: LMTP mail that it took for twenty is sent to nobody again", async () => {
    await using server = await abruptServer("lmtp", (line) =>
      line === "." ? "250 2.0.0 ok\r\n".repeat(to.length) : undefined,
    );
    await using test = await startWorker(transports);
    await test.serve(server.request(to));
    assert.deepEqual(
      test.delivering.shownOutcomes,
      to.map((_, number) => `${number} sent 2.0.0`),
    );
  });

  it("D6: is heard out: everybody whom it refused is bounced", async () => {
    await using server = await abruptServer("smtp", (line) =>
      line === "DATA"
        ? "554 5.5.1 nobody\r\n"
        : line.startsWith("RCPT")
          ? "550 5.1.1 no\r\n"
          : undefined,
    );
    await using test = await startWorker();
    await test.serve(server.request(to));
    assert.deepEqual(
      test.delivering.shownOutcomes,
      to.map((_, number) => `${number} failed 5.1.1`),
    );
  });

  it("D7: one reply too many is no reply to the next message", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) =>
        stage === "dot" ? { reply: "250 2.0.0 ok\r\n250 2.0.0 and once more" } : undefined,
    });
    await using test = await startWorker();
    await test.serve(request(1, server.relayhost), request(2, server.relayhost));
    assert.deepEqual(
      test.delivering.ends.map(({ outcomes }) => outcomes[0]?.kind),
      ["sent", "sent"],
    );
  });
});

describe("a last line that is cut off", () => {
  const secret = "c2VjcmV0";

  it("D22: at STARTTLS bounces nothing, security 14: at AUTH tells no secret", async () => {
    for (const [stage, keyword, env] of [
      ["starttls", "STARTTLS", { POSTMQ_SMTP_TLS_SECURITY_LEVEL: "encrypt" }],
      ["auth", "AUTH PLAIN", {}],
    ] as const) {
      const line = stage === "starttls" ? "554 5.3.0 no" : `535 5.7.8 bad: secret ${secret}`;
      await using server = await abruptServer(
        "smtp",
        (given) => (given.toLowerCase().startsWith(stage) ? line : undefined),
        keyword,
      );
      const one = server.request(["u@example.net"]);
      await using test = await startWorker({
        POSTMQ_SMTP_SASL_AUTH_ENABLE: "yes",
        POSTMQ_SMTP_SASL_SECURITY_OPTIONS: "noanonymous",
        POSTMQ_SMTP_SASL_PASSWORD_MAPS: `inline:{${one.destination.nexthop} = user:secret}`,
        ...env,
      });
      await test.serve(one);
      assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.4.2"], stage);
      const said = JSON.stringify([test.log, test.delivering.ends]);
      assert.ok(!said.includes("secret") && !said.includes(secret), stage);
    }
  });
});

describe("optional TLS that worked", () => {
  it("D23: a 421 under it sends no mail in plain text", async () => {
    for (const stage of ["mail", "rcpt", "data"] as const) {
      await using server = await FakeSmtpServer.start({
        keywords: ["PIPELINING", "STARTTLS"],
        tls: testCertificates().make({ names: ["mx.example.net"] }),
        decide: (event) => (event.stage === stage ? { reply: "421 4.7.0 too many" } : undefined),
      });
      await using test = await startWorker({ POSTMQ_SMTP_TLS_SECURITY_LEVEL: "may" });
      await test.serve(request(1, server.relayhost, { arrivalMs: 0, activeMs: 10_000_000 }));
      assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.7.0"], stage);
      assert.equal(server.totalConnections, 1, stage);
    }
  });

  it("D23: mail that asks for REQUIRETLS is never tried in plain text", async () => {
    await using server = await FakeSmtpServer.start({
      keywords: ["STARTTLS"],
      tls: testCertificates().make({ names: ["mx.example.net"] }),
      decide: ({ stage }) => (stage === "tls" ? { cut: "before" } : undefined),
    });
    await using test = await startWorker({ POSTMQ_SMTP_TLS_SECURITY_LEVEL: "may" });
    const envelope = { sender: "a@example.com", origin: "smtp", requireTls: true } as const;
    await test.serve(
      request(1, server.relayhost, { envelope, arrivalMs: 0, activeMs: 10_000_000 }),
    );
    assert.equal(test.delivering.onlyOutcome.kind, "deferred");
    assert.equal(server.totalConnections, 1);
  });
});
