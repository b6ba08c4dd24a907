/**
 * `GET /v1/messages/{id}/events`: what happened to a message, the oldest first, also after it has left.
 *
 * Source: spec http-api.md §2 "/events"; queue-store `Timelines`.
 */
import { whileReachable } from "@postmq/queue-admin";
import type { Looking, Store, TimelineEvent, Timelines } from "@postmq/queue-store";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { parseQueueId, queueIdTimeUs } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply } from "fastify";

import type { LongReads } from "./long-reads.ts";
import { assertEmpty } from "./queue-query.ts";
import { seconds } from "./seconds.ts";

export type TimelineRouteOptions = {
  readonly store: Store;
  readonly looking: Looking;
  readonly timelines: Timelines;
  readonly longReads: LongReads;
};

export function timelineRoute(
  app: FastifyInstance,
  needs: NeedsScope,
  options: TimelineRouteOptions,
): void {
  const onRequest = needs("queue:read");
  app.get<{ Params: { id: string } }>(
    "/v1/messages/:id/events",
    { onRequest },
    (request, reply) => {
      assertEmpty(request.query);
      return options.longReads.during(reply, () => sendTimeline(request.params.id, reply, options));
    },
  );
}

const notKnown = {
  status: 404,
  detail: "Nothing is known of such a message: it never was, or its events are no longer kept.",
};

async function sendTimeline(
  text: string,
  reply: FastifyReply,
  { store, looking, timelines }: TimelineRouteOptions,
): Promise<object> {
  const id = parseQueueId(text);
  if (id === undefined) return sendProblem(reply, notKnown);
  const isQueued = async () =>
    (await whileReachable(store, () => looking.message(id))) !== undefined;
  // An id that postmq made tells where its events begin. For another, such as an import may bring, all would be read.
  if (queueIdTimeUs(id) === undefined && !(await isQueued())) return sendProblem(reply, notKnown);
  const events = await whileReachable(store, () => timelines.timeline(id));
  return events.length > 0 || (await isQueued())
    ? { id, events: events.map(eventView) }
    : sendProblem(reply, notKnown);
}

/** `time_ms` besides: much happens within a second. */
function eventView({ atMs, kind, queue, details }: TimelineEvent): object {
  return {
    time: seconds(atMs),
    time_ms: atMs,
    kind,
    ...(queue === undefined ? {} : { queue }),
    details,
  };
}
