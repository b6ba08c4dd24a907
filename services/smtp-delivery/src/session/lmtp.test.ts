import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { FakeSmtpServer, testCertificates } from "@postmq/testing";
import type { Behaviour, FakeSmtpOptions, SmtpStage, StageEvent } from "@postmq/testing";

import { dial } from "./dial.ts";
import { openTestSession, testMail, testPolicy, testSettings } from "./session.test-support.ts";

const host = "mx.test.example[127.0.0.1]";
const lmtp = { protocol: "lmtp" } as const;
const names = ["one", "two", "three"];
const mail = testMail({ rcptCommands: names.map((name) => `RCPT TO:<${name}@example.net>`) });

const at = (stage: SmtpStage, behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === stage ? behaviour : undefined;
/** At the dot, for one recipient. */
const dotFor = (name: string, behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === "dot" && event.recipient.startsWith(name) ? behaviour : undefined;

async function transact(
  decide: FakeSmtpServer["decide"],
  options: FakeSmtpOptions & { readonly deadlineMs?: number } = {},
) {
  await using server = await FakeSmtpServer.start({ ...lmtp, decide, ...options });
  using test = await openTestSession(
    server,
    lmtp,
    testSettings({}, { dot: options.deadlineMs ?? 5_000 }),
  );
  assert.equal(test.refusal, undefined);
  const transaction = await test.session.transact(mail, false);
  const { isReusable } = test.session;
  const shown = transaction.verdicts.map((verdict) =>
    verdict.kind === "open" ? "open" : `${verdict.kind} ${verdict.reply.code}`,
  );
  return { ...transaction, shown, isReusable, messages: server.messages };
}

describe("LMTP", () => {
  for (const keywords of [["PIPELINING"], []]) {
    const how = keywords.length === 0 ? "one command at a time" : "pipelined";
    it(`D6 has a verdict per recipient after the dot, ${how}`, async () => {
      const { shown, broken, isReusable } = await transact(
        (event) =>
          dotFor("one", { reply: "452 4.2.2 full" })(event) ??
          dotFor("three", { reply: "550 5.2.1 gone" })(event),
        { keywords },
      );
      assert.deepEqual(shown, ["refused 452", "sent 250", "refused 550"]);
      assert.equal(broken, undefined);
      assert.equal(isReusable, true);
    });

    it(`D6 counts only those who were accepted, ${how}`, async () => {
      const decide = (event: StageEvent) =>
        event.stage === "rcpt" && event.recipient.startsWith("two")
          ? { reply: "550 5.1.1 unknown" }
          : dotFor("three", { reply: "451 4.3.0 later" })(event);
      const { verdicts, shown, broken } = await transact(decide, { keywords });
      assert.deepEqual(shown, ["sent 250", "refused 550", "refused 451"]);
      assert.equal(broken, undefined);
      assert.deepEqual(
        verdicts.map((verdict) => (verdict.kind === "refused" ? verdict.stage : "")),
        ["", "rcpt", "dot"],
      );
    });
  }

  for (const [name, behaviour, how] of [
    ["cuts", { cut: "before" }, "lost"],
    ["hangs", { hangs: true }, "timedOut"],
    ["drips", { dripMs: 100 }, "timedOut"],
  ] as const) {
    it(`a server that ${name} amid its replies: what it said are facts, others are open`, async () => {
      const { shown, broken, isReusable } = await transact(dotFor("two", behaviour), {
        deadlineMs: 1_000,
      });
      assert.deepEqual(shown, ["sent 250", "open", "open"]);
      assert.deepEqual(broken, { how, stage: "dot" });
      assert.equal(isReusable, false);
    });
  }

  it("D6 a reply that is whole counts, though the beginning of the next came along with it", async () => {
    const { shown } = await transact(
      dotFor("one", { reply: "250 2.0.0 one\r\n250-2.0.0 two", cut: "after" }),
    );
    assert.deepEqual(shown, ["sent 250", "open", "open"]);
  });

  it("has a deadline for each reply, not for all of them", async () => {
    const decide = (event: StageEvent) => (event.stage === "dot" ? { delayMs: 700 } : undefined);
    const { shown } = await transact(decide, { deadlineMs: 1_800 });
    assert.deepEqual(shown, ["sent 250", "sent 250", "sent 250"]);
  });

  it("a 421 amid the replies ends it: others are open", async () => {
    const { shown } = await transact(dotFor("two", { reply: "421 4.3.2 going down" }));
    assert.deepEqual(shown, ["sent 250", "refused 421", "open"]);
  });

  it("D10 an early 5xx is for the recipients that it was said for", async () => {
    await using server = await startRefuser();
    using test = await openTestSession(server, lmtp);
    const chunk = Buffer.from("0123456789abcdef\r\n".repeat(10_000));
    async function* endless() {
      for (let n = 0; n < 400; n += 1) yield chunk;
    }
    const { whole: _, ...rest } = mail;
    const { verdicts } = await test.session.transact({ ...rest, readContent: endless }, false);
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ["refused", "open", "open"],
    );
  });

  it("D12 nobody accepted, but invited to send: ends the connection, since no reply would come", async () => {
    await using server = await startInviter();
    using test = await openTestSession(server, lmtp);
    const { verdicts } = await test.session.transact(mail, false);
    assert.deepEqual(
      verdicts.map(({ kind }) => kind),
      ["refused", "refused", "refused"],
    );
    assert.equal(test.session.isReusable, false);
  });

  it("carries one message after the other", async () => {
    await using server = await FakeSmtpServer.start({ ...lmtp });
    using test = await openTestSession(server, lmtp);
    for (let number = 1; number <= 3; number += 1) {
      const { verdicts } = await test.session.transact(mail, number === 2);
      assert.ok(verdicts.every(({ kind }) => kind === "sent"));
    }
    assert.equal(server.messages.length, 9);
    assert.equal(server.totalConnections, 1);
  });

  it("says LHLO again under TLS", async () => {
    const tls = testCertificates().make({ names: ["mx.test.example"] });
    await using server = await FakeSmtpServer.start({ ...lmtp, tls, keywordsUnderTls: ["DSN"] });
    using test = await openTestSession(server, { ...lmtp, tls: testPolicy("verify") });
    assert.equal(test.refusal, undefined);
    assert.deepEqual([...test.session.offers.keys()], ["DSN"]);
  });

  for (const [name, behaviour, reason] of [
    [
      "hangs",
      { hangs: true },
      `conversation with ${host} timed out while performing the LHLO handshake`,
    ],
    [
      "drips",
      { dripMs: 60 },
      `conversation with ${host} timed out while performing the LHLO handshake`,
    ],
    ["cuts", { cut: "before" }, `lost connection with ${host} while performing the LHLO handshake`],
    ["says 421", { reply: "421 4.3.2 bye" }, `host ${host} refused to talk to me: 421 4.3.2 bye`],
    [
      "refuses",
      { reply: "500 5.5.1 what?" },
      `host ${host} refused to talk to me: 500 5.5.1 what?`,
    ],
    [
      "speaks garbage",
      { reply: "\u0007 SSH-2.0" },
      `host ${host} refused to talk to me: ? SSH-2.0`,
    ],
    [
      "says it in several lines",
      { reply: "450-4.3.2 not\r\n450 4.3.2 now" },
      `host ${host} refused to talk to me: 450-4.3.2 not 450 4.3.2 now`,
    ],
    [
      "floods",
      { reply: `250-${"x".repeat(70_000)}` },
      `lost connection with ${host} while performing the LHLO handshake`,
    ],
  ] as const) {
    it(`a server that ${name} at LHLO: ${reason.slice(0, 30)}…`, async () => {
      await using server = await FakeSmtpServer.start({ ...lmtp, decide: at("ehlo", behaviour) });
      const lhlo = name === "hangs" || name === "drips" ? 300 : 5_000;
      using test = await openTestSession(server, lmtp, testSettings({}, { lhlo }));
      assert.equal(test.refusal?.reason, reason);
      assert.equal(test.refusal.isPermanent, name === "refuses");
    });
  }

  it("goes over a UNIX socket", async () => {
    const directory = mkdtempSync(join(tmpdir(), "lmtp-"));
    const address = join(directory, "socket");
    const lines: string[] = [];
    const server = createServer((socket) => {
      socket.write("220 local LMTP\r\n");
      socket.on("data", (bytes) => {
        for (const line of bytes.toString("latin1").split("\r\n").filter(Boolean)) {
          lines.push(line);
          if (line === "DATA") socket.write("354 go\r\n");
          else if (line === ".") socket.write("250 2.1.5 delivered\r\n");
          else if (/^(?:LHLO|MAIL|RCPT|RSET)/.test(line)) socket.write("250 ok\r\n");
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(address, resolve));
    try {
      using test = await openTestSession({ address, port: 0 }, lmtp);
      assert.equal(test.refusal, undefined);
      const { verdicts } = await test.session.transact(testMail(), false);
      assert.equal(verdicts[0]?.kind, "sent");
      assert.equal(lines[0], "LHLO mx.example.com");
      test.session.drop();
    } finally {
      await new Promise<void>((resolve) => server.close(() => resolve()));
      const gone = { address: join(directory, "none"), port: 0, bindAddress: "", timeoutMs: 1_000 };
      assert.equal(await dial(gone), "No such file or directory");
      rmSync(directory, { recursive: true });
    }
  });
});

type Answers = (line: string) => string;

async function startScripted(answers: Answers) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write("220 scripted\r\n");
    socket.on("data", (bytes) => {
      for (const line of bytes.toString("latin1").split("\r\n").filter(Boolean)) {
        const answer = answers(line);
        if (answer !== "") socket.write(`${answer}\r\n`);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}

/** Accepts all recipients, and refuses the first of them when the content begins. */
async function startRefuser() {
  let hasRefused = false;
  return await startScripted((line) => {
    if (line === "DATA") return "354 go";
    if (/^(?:LHLO|MAIL|RCPT)/.test(line)) return "250 ok";
    if (hasRefused) return "";
    hasRefused = true;
    return "552 5.3.4 too big";
  });
}

/** Refuses all recipients, and wants content all the same. */
async function startInviter() {
  return await startScripted((line) => {
    if (line.startsWith("LHLO")) return "250-me\r\n250 PIPELINING";
    if (line.startsWith("RCPT")) return "550 5.1.1 no";
    return line === "DATA" ? "354 go" : "250 ok";
  });
}
