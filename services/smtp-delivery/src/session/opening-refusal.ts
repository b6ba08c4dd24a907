/**
 * Why no session came about, and what that means for the next try: greeting, EHLO, TLS and AUTH each have their own way
 * to fail.
 *
 * Source: spec delivery.md §2, §5, D3, D22, D23; Postfix src/smtp/smtp_proto.c (smtp_helo, smtp_start_tls).
 */
import type { SmtpReply } from "@postmq/mail-format";
import { enhancedStatus } from "@postmq/vocabulary";

import type { Refusal } from "./reply-verdict.ts";

export type SessionRefusal = Refusal & {
  readonly hasReply: boolean;
  /** What the server said. */
  readonly reply?: SmtpReply;
  /** TLS was optional and failed: the same address may be tried again without it (D23). */
  readonly mayTryPlain: boolean;
  /** It counts against the destination. Not so where optional TLS failed, lest new mail keeps old mail waiting. */
  readonly isSiteTrouble: boolean;
  /** The server is this mail system (D3). */
  readonly isLoop: boolean;
};

/** A refusal without a reply. */
export function lostRefusal(refusal: Refusal): SessionRefusal {
  return { ...refusal, hasReply: false, mayTryPlain: false, isSiteTrouble: true, isLoop: false };
}

export function refusedBy(reply: SmtpReply, refusal: Refusal): SessionRefusal {
  return { ...lostRefusal(refusal), hasReply: true, reply };
}

/** D22, D23: the handshake failed, or what came after it. */
export function tlsFailure(reason: string, isOptional: boolean): SessionRefusal {
  const refusal = temporary("4.7.5", reason);
  return isOptional ? { ...refusal, mayTryPlain: true, isSiteTrouble: false } : refusal;
}

/** D22: never a bounce. */
export function temporary(status: string, reason: string): SessionRefusal {
  return lostRefusal({ isPermanent: false, status: enhancedStatus(status), reason });
}

/** D3: whoever answers EHLO with our name is us. */
export function loopRefusal(nexthop: string, isBestMx: boolean): SessionRefusal {
  const refusal = lostRefusal({
    isPermanent: isBestMx,
    status: enhancedStatus(isBestMx ? "5.4.6" : "4.4.6"),
    reason: `mail for ${nexthop} loops back to myself`,
  });
  return { ...refusal, isLoop: true };
}
