/** What a server can do wrong at each stage: no session waits longer than its deadlines, and none is used again. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";

import { FakeSmtpServer, testCertificates, waitFor } from "@postmq/testing";
import type { Behaviour, SmtpStage, StageEvent } from "@postmq/testing";

import type { Stage } from "./reply-verdict.ts";
import { openTestSession, testMail, testPolicy, testSettings } from "./session.test-support.ts";
import { SmtpSession } from "./smtp-session.ts";

const host = "mx.test.example[127.0.0.1]";
/** Short where the test has to wait for it. */
const deadlineOf = (stage: Stage, fault: Fault) =>
  testSettings({}, { [stage]: isSlow(fault) ? 300 : 60_000 });
/** Less than a deadline, and room for a machine that has much to do. */
const shortMs = 30_000;
const isSlow = (fault: Fault) => fault === "hang" || fault === "drip";

const faults = {
  hang: { hangs: true },
  cut: { cut: "before" },
  drip: { dripMs: 100 },
  closing: { reply: "421-4.3.2 going\r\n421 4.3.2 down" },
  garbage: { reply: "\u0007\u00fe SSH-2.0-nothing" },
  flood: { reply: `250-${"x".repeat(70_000)}` },
} as const satisfies Readonly<Record<string, Behaviour>>;
type Fault = keyof typeof faults;
const allFaults = Object.keys(faults) as Fault[];

const beforeTls = (wanted: SmtpStage) => (event: StageEvent) =>
  event.stage === wanted && event.tls === undefined;
/** Stages before a session stands: where the server fails, and where the session takes itself to be. */
const openingStages = [
  ["greeting", "greeting", beforeTls("greeting"), "receiving the initial server greeting"],
  ["EHLO", "ehlo", beforeTls("ehlo"), "performing the EHLO handshake"],
  ["STARTTLS", "starttls", beforeTls("starttls"), "receiving the STARTTLS response"],
  [
    "EHLO under TLS",
    "ehlo",
    ({ stage, tls }: StageEvent) => stage === "ehlo" && tls !== undefined,
    "performing the EHLO handshake",
  ],
] as const;

describe("a fault before the session stands", { concurrency: 12 }, () => {
  for (const [name, stage, isAt, activity] of openingStages) {
    for (const fault of allFaults) {
      it(`${fault} at ${name} defers, within its deadline`, async () => {
        await using server = await FakeSmtpServer.start({
          tls: testCertificates().make({ names: ["mx.test.example"] }),
          decide: (event) => (isAt(event) ? faults[fault] : undefined),
        });
        const startMs = performance.now();
        const wishes = { tls: testPolicy("encrypt") };
        using test = await openTestSession(server, wishes, deadlineOf(stage, fault));
        assert.ok(performance.now() - startMs < shortMs);
        assert.ok(test.refusal !== undefined);
        assert.equal(test.refusal.isPermanent, false);
        assert.equal(test.refusal.status.startsWith("4."), true);
        const lost = `lost connection with ${host} while ${activity}`;
        const late = `conversation with ${host} timed out while ${activity}`;
        if (isSlow(fault)) assert.equal(test.refusal.reason, late);
        if (fault === "cut" || fault === "flood") assert.equal(test.refusal.reason, lost);
        if (fault === "closing")
          assert.match(test.refusal.reason, /: 421-4\.3\.2 going 421 4\.3\.2 down$/);
        test.session.drop();
        await waitFor(() => !test.holdsToken());
      });
    }
  }
});

describe("a fault in a transaction", { concurrency: 12 }, () => {
  for (const stage of ["mail", "rcpt", "data", "dot"] as const) {
    for (const keywords of [["PIPELINING"], []]) {
      for (const fault of allFaults) {
        const how = keywords.length === 0 ? "one by one" : "pipelined";
        it(`D6 D7 ${fault} at ${stage}, ${how}: one verdict per recipient, and no reuse`, async () => {
          await using server = await FakeSmtpServer.start({
            keywords,
            decide: (event) => (event.stage === stage ? faults[fault] : undefined),
          });
          using test = await openTestSession(server, {}, deadlineOf(stage, fault));
          const rcptCommands = ["RCPT TO:<b@example.net>", "RCPT TO:<c@example.net>"];
          const startMs = performance.now();
          const { verdicts, broken } = await test.session.transact(
            testMail({ rcptCommands }),
            false,
          );
          assert.ok(performance.now() - startMs < shortMs);
          assert.equal(verdicts.length, 2);
          assert.ok(verdicts.every(({ kind }) => kind !== "sent"));
          assert.equal(test.session.mayBeKept, false);
          const [first] = verdicts;
          if (fault === "closing" || fault === "garbage") {
            assert.equal(first?.kind, "refused");
            assert.equal(first.reply.code, fault === "closing" ? 421 : 0);
          } else {
            assert.equal(first?.kind, "open");
            assert.equal(broken?.how, isSlow(fault) ? "timedOut" : "lost");
          }
          test.session.drop();
          await waitFor(() => !test.holdsToken());
        });
      }
    }
  }

  it("D7 a reply of several lines is one reply", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) =>
        stage === "dot"
          ? { reply: "250-2.0.0 one\r\n250-2.0.0 two\r\n250 2.0.0 three" }
          : undefined,
    });
    using test = await openTestSession(server);
    const { verdicts } = await test.session.transact(testMail(), false);
    assert.equal(verdicts[0]?.kind, "sent");
    assert.equal(verdicts[0].reply.text, "250-2.0.0 one 250-2.0.0 two 250 2.0.0 three");
    assert.equal(test.session.isReusable, true);
  });
});

