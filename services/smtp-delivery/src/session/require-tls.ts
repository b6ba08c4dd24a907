/**
 * REQUIRETLS: what the sender wants to travel under verified TLS, or not at all.
 *
 * The session must be under TLS with a server that has proven its name, and the server must offer REQUIRETLS, so that it does
 * the same. Mail is refused here only for one server: another MX host may be able to do it.
 *
 * Source: RFC 8689 §4.2.1; Postfix 3.12 src/smtp/smtp_proto.c "REQUIRETLS".
 */
import { enhancedStatus } from "@postmq/vocabulary";

import type { Refusal } from "./reply-verdict.ts";
import { shownHost } from "./server-name.ts";
import type { SmtpSession } from "./smtp-session.ts";

/** @returns undefined: such mail may go over this session; else what its sender is told if no other server can. */
export function requireTlsRefusal(
  session: Pick<SmtpSession, "tls" | "offers" | "server">,
): Refusal | undefined {
  const host = shownHost(session.server);
  if (session.tls === undefined) {
    return refused("5.7.30", `TLS service was not offered by host ${host}`);
  }
  if (session.tls.trust !== "Verified") {
    const trusted = session.tls.trust === "Trusted" ? "matching" : "trusted";
    return refused(
      "5.7.10",
      `no ${trusted} server certificate was found. The last attempted server was ${host}`,
    );
  }
  if (session.offers.has("REQUIRETLS")) return undefined;
  return refused(
    "5.7.30",
    `no server was found that supports REQUIRETLS. The last attempted server was ${host}`,
  );
}

function refused(status: string, why: string): Refusal {
  const reason = `Sender requested REQUIRETLS, but ${why}`;
  return { isPermanent: true, status: enhancedStatus(status), reason };
}
