/**
 * How far a server must prove itself before mail is handed to it: the levels of Postfix's TLS policy, and what the
 * dialogue asks of a policy.
 *
 * A policy is found per next hop (and, for MTA-STS, says which MX hosts may be used); the dialogue starts TLS with
 * its options and lets it judge the peer once the handshake is over. Nothing here does I/O on the mail connection.
 *
 * Source: spec delivery.md §5, D22 to D24; postconf(5) smtp_tls_policy_maps.
 */
import type { ConnectionOptions, TLSSocket } from "node:tls";

import type { EnhancedStatus } from "@postmq/vocabulary";

/** In rising order of what is asked. dane and dane-only are refused at start: Node shows no authenticated-data bit. */
export const tlsLevels = ["none", "may", "encrypt", "fingerprint", "verify", "secure"] as const;
export type TlsLevel = (typeof tlsLevels)[number];

/** How the log names what was proven (D24). */
export type TlsTrust = "Anonymous" | "Untrusted" | "Trusted" | "Verified";

/** What came of the handshake: good enough for the level, or why not. */
export type TlsVerdict =
  | { readonly kind: "accepted"; readonly trust: TlsTrust }
  | {
      readonly kind: "refused";
      readonly trust: TlsTrust;
      readonly status: EnhancedStatus;
      readonly reason: string;
      /** For the log: what was wrong with the certificate, such as "self-signed certificate". */
      readonly detail: string;
    };

export interface TlsPolicy {
  readonly level: TlsLevel;
  /** TLS comes before the greeting (smtp_tls_wrappermode); the level is encrypt or more then. */
  readonly startsWithTls: boolean;
  /** A session under TLS may be kept for further mail of this destination. */
  readonly mayReuse: boolean;
  /** Two sessions are interchangeable only if their policies have the same key (D27). */
  readonly key: string;
  /** MTA-STS: whether mail may go to this MX host. Always true for other policies. */
  allowsHost(mxHost: string): boolean;
  /** For tls.connect over the open socket; never throws for what a server does. */
  connectOptions(mxHost: string): ConnectionOptions;
  /** After the handshake. The handshake itself never fails for an unknown certificate: this decides. */
  judge(socket: TLSSocket, mxHost: string): TlsVerdict;
}

/** No policy can be had now, so nothing is sent: a table that can't be read, a malformed entry. */
export type TlsTrouble = {
  readonly kind: "trouble";
  readonly status: EnhancedStatus;
  readonly reason: string;
};

export interface TlsPolicies {
  /** @param nexthop as it is written, brackets and port included */
  policyFor(nexthop: string): Promise<TlsPolicy | TlsTrouble>;
}
