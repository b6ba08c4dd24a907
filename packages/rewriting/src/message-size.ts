/** A message over `message_size_limit` is refused; 0 means no limit. Source: rewriting-and-checks.md §3; postconf(5). */
import { enhancedStatus } from "@postmq/vocabulary";
import type { Draft, Refusal } from "./cleaning.ts";

export function checkSize(draft: Draft): Draft | Refusal {
  const limit = draft.input.parameters.message_size_limit;
  if (limit === 0 || (draft.input.sizeBytes ?? 0) <= limit) return draft;
  return {
    kind: "refused",
    smtpCode: 552,
    status: enhancedStatus("5.3.4"),
    text: "message file too big",
  };
}
