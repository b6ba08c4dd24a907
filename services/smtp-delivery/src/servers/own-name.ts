/**
 * Whether a server that calls itself by our name is us: mail that it takes would come back.
 *
 * In a greeting that is only worth a warning, in the reply to EHLO the session ends (D3). Both only at the port where
 * loops are looked for: elsewhere a second server of ours may well bear our name.
 *
 * Source: spec D3; Postfix src/smtp/smtp_proto.c smtp_helo.
 */
import { enhancedStatus } from "@postmq/vocabulary";

import type { NoServer } from "./find-servers.ts";

/** @param text of a greeting or of EHLO's first line, without its code: `mx.example.com ESMTP` */
export function isOwnName(text: string, myhostname: string): boolean {
  const [name = ""] = text.trimStart().split(/\s/);
  return name.toLowerCase() === myhostname.toLowerCase();
}

/**
 * What becomes of mail for a server that answers EHLO with our name.
 *
 * @param isBest no better server is known for the next hop: waiting would not help
 */
export function ownNameRefusal(nexthop: string, isBest: boolean): NoServer {
  return {
    kind: isBest ? "bounced" : "deferred",
    status: enhancedStatus(isBest ? "5.4.6" : "4.4.6"),
    reason: `mail for ${nexthop} loops back to myself`,
  };
}
