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
  postqueueJsonLine,
  qshapeAgeLimits,
  qshapeParents,
  whileReachable,
} from "@postmq/queue-admin";
import type { ListedMessage, Looking, Store } from "@postmq/queue-store";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { listedQueues, parseQueueId } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply } from "fastify";

import { listedView, messageView } from "./message-view.ts";
import { oldestAgeSeconds } from "./queue-metrics.ts";
import {
  assertEmpty,
  formatCursor,
  parseCursor,
  parseQshapeQuery,
  Query,
  refusal,
} from "./queue-query.ts";
import type { Place } from "./queue-query.ts";

export type QueueRoutesOptions = {
  readonly store: Store;
  readonly looking: Looking;
  /** empty_address_recipient. */
  readonly emptyAddress: string;
};

const linesType = "application/x-ndjson";

export function queueRoutes(
  app: FastifyInstance,
  needs: NeedsScope,
  options: QueueRoutesOptions,
): void {
  const onRequest = needs("queue:read");
  app.get("/v1/messages", { onRequest }, async (request, reply) => {
    const query = new Query(request.query, ["queue", "cursor", "limit"]);
    const wantsLines = request.headers.accept?.includes(linesType) === true;
    return wantsLines ? sendLines(reply, query, options) : await page(query, options);
  });
  app.get<{ Params: { id: string } }>("/v1/messages/:id", { onRequest }, (request, reply) =>
    sendMessage(request.params.id, reply, options),
  );
  app.get("/v1/qshape", { onRequest }, (request) => qshape(request.query, options));
  app.get("/v1/queues", { onRequest }, (request) => depths(request.query, options));
}

async function page(query: Query, options: QueueRoutesOptions): Promise<object> {
  const queues = query.queues(listedQueues);
  const limit = query.limit();
  const cursor = query.one("cursor");
  const [first] = queues;
  let place: Place | undefined =
    cursor === undefined ? first && { queue: first } : parseCursor(cursor);
  if (place !== undefined && !queues.includes(place.queue)) {
    throw refusal("cursor", "is of a queue that is not asked for");
  }
  const messages: ListedMessage[] = [];
  while (place !== undefined && messages.length < limit) {
    const from: Place = place;
    const wanted = limit - messages.length;
    const found = await whileReachable(options.store, () =>
      options.looking.list(from.queue, {
        limit: wanted,
        ...(from.cursor === undefined ? {} : { cursor: from.cursor }),
      }),
    );
    messages.push(...found.messages);
    place = nextPlace(from.queue, found.cursor, queues);
  }
  return {
    messages: messages.map((message) => listedView(message, options.emptyAddress)),
    ...(place === undefined ? {} : { cursor: formatCursor(place) }),
  };
}

function nextPlace(
  queue: MessageQueue,
  cursor: string | undefined,
  queues: readonly MessageQueue[],
): Place | undefined {
  if (cursor !== undefined) return { queue, cursor };
  const next = queues[queues.indexOf(queue) + 1];
  return next && { queue: next };
}

function sendLines(reply: FastifyReply, query: Query, options: QueueRoutesOptions): FastifyReply {
  if (query.has("limit") || query.has("cursor")) {
    throw refusal("limit, cursor", `are not for ${linesType}: it is one stream`);
  }
  const lines = jsonLines(query.queues(listedQueues), options);
  return reply.header("Content-Type", linesType).send(Readable.from(lines));
}

async function* jsonLines(
  queues: readonly MessageQueue[],
  { store, looking, emptyAddress }: QueueRoutesOptions,
): AsyncGenerator<string, void, void> {
  const messages = listMessages(looking, queues);
  for (;;) {
    const next = await whileReachable(store, () => messages.next());
    if (next.done === true) return;
    yield postqueueJsonLine(next.value, emptyAddress);
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
