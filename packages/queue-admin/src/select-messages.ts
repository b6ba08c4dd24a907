/**
 * The messages of a selection, from the index that holds the fewest candidates, a page at a time.
 *
 * Nothing is remembered between two pages but a cursor, which names the index too: another process can go on from it.
 * Mail moves meanwhile: what stays in its queue is seen once, what moves may be seen twice or not at all, as in Postfix
 * (Q9). Where recipients matter, all undone ones of a message are looked at, not only those that a listing shows. A page
 * is bounded in recipients as in messages, and whoever looks at them lets others have their turn.
 *
 * Source: DESIGN §3 "Indexes"; spec http-api.md §2, sendmail-queue.md §5.
 */
import { setImmediate as othersTurn } from "node:timers/promises";

import type { CandidateIndex, ListedMessage, Selecting } from "@postmq/queue-store";
import { countedDomain, listedQueues, messageQueues, PostmqError } from "@postmq/vocabulary";
import type { MessageQueue, StoredRecipient } from "@postmq/vocabulary";

import { selectionMatcher } from "./matches.ts";
import type { SelectionMatcher } from "./matches.ts";
import type { Selection } from "./selection.ts";

/** Index entries looked at for a page. */
const pageSize = 200;
/** Few: each may have 1 000 recipients, and a page of named ids can't end early, since its order is not theirs. */
const idsPerPage = 20;
/** The thread serves others, too: patterns over reasons can take long. */
const longestTurnMs = 5;

export type SelectedPage = {
  readonly messages: readonly ListedMessage[];
  /** Messages of that queue looked at. */
  readonly seen: number;
  /** What was read for that: an index may name messages of other queues too. */
  readonly entries: number;
  /** Pass on; absent at the end of the queue. */
  readonly cursor?: string;
};

/** A selection made ready to be read, queue by queue. */
export class Selector {
  readonly #selecting: Selecting;
  readonly #selection: Selection;
  readonly #matcher: SelectionMatcher;

  constructor(selecting: Selecting, selection: Selection) {
    this.#selecting = selecting;
    this.#selection = selection;
    this.#matcher = selectionMatcher(selection);
  }

  /** Messages of the selection in one queue. @throws PMQ_USAGE for a cursor that no page gave */
  async page(queue: MessageQueue, cursor?: string): Promise<SelectedPage> {
    const { index, place } =
      cursor === undefined
        ? { index: await this.#narrowest(queue), place: undefined }
        : this.#parseCursor(cursor);
    if (index === undefined) return await this.#pageOfIds(queue, place);
    const found = await this.#selecting.candidates({
      queue,
      index,
      ...agesOf(this.#selection),
      ...(place === undefined ? {} : { cursor: place }),
      limit: pageSize,
    });
    return {
      messages: await this.#wanted(found.messages),
      seen: found.messages.length,
      entries: found.seen,
      ...(found.cursor === undefined ? {} : { cursor: `${index.by} ${found.cursor}` }),
    };
  }

