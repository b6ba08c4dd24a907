/**
 * The names of a selection's parts, as HTTP has them; a command line writes them with hyphens (`--older-than`).
 *
 * Source: spec http-api.md §2 "GET /v1/messages"; sendmail-queue.md §5, §7.
 */
export const selectionNames = [
  "queue",
  "id",
  "sender",
  "sender_domain",
  "recipient",
  "domain",
  "client",
  "older_than",
  "newer_than",
  "arrived_from",
  "arrived_to",
  "attempts",
  "size",
  "reason",
  "id_contains",
  "sender_contains",
  "recipient_contains",
] as const;
export type SelectionName = (typeof selectionNames)[number];

/** A part's name and what was said for it. */
export type SelectionPair = readonly [name: SelectionName, value: string];

/** The part of that name; HTTP also writes `reason~`, since it is no comparison for equality. */
export function selectionName(text: string): SelectionName | undefined {
  const name = text === "reason~" ? "reason" : text;
  return selectionNames.find((each) => each === name);
}
