/**
 * What tests of a single session stand on: a dialled session with short deadlines, a token that tells whether it is out, and
 * TLS policies that judge by the chain alone.
 */
import assert from "node:assert/strict";
import { isIP } from "node:net";

import { loadParameters } from "@postmq/config";
import { testCertificates } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";

import type { TlsLevel, TlsPolicy, TlsVerdict } from "../tls/tls-policy.ts";
import { dial } from "./dial.ts";
import type { Stage } from "./reply-verdict.ts";
import { openLogins } from "./sasl-credentials.ts";
import type { Login } from "./sasl-credentials.ts";
import { sessionSettings } from "./session-settings.ts";
import type { SessionSettings } from "./session-settings.ts";
import { SmtpSession } from "./smtp-session.ts";
import type { MailToSend, SessionRefusal, SessionWishes } from "./smtp-session.ts";

type Env = Readonly<Record<string, string>>;

export function testParameters(env: Env = {}) {
  return loadParameters({
    env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_DATA_DIRECTORY: "", ...env },
    service: "smtp-delivery",
  });
}

/** @param deadlinesMs of stages that are to be short; others have time enough on a busy machine */
export function testSettings(
  env: Env = {},
  deadlinesMs: Partial<Record<Stage, number>> = {},
): SessionSettings {
  const settings = sessionSettings(testParameters(env));
  return { ...settings, timeoutsMs: { ...settings.timeoutsMs, ...deadlinesMs } };
}

export type TestSession = {
  readonly session: SmtpSession;
  readonly refusal: SessionRefusal | undefined;
  /** Is its token out? */
  readonly holdsToken: () => boolean;
  [Symbol.dispose](): void;
};

export async function openTestSession(
  server: { readonly port: number; readonly address?: string },
  wishes: SessionWishes = {},
  settings: SessionSettings = testSettings(),
): Promise<TestSession> {
  const { port, address = "127.0.0.1" } = server;
  const socket = await dial({ address, port, bindAddress: "", timeoutMs: 5_000 });
  assert.ok(typeof socket !== "string", "no connection");
  let isOut = true;
  const token = { name: "test", [Symbol.dispose]: () => void (isOut = false) };
  const name = { host: "mx.test.example", address, port };
  const session = new SmtpSession(socket, name, settings, token, wishes);
  const refusal = await session.begin();
  return {
    session,
    refusal,
    holdsToken: () => isOut,
    [Symbol.dispose]: () => session.drop(),
  };
}

/** Accepts any certificate up to encrypt; above it, one that the test authority signed. */
export function testPolicy(level: TlsLevel, changes: Partial<TlsPolicy> = {}): TlsPolicy {
  const mustVerify = level !== "may" && level !== "encrypt";
  return {
    level,
    startsWithTls: false,
    mayReuse: true,
    key: level,
    allowsHost: () => true,
    connectOptions: (mxHost) => ({
      ca: testCertificates().authority,
      rejectUnauthorized: false,
      ...(isIP(mxHost) === 0 ? { servername: mxHost } : {}),
    }),
    judge: (socket): TlsVerdict => {
      if (socket.authorized) return { kind: "accepted", trust: "Verified" };
      if (!mustVerify) return { kind: "accepted", trust: "Untrusted" };
      const reason = "Server certificate not verified";
      const status = enhancedStatus("4.7.5");
      return { kind: "refused", trust: "Untrusted", status, reason, detail: "self-signed" };
    },
    ...changes,
  };
}

/** A login with user `joe` and the secret given; PLAIN and LOGIN are allowed unless `env` says otherwise. */
export async function testLogin(password: string, env: Env = {}): Promise<Login> {
  const parameters = testParameters({
    POSTMQ_SMTP_SASL_AUTH_ENABLE: "yes",
    POSTMQ_SMTP_SASL_PASSWORD_MAPS: `static:{joe:${password}}`,
    POSTMQ_SMTP_SASL_SECURITY_OPTIONS: "noanonymous",
    ...env,
  });
  const logins = await openLogins(parameters, () => {});
  const login = logins?.find({ sender: "", host: "mx.test.example", nexthop: "test.example" });
  assert.ok(login !== undefined);
  return login;
}

export function testMail(changes: Partial<MailToSend> = {}): MailToSend {
  return {
    mailCommand: "MAIL FROM:<a@example.com>",
    rcptCommands: ["RCPT TO:<b@example.net>"],
    whole: Buffer.from("Subject: x\r\n\r\nhello\r\n"),
    readContent: async function* none() {},
    approveDot: async () => true,
    ...changes,
  };
}