  async #pageOfIds(queue: MessageQueue, place = "0"): Promise<SelectedPage> {
    const ids = this.#selection.ids ?? [];
    const from = Number(place);
    const to = from + idsPerPage;
    const found = await this.#selecting.messages(ids.slice(from, to));
    // By arrival, as from an index: whoever goes on behind a message that has left goes by that.
    const here = found
      .filter((message) => message.queue === queue)
      .toSorted((a, b) => a.arrivalMs - b.arrivalMs || (a.id < b.id ? -1 : 1));
    return {
      messages: await this.#wanted(here),
      seen: here.length,
      entries: found.length,
      ...(to < ids.length ? { cursor: `ids ${to}` } : {}),
    };
  }

  async #wanted(candidates: readonly ListedMessage[]): Promise<readonly ListedMessage[]> {
    const wanted: ListedMessage[] = [];
    const giveTurn = turns();
    for (const message of candidates) {
      await giveTurn();
      if (!this.#matcher.matchesRecord(message)) continue;
      if (await this.#matchesRecipients(message, giveTurn)) wanted.push(message);
    }
    return wanted;
  }

  async #matchesRecipients(
    message: ListedMessage,
    giveTurn: () => Promise<void>,
  ): Promise<boolean> {
    const { needsRecipients, matchesRecipients, matchesReasons } = this.#matcher;
    const recipients = needsRecipients ? await this.#allUndone(message) : message.recipients;
    if (!matchesRecipients(recipients)) return false;
    const steps = matchesReasons(message, recipients);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      await giveTurn();
    }
  }

  async #allUndone(message: ListedMessage): Promise<readonly StoredRecipient[]> {
    const { id, recipients, undoneRecipients } = message;
    if (undoneRecipients <= recipients.length) return recipients;
    const all = [...recipients];
    const from = (recipients.at(-1)?.number ?? -1) + 1;
    for await (const some of this.#selecting.undoneRecipients(id, from)) all.push(...some);
    return all;
  }

  /** Every part that has an index may lead; undefined: the ids themselves. */
  #indexes(): readonly CandidateIndex[] | undefined {
    const { ids, sender, senderDomain, recipient, domain } = this.#selection;
    if (ids !== undefined) return undefined;
    return [
      { by: "queue" },
      ...(sender === undefined ? [] : [{ by: "sender", sender } as const]),
      ...(senderDomain === undefined
        ? []
        : [{ by: "senderDomain", domain: senderDomain } as const]),
      ...(domain === undefined ? [] : [{ by: "domain", domain } as const]),
      ...(domain !== undefined || recipient === undefined
        ? []
        : [{ by: "domain", domain: countedDomain(recipient) } as const]),
    ];
  }

  async #narrowest(queue: MessageQueue): Promise<CandidateIndex | undefined> {
    const [first, ...others] = this.#indexes() ?? [];
    if (first === undefined || others.length === 0) return first;
    const ages = agesOf(this.#selection);
    let narrowest = first;
    let fewest = Number.POSITIVE_INFINITY;
    for (const index of [first, ...others]) {
      const count = await this.#selecting.countCandidates(queue, index, ages);
      if (count < fewest) [narrowest, fewest] = [index, count];
    }
    return narrowest;
  }

  #parseCursor(cursor: string): { index: CandidateIndex | undefined; place: string } {
    const [, by, place = ""] = /^(\w+) (.*)$/s.exec(cursor) ?? [];
    const indexes = this.#indexes();
    if (indexes === undefined) {
      if (by === "ids" && /^\d{1,9}$/.test(place)) return { index: undefined, place };
    } else {
      const index = indexes.find((each) => each.by === by);
      if (index !== undefined) return { index, place };
    }
    throw badCursor();
  }
}

/**
 * All messages of a selection, page by page. Pages in which nothing is meant come too, empty: whoever has had enough can
 * end it there, and need not wait until something is found.
 *
 * @param queues in this order, unless the selection names its queues; default: those that mailq lists
 */
export async function* selectMessages(
  selecting: Selecting,
  selection: Selection,
  queues: readonly MessageQueue[] = listedQueues,
): AsyncGenerator<readonly ListedMessage[], void, void> {
  const selector = new Selector(selecting, selection);
  for (const queue of queuesToRead(selection, queues)) {
    let cursor: string | undefined;
    do {
      const page = await selector.page(queue, cursor);
      yield page.messages;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }
}

/** Those that the selection names, in the order of listings, whatever the order they were named in; or these others. */
export function queuesToRead(
  { queues }: Selection,
  others: readonly MessageQueue[] = listedQueues,
): readonly MessageQueue[] {
  if (queues === undefined) return others;
  const ordered = [...listedQueues, ...messageQueues];
  return [...new Set(ordered.filter((queue) => queues.includes(queue)))];
}

/** Called between two steps of some work, lets others have their turn when it has gone on for long enough. */
function turns(): () => Promise<void> {
  let begunMs = performance.now();
  return async () => {
    if (performance.now() - begunMs < longestTurnMs) return;
    await othersTurn();
    begunMs = performance.now();
  };
}

function agesOf({ arrivedFromMs, arrivedToMs }: Selection) {
  return {
    ...(arrivedFromMs === undefined ? {} : { arrivedFromMs }),
    ...(arrivedToMs === undefined ? {} : { arrivedToMs }),
  };
}

function badCursor(): PostmqError {
  return new PostmqError("PMQ_USAGE", "cursor: is not one that a page of this selection gave");
}
