/** What tests of TLS policies stand on: settings by parameter, and sessions with a real server that are judged. */
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { connect } from "node:tls";
import type { TlsOptions } from "node:tls";

import { loadParameters } from "@postmq/config";
import { FakeSmtpServer } from "@postmq/testing";
import type { TlsFacts } from "@postmq/testing";
import { panic } from "@postmq/vocabulary";

import { openTlsPolicies } from "./open-tls-policies.ts";
import type { TlsPolicyParts } from "./open-tls-policies.ts";
import { plaintext } from "./site-policy.ts";
import { tlsSettings } from "./tls-settings.ts";
import type { TlsSettings } from "./tls-settings.ts";
import type { TlsPolicies, TlsPolicy, TlsTrouble, TlsVerdict } from "./tls-policy.ts";

export function settingsOf(env: Readonly<Record<string, string>>): TlsSettings {
  const variables = Object.entries(env).map(([name, value]) => [
    `POSTMQ_${name.toUpperCase()}`,
    value,
  ]);
  return tlsSettings(
    loadParameters({
      env: { POSTMQ_MYHOSTNAME: "client.example.com", ...Object.fromEntries(variables) },
      service: "smtp-delivery",
    }),
  );
}

export type TestPolicies = TlsPolicies & { readonly warnings: string[]; readonly infos: string[] };

/** @param env parameters by name, in lower case */
export async function openPolicies(
  env: Readonly<Record<string, string>>,
  parts: Partial<TlsPolicyParts> = {},
): Promise<TestPolicies> {
  const warnings: string[] = [];
  const infos: string[] = [];
  const policies = await openTlsPolicies(settingsOf(env), {
    resolver: {
      txt: async () => ({ kind: "notFound" }),
      addresses: async () => ({ kind: "notFound" }),
    },
    onWarning: (text) => warnings.push(text),
    onInfo: (text) => infos.push(text),
    ...parts,
  });
  const policyFor = async (nexthop: string) => (await policies?.policyFor(nexthop)) ?? plaintext;
  return { policyFor, warnings, infos };
}

export function usable(policy: TlsPolicy | TlsTrouble): TlsPolicy {
  return "kind" in policy ? panic(`trouble: ${policy.reason}`) : policy;
}

export type Judged = {
  readonly verdict: TlsVerdict;
  /** As the server saw the session. */
  readonly facts: TlsFacts | undefined;
};

/** A session under a policy with a server that shows a certificate. @throws when the handshake fails */
export async function judged(
  policy: TlsPolicy,
  server: TlsOptions,
  mxHost = "mx.example.com",
): Promise<Judged> {
  let facts: TlsFacts | undefined;
  await using fake = await FakeSmtpServer.start({
    tls: server,
    isTlsImplicit: true,
    decide: (event) => {
      facts = event.tls ?? facts;
      return undefined;
    },
  });
  const socket = connect({
    socket: connectTcp(fake.port, "127.0.0.1"),
    ...policy.connectOptions(mxHost),
  });
  await once(socket, "secureConnect");
  // The greeting tells that the server has its facts.
  await once(socket, "data");
  const verdict = policy.judge(socket, mxHost);
  socket.destroy();
  return { verdict, facts };
}

/** `accepted Verified` or `refused Untrusted 4.7.5 detail`. */
export function shownVerdict(verdict: TlsVerdict): string {
  return verdict.kind === "accepted"
    ? `accepted ${verdict.trust}`
    : `refused ${verdict.trust} ${verdict.status} ${verdict.detail}`;
}
