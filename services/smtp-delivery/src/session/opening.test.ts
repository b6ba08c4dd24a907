import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer, waitFor } from "@postmq/testing";
import type { Behaviour, SmtpStage, StageEvent } from "@postmq/testing";

import { openTestSession, testMail, testParameters, testSettings } from "./session.test-support.ts";
import { openSessionSettings } from "./session-settings.ts";

const host = "mx.test.example[127.0.0.1]";
const at = (stage: SmtpStage, behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === stage ? behaviour : undefined;

type Env = Readonly<Record<string, string>>;

/** The first commands that a server hears, and what it then is believed to offer. */
async function hello(env: Env, greeting = "220 fake.example.com ESMTP") {
  const lines: string[] = [];
  await using server = await FakeSmtpServer.start({
    keywords: ["PIPELINING", "DSN"],
    decide: ({ stage, line }) => {
      if (stage === "ehlo") lines.push(line);
      return stage === "greeting" ? { reply: greeting } : undefined;
    },
  });
  const settings = await openSessionSettings(testParameters(env), () => {});
  using test = await openTestSession(server, {}, settings);
  assert.equal(test.refusal, undefined);
  const { verdicts } = await test.session.transact(testMail(), false);
  assert.equal(verdicts[0]?.kind, "sent");
  return { lines, offers: [...test.session.offers.keys()], notices: test.session.notices };
}

describe("hello", () => {
  it("D15 is EHLO with smtp_helo_name", async () => {
    const { lines, offers } = await hello({ POSTMQ_SMTP_HELO_NAME: "out.example.com" });
    assert.deepEqual(lines, ["EHLO out.example.com"]);
    assert.deepEqual(offers, ["PIPELINING", "DSN"]);
  });

  it("is HELO with smtp_never_send_ehlo, and then nothing is offered", async () => {
    const { lines, offers } = await hello({ POSTMQ_SMTP_NEVER_SEND_EHLO: "yes" });
    assert.deepEqual(lines, ["HELO mx.example.com"]);
    assert.deepEqual(offers, []);
  });

  it("is EHLO only to ESMTP without smtp_always_send_ehlo", async () => {
    const env = { POSTMQ_SMTP_ALWAYS_SEND_EHLO: "no" };
    assert.deepEqual((await hello(env)).lines, ["EHLO mx.example.com"]);
    assert.deepEqual((await hello(env, "220 old.example.com SMTP")).lines, ["HELO mx.example.com"]);
    assert.deepEqual((await hello({}, "220 old.example.com")).lines, ["EHLO mx.example.com"]);
  });

  it("D20 does not believe what smtp_discard_ehlo_keywords names", async () => {
    const { offers, notices } = await hello({ POSTMQ_SMTP_DISCARD_EHLO_KEYWORDS: "Pipelining" });
    assert.deepEqual(offers, ["DSN"]);
    assert.deepEqual(notices, ["discarding EHLO keywords: PIPELINING"]);
  });

  it("D20 asks smtp_discard_ehlo_keyword_address_maps by the server's address first", async () => {
    const maps = "inline:{{127.0.0.1 = dsn, silent-discard}}";
    const env = {
      POSTMQ_SMTP_DISCARD_EHLO_KEYWORD_ADDRESS_MAPS: maps,
      POSTMQ_SMTP_DISCARD_EHLO_KEYWORDS: "pipelining",
    };
    const { offers, notices } = await hello(env);
    assert.deepEqual(offers, ["PIPELINING"]);
    assert.deepEqual(notices, []);
    const other = await hello({
      ...env,
      POSTMQ_SMTP_DISCARD_EHLO_KEYWORD_ADDRESS_MAPS: maps.replace("127.0.0.1", "192.0.2.1"),
    });
    assert.deepEqual(other.offers, ["DSN"]);
  });

  it("D3 a server that answers EHLO with our name is us", async () => {
    await using server = await FakeSmtpServer.start({
      decide: at("ehlo", { reply: "250-MX.example.com\r\n250 DSN" }),
    });
    for (const isBestMx of [true, false]) {
      const self = { ownNames: new Set(["mx.example.com"]), nexthop: "example.net", isBestMx };
      using test = await openTestSession(server, { self });
      assert.equal(test.refusal?.isLoop, true);
      assert.equal(test.refusal.isPermanent, isBestMx);
      assert.equal(test.refusal.status, isBestMx ? "5.4.6" : "4.4.6");
      assert.equal(test.refusal.reason, "mail for example.net loops back to myself");
    }
    using unasked = await openTestSession(server);
    assert.equal(unasked.refusal, undefined);
  });

  it("D3 a greeting with our name is only told", async () => {
    await using server = await FakeSmtpServer.start({
      decide: at("greeting", { reply: "220 mx.example.com ESMTP" }),
    });
    const self = { ownNames: new Set(["mx.example.com"]), nexthop: "x", isBestMx: true };
    using test = await openTestSession(server, { self });
    assert.equal(test.refusal, undefined);
    assert.deepEqual(test.session.notices, [
      `host ${host} greeted me with my own hostname mx.example.com`,
    ]);
  });

  it("smtp_skip_5xx_greeting is for greetings only", async () => {
    for (const [stage, skips, isPermanent] of [
      ["greeting", "yes", false],
      ["greeting", "no", true],
      ["ehlo", "yes", true],
    ] as const) {
      await using server = await FakeSmtpServer.start({
        decide: at(stage, { reply: "554 5.7.1 go away" }),
      });
      const settings = testSettings({ POSTMQ_SMTP_SKIP_5XX_GREETING: skips });
      using test = await openTestSession(server, {}, settings);
      assert.equal(test.refusal?.isPermanent, isPermanent);
      assert.equal(test.refusal.status, isPermanent ? "5.7.1" : "4.7.1");
      assert.equal(test.refusal.reply?.code, 554);
    }
  });
});

describe("the end of a session", () => {
  it("does not wait for the reply to QUIT, but does with smtp_skip_quit_response = no", async () => {
    for (const skips of ["yes", "no"]) {
      let hasQuit = false;
      await using server = await FakeSmtpServer.start({
        decide: ({ stage }) => {
          if (stage !== "quit") return undefined;
          hasQuit = true;
          return { hangs: true };
        },
      });
      const settings = testSettings({ POSTMQ_SMTP_SKIP_QUIT_RESPONSE: skips }, { quit: 400 });
      using test = await openTestSession(server, {}, settings);
      const startMs = performance.now();
      test.session.quit();
      assert.equal(test.session.isReusable, false);
      assert.equal(test.session.destroyed, skips === "yes");
      await waitFor(() => hasQuit);
      await waitFor(() => test.session.destroyed);
      if (skips === "no") assert.ok(performance.now() - startMs >= 350);
      await waitFor(() => !test.holdsToken());
    }
  });

  it("awaited, comes with the reply", async () => {
    await using server = await FakeSmtpServer.start();
    const settings = testSettings({ POSTMQ_SMTP_SKIP_QUIT_RESPONSE: "no" });
    using test = await openTestSession(server, {}, settings);
    const startMs = performance.now();
    test.session.quit();
    test.session.quit();
    await waitFor(() => !test.holdsToken());
    assert.ok(performance.now() - startMs < 30_000);
  });

  it("D9 D27 comes after a protocol error, not after an ordinary refusal", async () => {
    for (const [reply, isReusable] of [
      ["550 5.1.1 unknown", true],
      ["450 4.2.0 later", true],
      ["500 5.5.2 what?", false],
      ["503 5.5.1 sequence", false],
      ["509 x", false],
      ["510 5.1.1 x", true],
      ["555 5.5.4 parameters", false],
      ["354 what?", false],
      ["nonsense", false],
    ] as const) {
      await using server = await FakeSmtpServer.start({ decide: at("rcpt", { reply }) });
      using test = await openTestSession(server);
      await test.session.transact(testMail(), false);
      assert.equal(test.session.isReusable, isReusable, reply);
      assert.equal(test.session.mayBeKept, isReusable, reply);
    }
  });
});
