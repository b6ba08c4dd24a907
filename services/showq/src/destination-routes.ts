/**
 * Looking at destinations by HTTP: what the leader publishes of each that it knows, once a second.
 *
 * A destination that is idle and well is forgotten (scheduling.md §7), and then it is not here. Listings are pages in
 * no order, since they change all the time; a page can hold more than was asked for, or fewer.
 *
 * Source: spec http-api.md §2 "/v1/destinations".
 */
import { whileReachable } from "@postmq/queue-admin";
import type { DestinationReport, Looking, Store } from "@postmq/queue-store";
import { sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import type { FastifyInstance, FastifyReply } from "fastify";

import { destinationView, isDead } from "./destination-view.ts";
import { assertEmpty, Query, refusal } from "./queue-query.ts";

export type DestinationRoutesOptions = {
  readonly store: Store;
  readonly looking: Looking;
  /** Names of the delivery transports. */
  readonly transports: readonly string[];
};

/** A filter that finds little looks at so many pages, and gives a cursor for the rest. */
const mostPagesRead = 20;

export function destinationRoutes(
  app: FastifyInstance,
  needs: NeedsScope,
  options: DestinationRoutesOptions,
): void {
  const onRequest = needs("queue:read");
  app.get("/v1/destinations", { onRequest }, (request) => page(request.query, options));
  // Not a named part of the path: those end at a slash, which the next hop of a socket has.
  app.get<{ Params: { "*": string } }>("/v1/destinations/*", { onRequest }, (request, reply) => {
    assertEmpty(request.query);
    return sendSite(request.params["*"], reply, options);
  });
}

async function page(raw: unknown, { store, looking }: DestinationRoutesOptions): Promise<object> {
  const query = new Query(raw, ["dead", "cursor", "limit"]);
  const wantsDead = query.has("dead") ? query.oneOf("dead", ["true", "false"]) : undefined;
  const limit = query.limit();
  const nowMs = store.clock.nowMs();
  let cursor = checkedCursor(query.one("cursor"));
  const found: DestinationReport[] = [];
  for (let read = 0; read < mostPagesRead && found.length < limit; read += 1) {
    const from = cursor;
    const answer = await whileReachable(store, () =>
      looking.destinations({ limit, ...(from === undefined ? {} : { cursor: from }) }),
    );
    found.push(
      ...answer.destinations.filter(
        (each) => wantsDead === undefined || isDead(each, nowMs) === (wantsDead === "true"),
      ),
    );
    cursor = answer.cursor;
    if (cursor === undefined) break;
  }
  return {
    destinations: found.map((each) => destinationView(each, nowMs)),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

/** As the store gives it: no text of a caller reaches Redis. */
function checkedCursor(text: string | undefined): string | undefined {
  if (text === undefined || /^\d{1,20}$/.test(text)) return text;
  throw refusal("cursor", "is not one that a listing gave");
}

async function sendSite(
  site: string,
  reply: FastifyReply,
  { store, looking, transports }: DestinationRoutesOptions,
): Promise<object> {
  const found = await whileReachable(store, () =>
    looking.destinationsNamed(namesOf(site, transports)),
  );
  if (found.length === 0) {
    return sendProblem(reply, {
      status: 404,
      detail: "The scheduler knows no such destination: nothing waits there and it is not dead.",
    });
  }
  const nowMs = store.clock.nowMs();
  return { site, destinations: found.map((each) => destinationView(each, nowMs)) };
}

/** A site is a whole name, or a next hop of any transport. Next hops are in lower case in names (S16). */
function namesOf(site: string, transports: readonly string[]): readonly string[] {
  const colon = site.indexOf(":");
  const lower = site.toLowerCase();
  const whole = `${site.slice(0, colon)}${lower.slice(colon)}`;
  const names = transports.map((transport) => `${transport}:${lower}`);
  return [...new Set(colon > 0 ? [whole, ...names] : names)];
}
