import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer, testCertificates, waitFor } from "@postmq/testing";
import type { Behaviour, SmtpStage, StageEvent } from "@postmq/testing";

import { openTestSession, testMail, testPolicy, testSettings } from "./session.test-support.ts";

const good = () => testCertificates().make({ names: ["mx.test.example"] });
const bad = () => testCertificates().make({ issuer: "self" });

const at = (stage: SmtpStage, behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === stage ? behaviour : undefined;
/** Only at the EHLO after the handshake. */
const atSecondHello = (behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === "ehlo" && event.tls !== undefined ? behaviour : undefined;

const host = "mx.test.example[127.0.0.1]";
const shortly = testSettings({}, { starttls: 200 });

describe("STARTTLS", () => {
  it("D24 is used where it is offered, and tells what was agreed", async () => {
    await using server = await FakeSmtpServer.start({ tls: good() });
    using test = await openTestSession(server, { tls: testPolicy("may") });
    assert.equal(test.refusal, undefined);
    const { session } = test;
    assert.deepEqual(session.tls, {
      level: "may",
      trust: "Verified",
      protocol: "TLSv1.3",
      cipher: "TLS_AES_256_GCM_SHA384",
      bits: 256,
    });
    const { verdicts } = await session.transact(testMail(), false);
    assert.equal(verdicts[0]?.kind, "sent");
    assert.equal(server.messages[0]?.tls?.protocol, "TLSv1.3");
    assert.equal(server.messages[0]?.tls?.servername, "mx.test.example");
  });

  it("names no host to the server when the policy names none", async () => {
    await using server = await FakeSmtpServer.start({ tls: good() });
    const tls = testPolicy("may", { connectOptions: () => ({ rejectUnauthorized: false }) });
    using test = await openTestSession(server, { tls });
    await test.session.transact(testMail(), false);
    assert.equal(server.messages[0]?.tls?.protocol, "TLSv1.3");
    assert.equal(server.messages[0]?.tls?.servername, undefined);
  });

  it("is never used at level none, or without a policy", async () => {
    for (const wishes of [{}, { tls: testPolicy("none") }]) {
      await using server = await FakeSmtpServer.start({ tls: good() });
      using test = await openTestSession(server, wishes);
      await test.session.transact(testMail(), false);
      assert.equal(server.messages[0]?.tls, undefined);
      assert.equal(test.session.tls, undefined);
    }
  });

  it("level may goes on in plain text where it is not offered, or refused", async () => {
    const cases = [{}, { tls: good(), decide: at("starttls", { reply: "454 4.7.0 no TLS" }) }];
    for (const options of cases) {
      await using server = await FakeSmtpServer.start(options);
      using test = await openTestSession(server, { tls: testPolicy("may") });
      assert.equal(test.refusal, undefined);
      const { verdicts } = await test.session.transact(testMail(), false);
      assert.equal(verdicts[0]?.kind, "sent");
      assert.equal(server.messages[0]?.tls, undefined);
    }
  });

  it("D22 a required level defers with 4.7.4 where it is not offered", async () => {
    await using server = await FakeSmtpServer.start();
    for (const level of ["encrypt", "verify", "secure", "fingerprint"] as const) {
      using test = await openTestSession(server, { tls: testPolicy(level) });
      assert.equal(test.refusal?.status, "4.7.4");
      assert.equal(test.refusal.isPermanent, false);
      assert.equal(test.refusal.mayTryPlain, false);
      assert.equal(test.refusal.isSiteTrouble, true);
      assert.equal(test.refusal.reason, `TLS is required, but was not offered by host ${host}`);
    }
    assert.equal(server.messages.length, 0);
  });

  it("D22 a required level defers where the server knows only HELO", async () => {
    const decide = ({ stage, line }: StageEvent) =>
      stage === "ehlo" && line.startsWith("EHLO") ? { reply: "502 what?" } : undefined;
    await using server = await FakeSmtpServer.start({ tls: good(), decide });
    using test = await openTestSession(server, { tls: testPolicy("encrypt") });
    assert.equal(test.refusal?.status, "4.7.4");
  });

  it("D22 a refused STARTTLS is no reason to bounce, not even with 5xx", async () => {
    const decide = at("starttls", { reply: "554 5.7.3 not for you" });
    await using server = await FakeSmtpServer.start({ tls: good(), decide });
    using test = await openTestSession(server, { tls: testPolicy("encrypt") });
    assert.equal(test.refusal?.isPermanent, false);
    assert.equal(test.refusal.status, "4.7.3");
    assert.match(test.refusal.reason, /^TLS is required, but host .* refused to start TLS: 554/);
    assert.equal(test.refusal.mayTryPlain, false);
  });

  it("a 421 to STARTTLS ends the session at any level", async () => {
    const decide = at("starttls", { reply: "421 4.3.2 going down" });
    await using server = await FakeSmtpServer.start({ tls: good(), decide });
    for (const level of ["may", "encrypt"] as const) {
      using test = await openTestSession(server, { tls: testPolicy(level) });
      assert.equal(
        test.refusal?.reason,
        `host ${host} refused to talk to me: 421 4.3.2 going down`,
      );
    }
  });

  it("D22 a certificate that the policy refuses defers with 4.7.5, and nothing is sent", async () => {
    await using server = await FakeSmtpServer.start({ tls: bad() });
    using test = await openTestSession(server, { tls: testPolicy("verify") });
    assert.equal(test.refusal?.status, "4.7.5");
    assert.equal(test.refusal.reason, "Server certificate not verified");
    assert.equal(test.refusal.isPermanent, false);
    assert.equal(test.refusal.mayTryPlain, false);
    assert.equal(test.session.tls?.trust, "Untrusted");
  });

  for (const [name, behaviour] of [
    ["garbage instead of a handshake", { reply: "this is no TLS" }],
    ["a cut connection", { cut: "before" }],
    ["silence", { hangs: true }],
  ] as const) {
    it(`D23 ${name}: level may allows plain text at the same address, others do not`, async () => {
      await using server = await FakeSmtpServer.start({
        tls: good(),
        decide: at("tls", behaviour),
      });
      for (const level of ["may", "encrypt"] as const) {
        using test = await openTestSession(server, { tls: testPolicy(level) }, shortly);
        assert.equal(test.refusal?.status, "4.7.5");
        assert.equal(test.refusal.reason, "Cannot start TLS: handshake failure");
        assert.equal(test.refusal.isPermanent, false);
        assert.equal(test.refusal.mayTryPlain, level === "may");
        assert.equal(test.refusal.isSiteTrouble, level !== "may");
      }
    });
  }

  it("D23 a session that breaks under optional TLS may be tried without", async () => {
    await using server = await FakeSmtpServer.start({
      tls: good(),
      decide: atSecondHello({ cut: "before" }),
    });
    for (const level of ["may", "encrypt"] as const) {
      using test = await openTestSession(server, { tls: testPolicy(level) });
      assert.equal(test.refusal?.status, "4.4.2");
      assert.equal(
        test.refusal.reason,
        `lost connection with ${host} while performing the EHLO handshake`,
      );
      assert.equal(test.refusal.mayTryPlain, level === "may");
    }
  });

  it("starts afresh after the handshake: what was offered in plain text is forgotten", async () => {
    await using server = await FakeSmtpServer.start({
      tls: good(),
      keywords: ["PIPELINING", "SIZE 1", "AUTH PLAIN"],
      keywordsUnderTls: ["SIZE 2000"],
    });
    using test = await openTestSession(server, { tls: testPolicy("may") });
    assert.deepEqual([...test.session.offers], [["SIZE", "2000"]]);
  });

  it("throws away what came in plain text before the handshake (CVE-2011-0411)", async () => {
    const injected = "250-evil.example.com\r\n250-AUTH PLAIN\r\n250 SIZE 1\r\n250 par";
    await using server = await FakeSmtpServer.start({
      tls: good(),
      keywordsUnderTls: ["SIZE 2000"],
      decide: at("starttls", { reply: `220 go ahead\r\n${injected}` }),
    });
    using test = await openTestSession(server, { tls: testPolicy("may") });
    assert.equal(test.refusal, undefined);
    assert.deepEqual([...test.session.offers], [["SIZE", "2000"]]);
    const { verdicts } = await test.session.transact(testMail(), false);
    assert.equal(verdicts[0]?.kind, "sent");
  });

  it("has a deadline of its own for the reply and for the handshake", async () => {
    const settings = testSettings({}, { starttls: 150 });
    for (const stage of ["starttls", "tls"] as const) {
      await using server = await FakeSmtpServer.start({
        tls: good(),
        decide: at(stage, { hangs: true }),
      });
      const startMs = performance.now();
      using test = await openTestSession(server, { tls: testPolicy("encrypt") }, settings);
      assert.ok(performance.now() - startMs < 30_000);
      const { reason = "" } = test.refusal ?? {};
      if (stage === "tls") assert.equal(reason, "Cannot start TLS: handshake failure");
      else {
        assert.equal(
          reason,
          `conversation with ${host} timed out while receiving the STARTTLS response`,
        );
      }
    }
  });

  it("falls back to HELO under TLS when the second EHLO is refused", async () => {
    const decide = ({ stage, tls, line }: StageEvent) =>
      stage === "ehlo" && tls !== undefined && line.startsWith("EHLO")
        ? { reply: "502 5.5.1 what?" }
        : undefined;
    await using server = await FakeSmtpServer.start({ tls: good(), decide });
    using test = await openTestSession(server, { tls: testPolicy("encrypt") });
    assert.equal(test.refusal, undefined);
    assert.equal(test.session.offers.size, 0);
    const { verdicts } = await test.session.transact(testMail(), false);
    assert.equal(verdicts[0]?.kind, "sent");
  });

  it("comes before the greeting where it is implicit", async () => {
    await using server = await FakeSmtpServer.start({ tls: good(), isTlsImplicit: true });
    using test = await openTestSession(server, {
      tls: testPolicy("verify", { startsWithTls: true }),
    });
    assert.equal(test.refusal, undefined);
    assert.equal(test.session.tls?.trust, "Verified");
    const { verdicts } = await test.session.transact(testMail(), false);
    assert.equal(verdicts[0]?.kind, "sent");
  });

  it("implicit: a bad certificate, garbage, silence, a cut", async () => {
    for (const [options, reason] of [
      [{ tls: bad() }, "Server certificate not verified"],
      [{ decide: at("tls", { reply: "220 plain" }) }, "Cannot start TLS: handshake failure"],
      [{ decide: at("tls", { hangs: true }) }, "Cannot start TLS: handshake failure"],
      [{ decide: at("tls", { cut: "before" }) }, "Cannot start TLS: handshake failure"],
    ] as const) {
      await using server = await FakeSmtpServer.start({
        tls: good(),
        isTlsImplicit: true,
        ...options,
      });
      const wishes = { tls: testPolicy("verify", { startsWithTls: true }) };
      using test = await openTestSession(server, wishes, shortly);
      assert.equal(test.refusal?.reason, reason);
      assert.equal(test.refusal.status, "4.7.5");
    }
  });

  it("P7: the token goes back when the TLS connection is closed, by whichever side", async () => {
    await using server = await FakeSmtpServer.start({ tls: good() });
    for (const end of ["quit", "drop", "server"] as const) {
      using test = await openTestSession(server, { tls: testPolicy("may") });
      assert.ok(test.holdsToken());
      if (end === "server") server.cutAll();
      else test.session[end]();
      await waitFor(() => !test.holdsToken());
      assert.equal(test.session.isReusable, false);
    }
  });

  it("D27 a session under TLS is kept only if the policy allows it", async () => {
    await using server = await FakeSmtpServer.start({ tls: good() });
    for (const mayReuse of [true, false]) {
      using test = await openTestSession(server, { tls: testPolicy("may", { mayReuse }) });
      assert.equal(test.session.isReusable, true);
      assert.equal(test.session.mayBeKept, mayReuse);
    }
  });

  it("sends large content under TLS", async () => {
    await using server = await FakeSmtpServer.start({ tls: good() });
    using test = await openTestSession(server, { tls: testPolicy("may") });
    const chunk = Buffer.from("0123456789abcdef\r\n".repeat(20_000));
    const mail = testMail();
    const { whole: _, ...rest } = mail;
    const { verdicts } = await test.session.transact(
      {
        ...rest,
        readContent: async function* four() {
          for (let n = 0; n < 4; n += 1) yield chunk;
        },
      },
      false,
    );
    assert.equal(verdicts[0]?.kind, "sent");
    assert.equal(server.messages[0]?.content.length, chunk.length * 4);
  });
});
