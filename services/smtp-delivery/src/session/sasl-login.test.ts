import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inspect } from "node:util";

import { FakeSmtpServer, testCertificates } from "@postmq/testing";
import type { Behaviour, Credentials, StageEvent } from "@postmq/testing";

import {
  openTestSession,
  testLogin,
  testMail,
  testPolicy,
  testSettings,
} from "./session.test-support.ts";

const canary = "c4n4ry-s3cret";
const host = "mx.test.example[127.0.0.1]";
const atAuth = (behaviour: Behaviour) => (event: StageEvent) =>
  event.stage === "auth" ? behaviour : undefined;

/** Every form in which the secret could leak. */
function assertNoSecret(shown: unknown): void {
  const text = typeof shown === "string" ? shown : inspect(shown, { depth: 12, showHidden: true });
  const encoded = [canary, `\0joe\0${canary}`].map((one) => Buffer.from(one).toString("base64"));
  for (const secret of [canary, ...encoded]) assert.ok(!text.includes(secret));
}

async function logInTo(
  keywords: readonly string[],
  options: {
    readonly decide?: FakeSmtpServer["decide"];
    readonly env?: Readonly<Record<string, string>>;
    readonly password?: string;
    readonly deadlineMs?: number;
  } = {},
) {
  const seen: Credentials[] = [];
  const lines: string[] = [];
  const server = await FakeSmtpServer.start({
    keywords,
    decide: async (event) => {
      if (event.credentials !== undefined) seen.push(event.credentials);
      if (event.stage === "auth") lines.push(event.line);
      return await options.decide?.(event);
    },
  });
  const login = await testLogin(options.password ?? canary, options.env);
  const settings = testSettings({}, { auth: options.deadlineMs ?? 5_000 });
  const test = await openTestSession(server, { login }, settings);
  return {
    ...test,
    server,
    seen,
    lines,
    [Symbol.asyncDispose]: async () => {
      test[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe("AUTH", () => {
  for (const mechanism of ["PLAIN", "LOGIN"] as const) {
    it(`logs in with ${mechanism} before the first mail`, async () => {
      await using test = await logInTo([`AUTH ${mechanism}`]);
      assert.equal(test.refusal, undefined);
      assert.equal(test.seen.length, 1);
      const { mechanism: used, user, password } = test.seen[0] ?? {};
      assert.deepEqual([used, user, password], [mechanism, "joe", canary]);
      assert.ok(test.session.credentialsKey !== undefined);
      const { verdicts } = await test.session.transact(testMail(), false);
      assert.equal(verdicts[0]?.kind, "sent");
    });
  }

  it("logs in with CRAM-MD5 and XOAUTH2, and never says a password with the first", async () => {
    await using md5 = await logInTo(["AUTH CRAM-MD5 PLAIN"]);
    assert.equal(md5.refusal, undefined);
    assert.equal(md5.seen[0]?.mechanism, "CRAM-MD5");
    assertNoSecret(md5.seen);
    await using token = await logInTo(["AUTH XOAUTH2"]);
    assert.equal(token.refusal, undefined);
    assert.deepEqual(token.seen[0]?.answers, [`user=joe\u0001auth=Bearer ${canary}\u0001\u0001`]);
  });

  it("understands AUTH=PLAIN and AUTH said twice", async () => {
    await using test = await logInTo(["AUTH GSSAPI", "AUTH=PLAIN LOGIN"]);
    assert.equal(test.seen[0]?.mechanism, "PLAIN");
  });

  it("sends what makes the command too long after it", async () => {
    const password = "x".repeat(600);
    await using test = await logInTo(["AUTH PLAIN"], { password });
    assert.equal(test.refusal, undefined);
    assert.deepEqual(test.lines, ["AUTH PLAIN"]);
    assert.equal(test.seen[0]?.password, password);
  });

  it("talks as a stranger to a server that offers no AUTH, or for which there are no credentials", async () => {
    await using test = await logInTo(["PIPELINING"]);
    assert.equal(test.refusal, undefined);
    assert.equal(test.session.credentialsKey, undefined);
    await using server = await FakeSmtpServer.start({ keywords: ["AUTH PLAIN"] });
    using stranger = await openTestSession(server);
    assert.equal(stranger.refusal, undefined);
    assert.equal(stranger.session.credentialsKey, undefined);
  });

  it("defers with 4.7.0 when there is no mechanism in common", async () => {
    await using test = await logInTo(["AUTH PLAIN LOGIN"], {
      env: { POSTMQ_SMTP_SASL_SECURITY_OPTIONS: "noplaintext, noanonymous" },
    });
    assert.equal(test.refusal?.status, "4.7.0");
    assert.equal(test.refusal.isPermanent, false);
    assert.equal(
      test.refusal.reason,
      `SASL authentication failed: server ${host} offered no compatible authentication mechanisms for this type of connection security`,
    );
    assert.deepEqual(test.seen, []);
  });

  it("says the password under TLS where it may not in plain text", async () => {
    await using server = await FakeSmtpServer.start({
      tls: testCertificates().make({ names: ["mx.test.example"] }),
      keywords: ["AUTH PLAIN"],
    });
    const login = await testLogin(canary, {
      POSTMQ_SMTP_SASL_SECURITY_OPTIONS: "noplaintext",
      POSTMQ_SMTP_SASL_TLS_SECURITY_OPTIONS: "noanonymous",
    });
    using plain = await openTestSession(server, { login });
    assert.equal(plain.refusal?.status, "4.7.0");
    using secure = await openTestSession(server, { login, tls: testPolicy("encrypt") });
    assert.equal(secure.refusal, undefined);
    assert.ok(secure.session.credentialsKey !== undefined);
  });

  it("wants less of a mechanism where the server has proven its name", async () => {
    const env = {
      POSTMQ_SMTP_SASL_SECURITY_OPTIONS: "noplaintext",
      POSTMQ_SMTP_SASL_TLS_VERIFIED_SECURITY_OPTIONS: "noanonymous",
    };
    for (const issuer of ["authority", "self"] as const) {
      await using server = await FakeSmtpServer.start({
        tls: testCertificates().make({ names: ["mx.test.example"], issuer }),
        keywords: ["AUTH PLAIN"],
      });
      const login = await testLogin(canary, env);
      using test = await openTestSession(server, { login, tls: testPolicy("encrypt") });
      assert.equal(test.refusal?.status, issuer === "self" ? "4.7.0" : undefined);
    }
  });

  it("a refused login defers, whatever the code, unless smtp_sasl_auth_soft_bounce is no", async () => {
    const decide = atAuth({ reply: "535 5.7.8 bad credentials" });
    await using soft = await logInTo(["AUTH PLAIN"], { decide });
    assert.equal(soft.refusal?.isPermanent, false);
    assert.equal(soft.refusal.status, "4.7.8");
    assert.equal(
      soft.refusal.reason,
      `SASL authentication failed; server ${host} said: 535 5.7.8 bad credentials`,
    );
    assert.equal(soft.refusal.reply?.code, 535);
    const env = { POSTMQ_SMTP_SASL_AUTH_SOFT_BOUNCE: "no" };
    await using hard = await logInTo(["AUTH PLAIN"], { decide, env });
    assert.equal(hard.refusal?.isPermanent, true);
    assert.equal(hard.refusal.status, "5.7.8");
    await using later = await logInTo(["AUTH PLAIN"], {
      decide: atAuth({ reply: "454 4.7.0 later" }),
      env,
    });
    assert.equal(later.refusal?.isPermanent, false);
  });

  it("a server that asks on and on, or what the mechanism has no answer to, is given up", async () => {
    for (const keywords of [["AUTH PLAIN"], ["AUTH LOGIN"], ["AUTH CRAM-MD5"], ["AUTH XOAUTH2"]]) {
      // Whatever comes afterwards is answered with the same question.
      await using test = await logInTo(keywords, {
        decide: atAuth({ reply: "334 Zm9v" }),
        deadlineMs: 300,
      });
      assert.equal(test.refusal?.isPermanent, false);
      assertNoSecret(test.refusal);
    }
  });

  for (const [name, behaviour, reason] of [
    ["hangs", { hangs: true }, `conversation with ${host} timed out while`],
    ["drips", { dripMs: 60 }, `conversation with ${host} timed out while`],
    ["cuts", { cut: "before" }, `lost connection with ${host} while`],
    ["says 421", { reply: "421 4.3.2 bye" }, "SASL authentication failed; server"],
    ["says garbage", { reply: "\u0001\u00ffhello" }, "SASL authentication failed; server"],
    [
      "says several lines",
      { reply: "535-5.7.8 no\r\n535 5.7.8 really" },
      "SASL authentication failed; server",
    ],
    ["floods", { reply: `535-${"x".repeat(70_000)}` }, `lost connection with ${host} while`],
  ] as const) {
    it(`a server that ${name} at AUTH defers the mail and learns nothing of it`, async () => {
      await using test = await logInTo(["AUTH PLAIN"], {
        decide: atAuth(behaviour),
        deadlineMs: 200,
      });
      assert.ok(test.refusal?.reason.startsWith(reason) === true, test.refusal?.reason ?? "none");
      assert.ok(test.refusal !== undefined);
      assert.equal(test.refusal.isPermanent, false);
      assert.equal(test.session.credentialsKey, undefined);
      assert.equal(test.server.messages.length, 0);
      assertNoSecret(test.refusal);
    });
  }

  it("never shows the secret, not even when the server repeats it", async () => {
    const said = Buffer.from(`\0joe\0${canary}`).toString("base64");
    for (const reply of [`535 5.7.8 ${canary} is wrong`, `501 5.5.4 bad: AUTH PLAIN ${said}`]) {
      await using test = await logInTo(["AUTH PLAIN"], { decide: atAuth({ reply }) });
      assert.ok(test.refusal !== undefined);
      assertNoSecret(test.refusal);
      assert.match(test.refusal.reason, /\[secret\]/);
    }
  });

  it("takes a code for a code, even if it is the password", async () => {
    await using test = await logInTo(["AUTH PLAIN"], { password: "235" });
    assert.equal(test.refusal, undefined);
  });

  it("leaves no secret in the session, in what it emits or in what it tells", async () => {
    await using test = await logInTo(["AUTH PLAIN", "PIPELINING"]);
    const { lastServerResponse: _, ...session } = test.session;
    assertNoSecret({ ...session, notices: test.session.notices, key: test.session.credentialsKey });
    const { verdicts } = await test.session.transact(testMail(), false);
    assertNoSecret(verdicts);
  });
});
