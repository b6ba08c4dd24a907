/** A showq's HTTP server over a real store, and a leader who publishes what the test says. */
import assert from "node:assert/strict";

import type { DestinationReport, SchedulerReport, Store } from "@postmq/queue-store";
import { openHttpServer } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import type { QueueId } from "@postmq/vocabulary";
import type { FastifyInstance } from "fastify";

import { destinationRoutes } from "./destination-routes.ts";
import { explainRoute } from "./explain-route.ts";
import { rawRoute } from "./raw-route.ts";

const quiet = { info: () => undefined, warning: () => undefined, error: () => undefined };

/** Every address goes by smtp to its own domain. */
export const rules = {
  resolve: (address: string) => ({
    transport: "smtp",
    nexthop: address.slice(address.lastIndexOf("@") + 1),
  }),
  recipientLimit: () => 50,
  recipientDelimiter: "+",
};

export async function openShowq(store: Store, deferTransports: readonly string[] = []) {
  const looking = store.looking();
  const server = await openHttpServer({
    listen: "127.0.0.1:0",
    listenParameter: "showq_listen",
    tokensFile: "",
    log: quiet,
    bodyLimitBytes: 1024,
    routes: (app: FastifyInstance, needs: NeedsScope) => {
      explainRoute(app, needs, { store, looking, rules, deferTransports });
      destinationRoutes(app, needs, { store, looking, transports: ["smtp", "relay"] });
      // Without tokens nobody has the scope of its own; that is tried elsewhere.
      rawRoute(app, () => needs("queue:read"), { store, looking });
    },
  });
  const url = `http://${server.address}/v1`;
  return { url, [Symbol.asyncDispose]: () => server.close() };
}

export type Answer = { readonly status: number; readonly body: Readonly<Record<string, unknown>> };

export async function get(url: string): Promise<Answer> {
  const response = await fetch(url);
  const body: unknown = await response.json();
  assert.ok(typeof body === "object" && body !== null);
  return { status: response.status, body: { ...body } };
}

export async function openLeader(store: Store) {
  const fence = await store.leadership().acquire();
  assert.ok(fence !== undefined);
  const scheduling = store.scheduling();
  const publish = (
    changed: readonly DestinationReport[],
    changes: Partial<SchedulerReport> = {},
    gone: readonly string[] = [],
  ) => scheduling.publish(fence, { scheduler: scheduler(fence, changes), changed, gone });
  return { fence, scheduling, publish };
}

function scheduler(fence: string, changes: Partial<SchedulerReport>): SchedulerReport {
  const nowMs = Date.now();
  return {
    fence,
    leadsSinceMs: nowMs,
    activeMessages: 1,
    activeLimit: 10,
    recipientsInMemory: 1,
    recipientLimit: 10,
    capacity: 4,
    liveWorkers: 1,
    jobsOut: 0,
    waiting: 0,
    throttled: [],
    updatedMs: nowMs,
    ...changes,
  };
}

export function destination(
  nexthop: string,
  changes: Partial<DestinationReport> = {},
): DestinationReport {
  return {
    name: `smtp:${nexthop}`,
    destination: { transport: "smtp", nexthop },
    window: 5,
    limit: 20,
    inFlight: 0,
    waiting: 0,
    surplus: 0,
    success: 0,
    failure: 0,
    failedCohorts: 0,
    endedPerMinute: 0,
    updatedMs: Date.now(),
    ...changes,
  };
}

/** A message to a@far.example. */
export async function queued(
  store: Store,
  queue: "maildrop" | "incoming" | "hold",
): Promise<QueueId> {
  const intake = store.intake();
  const id = intake.newId();
  const writer = intake.openContent(id);
  await writer.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
  await intake.commit({
    id,
    queue,
    envelope: { sender: "s@x.example", origin: "smtp" },
    recipients: [{ address: "a@far.example" }],
    content: await writer.finish(),
  });
  return id;
}

/** Many messages at once. */
export async function commitMany(
  store: Store,
  wanted: {
    readonly queue: "maildrop" | "incoming" | "hold";
    readonly count: number;
    readonly sender: string;
    readonly recipient?: string;
  },
): Promise<readonly QueueId[]> {
  const intake = store.intake();
  const { queue, sender, recipient = "a@far.example" } = wanted;
  return await Promise.all(
    Array.from({ length: wanted.count }, async () => {
      const id = intake.newId();
      const writer = intake.openContent(id);
      await writer.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
      await intake.commit({
        id,
        queue,
        envelope: { sender, origin: "smtp" },
        recipients: [{ address: recipient }],
        content: await writer.finish(),
      });
      return id;
    }),
  );
}
