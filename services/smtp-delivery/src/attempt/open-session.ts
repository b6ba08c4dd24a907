/**
 * From the address of a server to a session that stands, or to why there is none.
 *
 * A connection is opened under a token of its destination (DESIGN §4), which the session owns from then on. While there
 * is none to be had, nothing is tried and nobody is to blame.
 *
 * Source: spec delivery.md §2 "connect", "greeting", "EHLO"; Postfix src/smtp/smtp_connect.c.
 */
import type { ConnectionToken } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";

import type { ServerAddress } from "../servers/order-addresses.ts";
import { dial } from "../session/dial.ts";
import { SmtpSession, shownHost } from "../session/smtp-session.ts";
import type { SessionSettings } from "../session/smtp-session.ts";
import type { Trouble } from "./attempt-state.ts";

export type OpenOptions = {
  readonly session: SessionSettings;
  readonly connectTimeoutMs: number;
  readonly bindAddress: string;
  /** Leave to open a connection; undefined: its destination has no place for one more. */
  readonly takeToken: () => Promise<ConnectionToken | undefined>;
};

/** crowded: no place at the destination. refused: `session` is the one that was turned away, if it came so far. */
export type OpenAnswer =
  | { readonly kind: "open"; readonly session: SmtpSession }
  | { readonly kind: "crowded" }
  | {
      readonly kind: "refused";
      readonly trouble: Trouble;
      readonly isPermanent: boolean;
      readonly session?: SmtpSession;
    };

export async function openSession(
  server: ServerAddress,
  options: OpenOptions,
): Promise<OpenAnswer> {
  const token = await options.takeToken();
  if (token === undefined) return { kind: "crowded" };
  const socket = await dial({
    address: server.address,
    port: server.port,
    bindAddress: options.bindAddress,
    timeoutMs: options.connectTimeoutMs,
  });
  if (typeof socket === "string") {
    token[Symbol.dispose]();
    const reason = `connect to ${shownHost(server)}:${server.port}: ${socket}`;
    return {
      kind: "refused",
      trouble: { status: enhancedStatus("4.4.1"), reason },
      isPermanent: false,
    };
  }
  const session = new SmtpSession(socket, server, options.session, token);
  const refusal = await session.begin();
  if (refusal === undefined) return { kind: "open", session };
  session.drop();
  const { status, reason, isPermanent } = refusal;
  return { kind: "refused", trouble: { status, reason }, isPermanent, session };
}
