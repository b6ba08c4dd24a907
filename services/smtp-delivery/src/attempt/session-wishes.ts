/**
 * What is wanted of a session with one server of a next hop: its protocol, how far TLS must go, who we log in as, and whether
 * the server might be ourselves.
 *
 * Source: spec D3, D22, delivery.md §5; DESIGN §7.
 */
import { enhancedStatus } from "@postmq/vocabulary";

import type { ServerAddress } from "../servers/order-addresses.ts";
import type { PlannedHop, ServerProtocol } from "../servers/server-plan.ts";
import type { Logins } from "../session/sasl-credentials.ts";
import { shownHost } from "../session/smtp-session.ts";
import type { SessionWishes, SmtpSession } from "../session/smtp-session.ts";
import type { TlsPolicies } from "../tls/tls-policy.ts";
import type { Trouble } from "./attempt-state.ts";

export type SecuritySettings = {
  /** undefined: TLS is nowhere asked for. */
  readonly tls: TlsPolicies | undefined;
  readonly logsTls: boolean;
  /** D23: mail that waited so long before this attempt may go in plain text after optional TLS failed. */
  readonly plainAfterMs: number;
  /** undefined: nobody logs in. */
  readonly logins: Logins | undefined;
  /** Names of this mail system, in lower case (D3). */
  readonly ownNames: ReadonlySet<string>;
};

/**
 * Whether a session that is there serves mail of this sender: one opened now would be alike (D27).
 *
 * Tables, keys and MTA-STS policies change while sessions are kept; and where logins depend on the sender, a session is
 * for those who log in alike. What is nowhere asked for costs nothing here.
 */
export function serves(
  session: SmtpSession,
  sender: string,
  settings: SecuritySettings,
): true | Promise<boolean> {
  if (settings.tls === undefined && settings.logins === undefined) return true;
  return wouldBeAlike(session, sender, settings);
}

async function wouldBeAlike(
  session: SmtpSession,
  sender: string,
  { tls, logins }: SecuritySettings,
): Promise<boolean> {
  const { nexthop, policyKey, loginKey } = session.openedFor;
  const policy = await tls?.policyFor(nexthop);
  if (policy !== undefined && ("kind" in policy || policy.key !== policyKey)) return false;
  const login = logins?.find({ sender, host: session.server.host, nexthop });
  return login?.credentials.key === loginKey;
}

/** @returns the wishes, or why nothing may be sent to this server now */
export async function sessionWishes(
  settings: SecuritySettings,
  to: {
    readonly server: ServerAddress;
    readonly hop: PlannedHop;
    readonly sender: string;
    readonly protocol: ServerProtocol;
  },
): Promise<SessionWishes | Trouble> {
  const { server, hop, sender, protocol } = to;
  const nexthop = hop.nexthop.text;
  const policy = await settings.tls?.policyFor(nexthop);
  if (policy !== undefined && "kind" in policy) {
    return { status: policy.status, reason: policy.reason };
  }
  if (policy?.allowsHost(server.host) === false) {
    const reason = `the MTA-STS policy of ${hop.nexthop.host} does not allow host ${shownHost(server)}`;
    return { status: enhancedStatus("4.7.5"), reason };
  }
  const login = settings.logins?.find({ sender, host: server.host, nexthop });
  return {
    nexthop,
    protocol,
    ...(policy === undefined ? {} : { tls: policy }),
    ...(login === undefined ? {} : { login }),
    ...(hop.detectsLoops
      ? {
          self: {
            ownNames: settings.ownNames,
            nexthop: hop.nexthop.host,
            isBestMx: server.preference <= hop.bestPreference,
          },
        }
      : {}),
  };
}
