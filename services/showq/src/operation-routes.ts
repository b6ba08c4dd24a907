/**
 * Operations by HTTP: asking for one, looking at it, stopping it.
 *
 * An operation is a resource: the answer to the request that made it is 202, and what became of it is found where
 * `Location` says, for a week after its end. What it is to do is checked before anything is kept.
 *
 * Source: spec http-api.md §2 "POST /v1/operations".
 */
import { randomBytes } from "node:crypto";

import { whileReachable } from "@postmq/queue-admin";
import type { Operations, Store, StoredOperation } from "@postmq/queue-store";
import { clientOf, sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import type { FastifyInstance, FastifyReply } from "fastify";

import type { Audit } from "./operation-audit.ts";
import {
  askedOperation,
  cancelBodySchema,
  formatTask,
  operationBodySchema,
} from "./operation-request.ts";
import type { AskedOperation, OperationBody } from "./operation-request.ts";
import type { RunnerParts } from "./operation-runner.ts";
import { operationView } from "./operation-view.ts";
import { assertEmpty, Query, refusal } from "./queue-query.ts";

export type OperationRoutesOptions = {
  readonly store: Store;
  readonly operations: Operations;
  readonly audit: Audit;
  readonly taskOf: RunnerParts["taskOf"];
  /** One was created or cancelled. */
  readonly onChange: () => void;
};

const noSuch = {
  status: 404,
  detail: "There is no such operation; ended ones are kept for a week.",
};

export function operationRoutes(
  app: FastifyInstance,
  needs: NeedsScope,
  options: OperationRoutesOptions,
): void {
  const mayRead = { onRequest: needs("queue:read") };
  const mayWrite = { onRequest: needs("queue:write") };
  app.post<{ Body: OperationBody }>(
    "/v1/operations",
    { ...mayWrite, schema: { body: operationBodySchema } },
    (request, reply) => {
      assertEmpty(request.query);
      return create(askedOperation(request.body, clientOf(request).name), reply, options);
    },
  );
  app.get("/v1/operations", mayRead, (request) => page(request.query, options));
  app.get<{ Params: { id: string } }>("/v1/operations/:id", mayRead, (request, reply) => {
    assertEmpty(request.query);
    return sendOperation(request.params.id, reply, options);
  });
  app.post<{ Params: { id: string }; Body: { readonly reason: string } }>(
    "/v1/operations/:id/cancel",
    { ...mayWrite, schema: { body: cancelBodySchema } },
    (request, reply) => {
      assertEmpty(request.query);
      const { reason } = request.body;
      const who = clientOf(request).name;
      return cancel(request.params.id, { reason, who }, reply, options);
    },
  );
}

async function create(
  asked: AskedOperation,
  reply: FastifyReply,
  { store, operations, audit, taskOf, onChange }: OperationRoutesOptions,
): Promise<object> {
  if (asked.to === store.instanceName) throw refusal("to", "is this instance itself");
  const nowMs = store.clock.nowMs();
  const { selection } = taskOf(asked, nowMs);
  const id = newOperationId(nowMs);
  const { who, action, reason, isDryRun } = asked;
  const entry = { who, action, selection, reason, operation: id } as const;
  return await whileReachable(store, async () => {
    if (!isDryRun) await audit({ ...entry, outcome: "started" });
    if ((await operations.create({ id, task: formatTask(asked) })) === "many") {
      if (!isDryRun) await audit({ ...entry, outcome: "failed" });
      return sendProblem(reply, {
        status: 429,
        detail: "There are 100 operations that have not ended: wait for some, or cancel them.",
        retryAfterSeconds: 10,
      });
    }
    onChange();
    const created = await operations.read(id);
    reply.code(202).header("Location", `/v1/operations/${id}`);
    return created === undefined ? { id } : operationView(created);
  });
}

/** By time, so that they sort; and not to be guessed from one another. */
function newOperationId(nowMs: number): string {
  return `${Math.floor(nowMs).toString(36).padStart(9, "0")}-${randomBytes(4).toString("hex")}`;
}

async function page(raw: unknown, { store, operations }: OperationRoutesOptions): Promise<object> {
  const query = new Query(raw, ["cursor", "limit"]);
  const limit = query.limit();
  const cursor = query.one("cursor");
  if (cursor !== undefined && !/^[0-9a-z-]{1,40}$/.test(cursor)) {
    throw refusal("cursor", "is not one that a listing gave");
  }
  const found = await whileReachable(store, () =>
    operations.listOperations({ limit, ...(cursor === undefined ? {} : { cursor }) }),
  );
  return {
    operations: found.operations.map(operationView),
    ...(found.cursor === undefined ? {} : { cursor: found.cursor }),
  };
}

async function sendOperation(
  id: string,
  reply: FastifyReply,
  { store, operations }: OperationRoutesOptions,
): Promise<object> {
  const operation = await whileReachable(store, () => operations.read(id));
  return operation === undefined ? sendProblem(reply, noSuch) : operationView(operation);
}

async function cancel(
  id: string,
  { who, reason }: { readonly who: string; readonly reason: string },
  reply: FastifyReply,
  { store, operations, audit, onChange }: OperationRoutesOptions,
): Promise<object> {
  return await whileReachable(store, async () => {
    const operation = await operations.read(id);
    if (operation === undefined) return sendProblem(reply, noSuch);
    const selection = `operation ${id}`;
    const entry = { who, action: "cancel", selection, reason, operation: id };
    if (hasEnded(operation) || !(await operations.cancel(id))) {
      return sendProblem(reply, { status: 409, detail: "The operation has ended." });
    }
    await audit({ ...entry, outcome: "done" });
    onChange();
    const now = await operations.read(id);
    reply.code(202);
    return operationView(now ?? operation);
  });
}

function hasEnded({ state }: StoredOperation): boolean {
  return state !== "running" && state !== "cancelling";
}
