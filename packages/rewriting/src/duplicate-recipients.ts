/**
 * Removes recipients that are there already.
 *
 * Two are the same if address, original address, ORCPT and NOTIFY are (`enable_original_recipient` = yes); upper and
 * lower case are the same. Once `duplicate_filter_limit` different recipients are remembered, later duplicates pass; 0
 * means no limit.
 *
 * Source: spec R15; Postfix src/global/been_here.c.
 */
import type { CleanedRecipient, Draft } from "./cleaning.ts";

export function removeDuplicates(draft: Draft): Draft {
  if (draft.recipients.length < 2) return draft;
  const limit = draft.input.parameters.duplicate_filter_limit;
  const seen = new Set<string>();
  const recipients = draft.recipients.filter((recipient) => {
    const key = identity(recipient);
    if (seen.has(key)) return false;
    if (limit === 0 || seen.size < limit) seen.add(key);
    return true;
  });
  return { ...draft, recipients };
}

function identity(recipient: CleanedRecipient): string {
  const notify = [...(recipient.notify ?? [])].toSorted().join(",");
  // No part can hold a newline: addresses and ORCPT are refused with one.
  return [recipient.address, recipient.original ?? recipient.address, recipient.orcpt ?? "", notify]
    .join("\n")
    .toLowerCase();
}
