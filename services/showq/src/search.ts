/**
 * A page of the messages of a selection, and where the next one begins.
 *
 * The work of one request is bounded: a search that finds little, or messages of many recipients, ends early, with a
 * cursor, and its page then holds fewer messages than were asked for, or none. The cursor names a page of an index and the
 * last message of it that was given: what stays in its queue is given exactly once.
 *
 * Source: spec http-api.md §2 "cursor paging"; Q9.
 */
import { queuesToRead, Selector } from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import type { ListedMessage, Selecting } from "@postmq/queue-store";
import { isMessageQueue, parseQueueId } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { refusal } from "./queue-query.ts";

export type SearchPage = { readonly messages: readonly ListedMessage[]; readonly cursor?: string };

/** Entries of an index looked at for one request, about. */
const mostSeen = 5_000;
/** After so many recipients no further page of the index is read; the last one may have as many again. */
const enoughRecipients = 10_000;

type Place = {
  readonly queue: MessageQueue;
  /** The selector's cursor; absent at the beginning of the queue. */
  readonly page?: string;
  /** The last message given, in that page. */
  readonly after?: Pick<ListedMessage, "arrivalMs" | "id">;
};

/** @throws PMQ_USAGE (422) for a cursor that no page of this selection gave */
export async function searchPage(
  selecting: Selecting,
  selection: Selection,
  options: { readonly limit: number; readonly cursor?: string },
): Promise<SearchPage> {
  const selector = new Selector(selecting, selection);
  const queues = queuesToRead(selection);
  let place =
    options.cursor === undefined ? firstPlace(queues) : parsePlace(options.cursor, queues);
  const found: ListedMessage[] = [];
  let [seen, recipients] = [0, 0];
  while (place !== undefined && seen < mostSeen && recipients < enoughRecipients) {
    const page = await selector.page(place.queue, place.page);
    const wanted =
      place.after === undefined ? page.messages : allBehind(page.messages, place.after);
    const room = options.limit - found.length;
    found.push(...wanted.slice(0, room));
    if (wanted.length > room) {
      // Of a page that none was given of, the next request begins where this one did.
      const last = wanted[room - 1];
      const after = last === undefined ? {} : { after: { arrivalMs: last.arrivalMs, id: last.id } };
      return { messages: found, cursor: formatPlace({ ...place, ...after }) };
    }
    for (const message of wanted) recipients += message.recipients.length;
    // A page costs something even if nothing is in it.
    seen += Math.max(page.entries, 1);
    place =
      page.cursor === undefined
        ? firstPlace(queues.slice(queues.indexOf(place.queue) + 1))
        : { queue: place.queue, page: page.cursor };
  }
  return { messages: found, ...(place === undefined ? {} : { cursor: formatPlace(place) }) };
}

function firstPlace([queue]: readonly MessageQueue[]): Place | undefined {
  return queue === undefined ? undefined : { queue };
}

/** By its id; by the order of the index if that message has left. */
function allBehind(
  messages: readonly ListedMessage[],
  after: NonNullable<Place["after"]>,
): readonly ListedMessage[] {
  const at = messages.findIndex(({ id }) => id === after.id);
  if (at >= 0) return messages.slice(at + 1);
  return messages.filter(
    ({ arrivalMs, id }) =>
      arrivalMs > after.arrivalMs || (arrivalMs === after.arrivalMs && id > after.id),
  );
}

function formatPlace({ queue, page, after }: Place): string {
  const parts = [queue, page ?? "", ...(after ? [String(after.arrivalMs), after.id] : [])];
  return Buffer.from(parts.join("~")).toString("base64url");
}

/** Of the page the selector makes sure. */
function parsePlace(text: string, queues: readonly MessageQueue[]): Place {
  const [queue = "", page, arrival, afterId, ...rest] = Buffer.from(text, "base64url")
    .toString()
    .split("~");
  const after = arrival === undefined ? undefined : parseAfter(arrival, afterId ?? "");
  const isWhole =
    page !== undefined && rest.length === 0 && (arrival === undefined) === (after === undefined);
  if (!isMessageQueue(queue) || !isWhole) throw refusal("cursor", "is not one that a listing gave");
  if (!queues.includes(queue)) throw refusal("cursor", "is of a queue that is not asked for");
  return { queue, ...(page === "" ? {} : { page }), ...(after === undefined ? {} : { after }) };
}

function parseAfter(
  arrival: string,
  text: string,
): { readonly arrivalMs: number; readonly id: QueueId } | undefined {
  const id = parseQueueId(text);
  const isTime = /^\d{1,16}(?:\.\d{1,9})?$/.test(arrival);
  return id === undefined || !isTime ? undefined : { arrivalMs: Number(arrival), id };
}
