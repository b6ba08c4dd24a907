/**
 * From the address of a server to a session that stands, or to why there is none.
 *
 * A connection is opened under a token of its destination (DESIGN §4), which the session owns from then on. While there
 * is none to be had, nothing is tried and nobody is to blame. Where optional TLS failed and the mail has waited long
 * enough for that, the same address is tried once more without it (D23).
 *
 * Source: spec D3, D22, D23, delivery.md §2, §5; Postfix src/smtp/smtp_connect.c.
 */
import type { ConnectionToken } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";

import type { ServerAddress } from "../servers/order-addresses.ts";
import { bindFailure, dial } from "../session/dial.ts";
import { SmtpSession, shownHost } from "../session/smtp-session.ts";
import type { SessionSettings, SessionWishes } from "../session/smtp-session.ts";
import type { SourceAddress } from "../session/source-address.ts";
import type { Trouble } from "./attempt-state.ts";
import { tlsLine } from "./tls-line.ts";
import type { OnNotice } from "./transaction-verdicts.ts";

export type OpenOptions = {
  readonly session: SessionSettings;
  readonly wishes: SessionWishes;
  readonly connectTimeoutMs: number;
  /** Of the attempt: see `Conversation.deadlineMs`. */
  readonly deadlineMs: number;
  readonly sourceFor: (address: string) => SourceAddress;
  /** Leave to open a connection; undefined: its destination has no place for one more. */
  readonly takeToken: () => Promise<ConnectionToken | undefined>;
  /** D23: after a failure of optional TLS. */
  readonly mayTryPlain: boolean;
  /** TLS sessions are told of in the log (smtp_tls_loglevel). */
  readonly logsTls: boolean;
  readonly onNotice: OnNotice;
};

/** crowded: no place at the destination. refused: `session` is the one that was turned away, if it came so far. */
export type OpenAnswer =
  | { readonly kind: "open"; readonly session: SmtpSession }
  | { readonly kind: "crowded" }
  | {
      readonly kind: "refused";
      readonly trouble: Trouble;
      readonly isPermanent: boolean;
      readonly isSiteTrouble: boolean;
      readonly mayTryPlain: boolean;
      /** The server is this mail system (D3). */
      readonly isLoop: boolean;
      readonly session?: SmtpSession;
    };

export async function openSession(
  server: ServerAddress,
  options: OpenOptions,
): Promise<OpenAnswer> {
  const answer = await open(server, options.wishes, options);
  if (answer.kind !== "refused" || !answer.mayTryPlain || !options.mayTryPlain) return answer;
  if (performance.now() >= options.deadlineMs) return answer;
  options.onNotice("info", answer.trouble.reason);
  return await open(server, withoutTls(options.wishes), options);
}

export function withoutTls(wishes: SessionWishes): SessionWishes {
  const { tls: _, ...others } = wishes;
  return { ...others, isMakeshift: true };
}

async function open(
  server: ServerAddress,
  wishes: SessionWishes,
  options: OpenOptions,
): Promise<OpenAnswer> {
  const token = await options.takeToken();
  if (token === undefined) return { kind: "crowded" };
  const { address, port } = server;
  const source = options.sourceFor(address);
  const socket = await dial({
    address,
    port,
    bindAddress: source.address,
    mustBind: source.isMust,
    onBindFailure: (text) => options.onNotice("warning", text),
    timeoutMs: within(options.deadlineMs, options.connectTimeoutMs),
  });
  if (typeof socket === "string") {
    token[Symbol.dispose]();
    const reason = `connect to ${shownHost(server)}:${port}: ${socket}`;
    return {
      kind: "refused",
      trouble:
        socket === bindFailure
          ? { status: enhancedStatus("4.4.0"), reason: socket }
          : { status: enhancedStatus("4.4.1"), reason },
      isPermanent: false,
      isSiteTrouble: true,
      mayTryPlain: false,
      isLoop: false,
    };
  }
  const session = new SmtpSession(socket, server, options.session, token, wishes);
  session.deadlineMs = options.deadlineMs;
  const refusal = await session.begin();
  for (const notice of session.notices) options.onNotice("info", notice);
  if (refusal === undefined) {
    if (options.logsTls && session.tls !== undefined) {
      options.onNotice("info", tlsLine(server, session.tls));
    }
    return { kind: "open", session };
  }
  session.drop();
  const { status, reason, ...how } = refusal;
  return { ...how, kind: "refused", trouble: { status, reason }, session };
}

/** @param limitMs 0: the system's own limit, a few minutes */
function within(deadlineMs: number, limitMs: number): number {
  return limitMs === 0 ? 0 : Math.max(1, Math.min(limitMs, deadlineMs - performance.now()));
}
