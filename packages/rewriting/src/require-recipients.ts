/** A message that nobody is to get is refused. Source: spec rewriting-and-checks.md §3 "no recipients". */
import { enhancedStatus } from "@postmq/vocabulary";
import type { Draft, Refusal } from "./cleaning.ts";

export function requireRecipients(draft: Draft): Draft | Refusal {
  if (draft.recipients.length > 0) return draft;
  return {
    kind: "refused",
    smtpCode: 550,
    status: enhancedStatus("5.1.0"),
    text: "no recipients specified",
  };
}
