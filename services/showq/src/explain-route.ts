/**
 * `GET /v1/messages/{id}/explain`: why a message is not being delivered right now.
 *
 * The message, its open requests, the leader's word and its destinations are read one after another: between two of
 * them the message may move, and the answer is then about a moment that has just passed.
 *
 * Source: spec http-api.md §2 "explain".
 */
import { explain, whileReachable } from "@postmq/queue-admin";
import type { ListedMessage, Looking, Store } from "@postmq/queue-store";
import type { RoutingRules, Sites } from "@postmq/routing";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { parseQueueId } from "@postmq/vocabulary";
import type { FastifyInstance, FastifyReply } from "fastify";

import { explainView } from "./explain-view.ts";
import { destinationsOf, withReports } from "./message-destinations.ts";
import { assertEmpty } from "./queue-query.ts";

export type ExplainRouteOptions = {
  readonly store: Store;
  readonly looking: Looking;
  readonly rules: RoutingRules;
  /** Looks up the sites at which next hops count; absent: they count by themselves. */
  readonly sites?: Pick<Sites, "prepare"> | undefined;
  /** defer_transports. */
  readonly deferTransports: readonly string[];
};

export function explainRoute(
  app: FastifyInstance,
  needs: NeedsScope,
  options: ExplainRouteOptions,
): void {
  const onRequest = needs("queue:read");
  app.get<{ Params: { id: string } }>(
    "/v1/messages/:id/explain",
    { onRequest },
    (request, reply) => {
      assertEmpty(request.query);
      return sendExplanation(request.params.id, reply, options);
    },
  );
}

async function sendExplanation(
  text: string,
  reply: FastifyReply,
  options: ExplainRouteOptions,
): Promise<object> {
  const { store, looking } = options;
  const id = parseQueueId(text);
  const message =
    id === undefined ? undefined : await whileReachable(store, () => looking.message(id));
  return message === undefined
    ? sendProblem(reply, { status: 404, detail: "There is no such message in the queue." })
    : whileReachable(store, () => explanation(message, options));
}

async function explanation(
  message: ListedMessage,
  { store, looking, rules, sites, deferTransports }: ExplainRouteOptions,
): Promise<object> {
  if (sites !== undefined) {
    await sites.prepare(destinationsOf(message, rules).map(({ destination }) => destination));
  }
  const destinations = destinationsOf(message, rules);
  const [openRequests, scheduler, reports] = await Promise.all([
    looking.openRequests(message.id),
    looking.scheduler(),
    looking.destinationsNamed(destinations.map(({ name }) => name)),
  ]);
  return explainView(
    explain({
      message,
      openRequests,
      scheduler,
      destinations: withReports(destinations, reports),
      deferTransports,
      nowMs: store.clock.nowMs(),
    }),
  );
}
