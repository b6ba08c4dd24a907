/**
 * Whether a message is one that a selection means: pure, over what a listing shows of it.
 *
 * Parts about recipients look at those that are not done, as mailq shows them. Of sendmail's substrings those of one
 * kind are alternatives; a negated one about recipients holds when no recipient has the text in it.
 *
 * Source: spec http-api.md §2, sendmail-queue.md §5.
 */
import type { ListedMessage } from "@postmq/queue-store";
import { countedDomain, senderKey } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";

import { compileReason } from "./reason-pattern.ts";
import type { Contains, Range, Selection } from "./selection.ts";

export type SelectionMatcher = {
  /** What the record tells, recipients aside. */
  readonly matchesRecord: (message: ListedMessage) => boolean;
  /** Whether recipients matter: those beyond the first of a long list must be read, too. */
  readonly needsRecipients: boolean;
  /** Reasons aside. @param recipients all that are not done */
  readonly matchesRecipients: RecipientsTest;
  /** A step for each recipient, since patterns can be slow. */
  readonly matchesReasons: ReasonSteps;
};

/** Whether a message, all of whose undone recipients are in it, is one of a selection. */
export function matches(selection: Selection, message: ListedMessage): boolean {
  const { matchesRecord, matchesRecipients, matchesReasons } = selectionMatcher(selection);
  const { recipients } = message;
  if (!matchesRecord(message) || !matchesRecipients(recipients)) return false;
  const steps = matchesReasons(message, recipients);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

type RecordTest = (message: ListedMessage) => boolean;
type RecipientsTest = (recipients: readonly StoredRecipient[]) => boolean;
type ReasonSteps = (
  message: ListedMessage,
  recipients: readonly StoredRecipient[],
) => Generator<undefined, boolean, void>;

/** A selection made ready for many messages. */
export function selectionMatcher(selection: Selection): SelectionMatcher {
  const records = recordTests(selection);
  const recipients = recipientTests(selection);
  return {
    matchesRecord: (message) => records.every((test) => test(message)),
    needsRecipients: recipients.length > 0 || selection.reason !== undefined,
    matchesRecipients: (some) => recipients.every((test) => test(some)),
    matchesReasons: reasonSteps(selection),
  };
}

function recordTests(selection: Selection): readonly RecordTest[] {
  const { queues, ids, sender, senderDomain, client, attempts, sizeBytes } = selection;
  const { arrivedFromMs: fromMs, arrivedToMs: toMs } = selection;
  const tests: RecordTest[] = [];
  if (queues !== undefined) tests.push(({ queue }) => queues.includes(queue));
  if (ids !== undefined) {
    const wanted = new Set(ids);
    tests.push(({ id }) => wanted.has(id));
  }
  if (asksRecord(selection)) tests.push(isReadable);
  if (sender !== undefined) {
    const wanted = senderKey(sender);
    tests.push((message) => senderKey(message.envelope.sender) === wanted);
  }
  if (senderDomain !== undefined) {
    tests.push((message) => countedDomain(message.envelope.sender) === senderDomain);
  }
  if (client !== undefined) tests.push((message) => isClient(message, client));
  if (fromMs !== undefined || toMs !== undefined) {
    tests.push(({ arrivalMs }) => isWithin(arrivalMs, range(fromMs, toMs)));
  }
  if (attempts !== undefined) tests.push((message) => isWithin(message.attempts, attempts));
  if (sizeBytes !== undefined) tests.push((message) => isWithin(message.sizeBytes, sizeBytes));
  for (const kind of ["id", "sender"] as const) {
    const wanted = containsOf(selection, kind);
    if (wanted.length === 0) continue;
    tests.push((message) => {
      const text = kind === "id" ? message.id : message.envelope.sender;
      return wanted.some((each) => holds(each, text) !== each.isNot);
    });
  }
  return tests;
}

function recipientTests(selection: Selection): readonly RecipientsTest[] {
  const { recipient, domain } = selection;
  const tests: RecipientsTest[] = [];
  if (recipient !== undefined) {
    const wanted = senderKey(recipient);
    tests.push((some) => some.some(({ address }) => senderKey(address) === wanted));
  }
  if (domain !== undefined) {
    tests.push((some) => some.some(({ address }) => countedDomain(address) === domain));
  }
  const contained = containsOf(selection, "recipient");
  if (contained.length > 0) {
    tests.push((some) =>
      contained.some((each) => some.some(({ address }) => holds(each, address)) !== each.isNot),
    );
  }
  return tests;
}

function reasonSteps({ reason }: Selection): ReasonSteps {
  const pattern = reason === undefined ? undefined : compileReason(reason);
  return function* steps({ corruptReason }, some) {
    if (pattern === undefined) return true;
    if (corruptReason !== undefined && pattern.test(corruptReason)) return true;
    for (const { state } of some) {
      if (state.kind === "deferred" && pattern.test(state.reason)) return true;
      yield undefined;
    }
    return false;
  };
}

/** Whether it asks for what only a readable record tells: more than ids, queues, reasons and ages. */
function asksRecord({ contains = [], ...selection }: Selection): boolean {
  const {
    queues: _q,
    ids: _i,
    reason: _r,
    arrivedFromMs: _f,
    arrivedToMs: _t,
    ...asked
  } = selection;
  return (
    contains.some(({ of }) => of !== "id") ||
    Object.values(asked).some((part) => part !== undefined)
  );
}

/** Of a record that can't be read a listing shows a place holder: no null sender, and no message of no attempts. */
function isReadable({ generation }: ListedMessage): boolean {
  return generation > 0;
}

function isClient({ envelope }: ListedMessage, wanted: string): boolean {
  const { client } = envelope;
  if (client === undefined) return false;
  return client.name.toLowerCase() === wanted || client.address.toLowerCase() === wanted;
}

function range(least: number | undefined, most: number | undefined): Range {
  return {
    ...(least === undefined ? {} : { least }),
    ...(most === undefined ? {} : { most }),
  };
}

function isWithin(value: number, { least, most }: Range): boolean {
  return (least === undefined || value >= least) && (most === undefined || value <= most);
}

function containsOf({ contains }: Selection, kind: Contains["of"]): readonly Contains[] {
  return (contains ?? [])
    .filter(({ of }) => of === kind)
    .map((each) => ({ ...each, text: each.text.toLowerCase() }));
}

/** @param contains its text in lower case */
function holds(contains: Contains, text: string): boolean {
  return text.toLowerCase().includes(contains.text);
}
