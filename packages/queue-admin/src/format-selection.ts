/**
 * A selection as one line, for the audit log, for progress, and to be parsed again.
 *
 * Ages come out as moments: "older than 5 days" was meant when it was said.
 */
import { formatRange } from "./parse-range.ts";
import type { SelectionPair } from "./selection-names.ts";
import type { Contains, Selection } from "./selection.ts";

/** As pairs that parseSelection takes. */
export function selectionPairs(selection: Selection): readonly SelectionPair[] {
  const pairs: SelectionPair[] = [];
  const add = (name: SelectionPair[0], value: string | undefined) => {
    if (value !== undefined) pairs.push([name, value]);
  };
  add("queue", selection.queues?.join(","));
  add("id", selection.ids?.join(","));
  add("sender", selection.sender === "" ? "<>" : selection.sender);
  add("sender_domain", selection.senderDomain);
  add("recipient", selection.recipient);
  add("domain", selection.domain);
  add("client", selection.client);
  add("arrived_from", moment(selection.arrivedFromMs));
  add("arrived_to", moment(selection.arrivedToMs));
  add("attempts", selection.attempts && formatRange(selection.attempts));
  add("size", selection.sizeBytes && formatRange(selection.sizeBytes));
  add("reason", selection.reason);
  for (const contains of selection.contains ?? [])
    add(`${contains.of}_contains`, formatContains(contains));
  return pairs;
}

/** `queue=deferred sender=a@b.example`; what holds blanks or quotes is quoted as JSON. Empty: `all`. */
export function formatSelection(selection: Selection): string {
  const pairs = selectionPairs(selection);
  if (pairs.length === 0) return "all";
  return pairs.map(([name, value]) => `${name}=${quoted(value)}`).join(" ");
}

/** Whether it says nothing, so that every message of every queue would be meant. */
export function isEmptySelection(selection: Selection): boolean {
  return selectionPairs(selection).length === 0;
}

function quoted(value: string): string {
  if (/^[^\s"\\\p{Cc}]+$/u.test(value)) return value;
  // JSON leaves DEL and the C1 controls as they are.
  return JSON.stringify(value).replaceAll(
    /[\p{Cc}\u2028\u2029]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

function moment(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

function formatContains({ text, isNot }: Contains): string {
  if (isNot) return `!${text}`;
  return /^[!\\]/.test(text) ? `\\${text}` : text;
}
