/**
 * `GET /v1/workers` and `/v1/instances`: who delivers here, and which queues were moved aside from here.
 *
 * Source: spec http-api.md §2; DESIGN §5.
 */
import { whileReachable } from "@postmq/queue-admin";
import type { Looking, MovingAway, Store, WorkerReport } from "@postmq/queue-store";
import type { NeedsScope } from "@postmq/service-kit";
import type { FastifyInstance } from "fastify";

import { assertEmpty } from "./queue-query.ts";
import { optionalSeconds } from "./seconds.ts";

export type WorkerRoutesOptions = {
  readonly store: Store;
  readonly looking: Looking;
  readonly copying: Pick<MovingAway, "asideNames">;
};

export function workerRoutes(
  app: FastifyInstance,
  needs: NeedsScope,
  options: WorkerRoutesOptions,
): void {
  const onRequest = needs("queue:read");
  app.get("/v1/workers", { onRequest }, (request) => workers(request.query, options));
  app.get("/v1/instances", { onRequest }, (request) => instances(request.query, options));
}

async function workers(raw: unknown, { store, looking }: WorkerRoutesOptions): Promise<object> {
  assertEmpty(raw);
  const found = await whileReachable(store, () => looking.workers());
  return { workers: found.map(workerView) };
}

async function instances(raw: unknown, { store, copying }: WorkerRoutesOptions): Promise<object> {
  assertEmpty(raw);
  const asides = await whileReachable(store, () => copying.asideNames());
  return { name: store.instanceName, asides: asides.toSorted().map((name) => ({ name })) };
}

function workerView({ name, concurrency, isAlive, goneSinceMs }: WorkerReport): object {
  return { name, concurrency, alive: isAlive, ...optionalSeconds("gone_since", goneSinceMs) };
}
