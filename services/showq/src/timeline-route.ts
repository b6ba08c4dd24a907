/**
 * `GET /v1/messages/{id}/events`: what happened to a message, the oldest first, also after it has left.
 *
 * Source: spec http-api.md §2 "/events"; queue-store `Timelines`.
 */
import { whileReachable } from "@postmq/queue-admin";
import type { Looking, Store, TimelineEvent, Timelines } from "@postmq/queue-store";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { parseQueueId } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply } from "fastify";

import { assertEmpty } from "./queue-query.ts";
import { seconds } from "./seconds.ts";

export type TimelineRouteOptions = {
  readonly store: Store;
  readonly looking: Looking;
  readonly timelines: Timelines;
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
      return sendTimeline(request.params.id, reply, options);
    },
  );
}

async function sendTimeline(
  text: string,
  reply: FastifyReply,
  { store, looking, timelines }: TimelineRouteOptions,
): Promise<object> {
  const id = parseQueueId(text);
  const events = id === undefined ? [] : await whileReachable(store, () => timelines.timeline(id));
  const isKnown =
    events.length > 0 ||
    (id !== undefined && (await whileReachable(store, () => looking.message(id))) !== undefined);
  return isKnown
    ? { id, events: events.map(eventView) }
    : sendProblem(reply, {
        status: 404,
        detail:
          "Nothing is known of such a message: it never was, or its events are no longer kept.",
      });
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
