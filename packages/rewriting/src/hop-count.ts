/**
 * Ends mail loops: a message that has passed too many hops is refused.
 *
 * As in Postfix the line that we are about to add counts as well, so a message that comes with `hopcount_limit` - 1
 * Received headers is refused already.
 *
 * Source: spec rewriting-and-checks.md §3; postconf(5) hopcount_limit; security.md 15.
 */
import { enhancedStatus } from "@postmq/vocabulary";
import type { Draft, Refusal } from "./cleaning.ts";

export function checkHopCount(draft: Draft): Draft | Refusal {
  let hops = 1;
  for (const header of draft.received) if (header.name === "received") hops++;
  if (hops < draft.input.parameters.hopcount_limit) return draft;
  return { kind: "refused", smtpCode: 554, status: enhancedStatus("5.4.0"), text: "too many hops" };
}