describe("a connection that has ended before its session begins", () => {
  for (const [line, wishes] of [
    ["plain", {}],
    ["implicit TLS", { tls: testPolicy("encrypt", { startsWithTls: true }) }],
  ] as const) {
    for (const event of ["end", "close"] as const) {
      it(`${line}, at its ${event}: refused in time, and its token comes back`, async () => {
        await using server = await FakeSmtpServer.start({
          decide: ({ stage }) => (stage === "greeting" ? { cut: "before" } : undefined),
        });
        const { port } = server;
        const socket = connect({ host: "127.0.0.1", port }).resume();
        await once(socket, event);
        // A turn in which nobody listens for what has come already.
        await nextTurn();
        let isOut = true;
        const token = { name: "test", [Symbol.dispose]: () => void (isOut = false) };
        const name = { host: "mx.test.example", address: "127.0.0.1", port };
        const settings = testSettings({}, { greeting: 200, starttls: 200 });
        const session = new SmtpSession(socket, name, settings, token, wishes);
        const refusal = await session.begin();
        assert.equal(refusal?.isPermanent, false);
        session.drop();
        await waitFor(() => !isOut);
      });
    }
  }
});

describe("the beginning of a reply behind a whole one", () => {
  const closing = "421-4.3.2 going";

  for (const [how, behaviour] of [
    ["and a cut", { cut: "after" }],
    ["and nothing more", {}],
  ] as const) {
    it(`D6 ${how}: mail that was taken is not sent again`, async () => {
      await using server = await FakeSmtpServer.start({
        decide: ({ stage }) =>
          stage === "dot"
            ? { ...behaviour, reply: `250 2.0.0 Ok: queued as 1\r\n${closing}` }
            : undefined,
      });
      using test = await openTestSession(server);
      const { verdicts } = await test.session.transact(testMail(), false);
      assert.deepEqual(
        verdicts.map(({ kind }) => kind),
        ["sent"],
      );
      assert.equal(test.session.isReusable, false);
    });
  }

  it("D6 after a 550 to a recipient: that recipient is refused for good", async () => {
    await using server = await FakeSmtpServer.start({
      decide: ({ stage }) =>
        stage === "rcpt"
          ? { reply: `550 5.1.1 no such user\r\n${closing}`, cut: "after" }
          : undefined,
    });
    using test = await openTestSession(server);
    const { verdicts } = await test.session.transact(testMail(), false);
    assert.deepEqual(
      verdicts.map((verdict) => verdict.kind === "refused" && verdict.reply.code),
      [550],
    );
  });
});

describe("a server that floods an idle session", () => {
  for (const [name, bytes] of [
    ["with replies nobody asked for", "250 ok\r\n".repeat(8_192)],
    ["with empty lines", "\r\n".repeat(32_768)],
    ["with a line that never ends", "x".repeat(65_536)],
  ] as const) {
    it(`${name} is dropped, before it fills our memory`, async () => {
      let isGone = false;
      const server = createServer((socket: Socket) => {
        socket.on("error", () => {});
        socket.once("close", () => (isGone = true));
        socket.write("220 flood\r\n");
        socket.once("data", () => {
          socket.write("250 flood\r\n");
          const flood = () => {
            if (!socket.destroyed) socket.write(bytes, flood);
          };
          setTimeout(flood, 50);
        });
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      using test = await openTestSession({ port });
      assert.equal(test.refusal, undefined);
      await waitFor(() => isGone);
      await waitFor(() => !test.holdsToken());
      assert.equal(test.session.isReusable, false);
      await new Promise<void>((resolve) => server.close(() => resolve()));
    });
  }
});
