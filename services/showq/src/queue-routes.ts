/**
 * Looking at the queue by HTTP: listings, one message, qshape, depths.
 *
 * Listings are pages with a cursor. Mail moves while one reads: an entry may come twice or not at all, as in Postfix
 * (Q9). As `application/x-ndjson` a listing is one stream of the very lines that `postqueue -j` prints.
 *
 * Source: spec http-api.md §2.
 */
import { Readable } from "node:stream";

import {
  defaultQshapeLayout,
  listMessages,
  parseSelection,
  postqueueJsonLine,
  qshapeAgeLimits,
  qshapeParents,
  queuesToRead,
  selectionNames,
  selectMessages,
  whileReachable,
} from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import type { ListedMessage, Looking, Selecting, Store } from "@postmq/queue-store";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { parseQueueId } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply } from "fastify";

import type { LongReads } from "./long-reads.ts";
import { listedView, messageView } from "./message-view.ts";
import { oldestAgeSeconds } from "./queue-metrics.ts";
import { assertEmpty, parseQshapeQuery, Query, refusal } from "./queue-query.ts";
import { searchPage } from "./search.ts";

export type QueueRoutesOptions = {
  readonly store: Store;
  readonly looking: Looking;
  readonly selecting: Selecting;
  readonly longReads: LongReads;
  /** empty_address_recipient. */
  readonly emptyAddress: string;
};

const pageNames = ["cursor", "limit"];
const linesType = "application/x-ndjson";

export function queueRoutes(
  app: FastifyInstance,
  needs: NeedsScope,
  options: QueueRoutesOptions,
): void {
  const onRequest = needs("queue:read");
  app.get("/v1/messages", { onRequest }, async (request, reply) => {
    const query = new Query(request.query, [...selectionNames, "reason~", ...pageNames]);
    const selection = parseSelection(query.pairsBut(pageNames), {
      nowMs: options.store.clock.nowMs(),
    });
    const wantsLines = request.headers.accept?.includes(linesType) === true;
    if (wantsLines) return sendLines(reply, query, selection, options);
    const read = () => page(query, selection, options);
    return isSearch(selection) ? await options.longReads.during(reply, read) : await read();
  });
  app.get<{ Params: { id: string } }>("/v1/messages/:id", { onRequest }, (request, reply) => {
    assertEmpty(request.query);
    return sendMessage(request.params.id, reply, options);
  });
  app.get("/v1/qshape", { onRequest }, (request, reply) =>
    options.longReads.during(reply, () => qshape(request.query, options)),
  );
  app.get("/v1/queues", { onRequest }, (request) => depths(request.query, options));
}

/** Whether messages are looked at that are then not told of. */
function isSearch({ queues: _queues, ids: _ids, ...parts }: Selection): boolean {
  return Object.keys(parts).length > 0;
}

async function page(
  query: Query,
  selection: Selection,
  { store, selecting, emptyAddress }: QueueRoutesOptions,
): Promise<object> {
  const limit = query.limit();
  const cursor = query.one("cursor");
  const found = await whileReachable(store, () =>
    searchPage(selecting, selection, { limit, ...(cursor === undefined ? {} : { cursor }) }),
  );
  return {
    messages: found.messages.map((message) => listedView(message, emptyAddress)),
    ...(found.cursor === undefined ? {} : { cursor: found.cursor }),
  };
}

function sendLines(
  reply: FastifyReply,
  query: Query,
  selection: Selection,
  options: QueueRoutesOptions,
): FastifyReply {
  if (pageNames.some((name) => query.has(name))) {
    throw refusal("limit, cursor", `are not for ${linesType}: it is one stream`);
  }
  const lines = () => Readable.from(jsonLines(selection, options));
  return options.longReads.send(reply.header("Content-Type", linesType), lines);
}

async function* jsonLines(
  selection: Selection,
  { store, looking, selecting, emptyAddress }: QueueRoutesOptions,
): AsyncGenerator<string, void, void> {
  const { queues: _, ...parts } = selection;
  const isWholeQueues = Object.keys(parts).length === 0;
  const pages: AsyncGenerator<ListedMessage | readonly ListedMessage[], void, void> = isWholeQueues
    ? listMessages(looking, queuesToRead(selection))
    : selectMessages(selecting, selection);
  for (;;) {
    const next = await whileReachable(store, () => pages.next());
    if (next.done === true) return;
    const lines = [next.value].flat().map((message) => postqueueJsonLine(message, emptyAddress));
    // Nothing, of a page in which nothing is meant; but for a client that has gone it ends here.
    yield lines.join("");
  }
}

async function sendMessage(
  text: string,
  reply: FastifyReply,
  { store, looking, emptyAddress }: QueueRoutesOptions,
): Promise<object> {
  const id = parseQueueId(text);
  const message =
    id === undefined ? undefined : await whileReachable(store, () => looking.message(id));
  return message === undefined
    ? sendProblem(reply, { status: 404, detail: "There is no such message in the queue." })
    : messageView(message, emptyAddress);
}

async function qshape(raw: unknown, { store, looking }: QueueRoutesOptions): Promise<object> {
  const { queues, by, minSubdomains, ...layout } = parseQshapeQuery(raw);
  const ageLimitsMs = qshapeAgeLimits({ ...defaultQshapeLayout, ...layout });
  const nowMs = store.clock.nowMs();
  const rows = await whileReachable(store, () =>
    looking.qshape({ queues, by, ageLimitsMs, nowMs }),
  );
  const parents = minSubdomains === undefined ? [] : qshapeParents(rows, minSubdomains);
  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
  const shown = [...rows, ...parents].map(({ domain, counts }) => ({
    domain,
    total: sum(counts),
    counts,
  }));
  return {
    queues,
    by,
    age_limits_seconds: ageLimitsMs.map((limit) => limit / 1000),
    total: sum(rows.map(({ counts }) => sum(counts))),
    rows: shown.toSorted((a, b) => b.total - a.total || a.domain.length - b.domain.length),
  };
}

async function depths(raw: unknown, { store, looking }: QueueRoutesOptions): Promise<object> {
  assertEmpty(raw);
  const nowMs = store.clock.nowMs();
  const all = await whileReachable(store, () => looking.depths());
  const queues = all.map((depth) => ({
    queue: depth.queue,
    messages: depth.messages,
    oldest_age_seconds: oldestAgeSeconds(depth, nowMs),
    ...(depth.oldestArrivalMs === undefined
      ? {}
      : { oldest_arrival_time: Math.floor(depth.oldestArrivalMs / 1000) }),
  }));
  return { queues };
}
