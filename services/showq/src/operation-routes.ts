/**
 * Operations by HTTP: asking for one, looking at it, stopping it.
 *
 * An operation is a resource: the answer to the request that made it is 202, and what became of it is found where
 * `Location` says, for a week after its end. What it is to do is checked before anything is kept.
 *
 * Who is told that nothing was stored may rely on it, also when Redis comes back: a note is waited for, and only then is
 * the operation asked for, over a connection that sends nothing later. A note of what was then not done does no harm.
 *
 * Source: spec http-api.md §2 "POST /v1/operations".
 */
import { randomBytes } from "node:crypto";

import { whileReachable } from "@postmq/queue-admin";
import type { Operations, Store, StoredOperation } from "@postmq/queue-store";
import { clientOf, sendProblem } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { isPostmqError } from "@postmq/vocabulary";
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
const ended = { status: 409, detail: "The operation has ended." };

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
  const note = (outcome: "started" | "failed") =>
    whileReachable(store, async () => {
      if (!isDryRun) await audit({ ...entry, outcome });
    });
  await note("started");
  const answer = await createdOrNot({ id, task: formatTask(asked) }, operations);
  if (answer === "unknown") {
    return sendProblem(reply, {
      status: 503,
      detail: `The queue did not answer; whether the operation was taken is not known: /v1/operations/${id} will tell.`,
      members: { code: "PMQ_STORE_NO_REPLY", id },
    });
  }
  if (answer === "many") {
    await note("failed");
    return sendProblem(reply, {
      status: 429,
      detail: "There are 100 operations that have not ended: wait for some, or cancel them.",
      retryAfterSeconds: 10,
    });
  }
  onChange();
  reply.code(202).header("Location", `/v1/operations/${id}`);
  return await viewNow(id, { store, operations });
}

/** @returns unknown: it was sent, and there was no answer */
async function createdOrNot(
  operation: { readonly id: string; readonly task: string },
  operations: Operations,
): Promise<"created" | "many" | "unknown"> {
  try {
    return await operations.create(operation);
  } catch (error) {
    if (isPostmqError(error, "PMQ_STORE_NO_REPLY")) return "unknown";
    throw error;
  }
}

/** What was asked for is taken, whether or not it can be looked at now. */
async function viewNow(
  id: string,
  { store, operations }: Pick<OperationRoutesOptions, "store" | "operations">,
): Promise<object> {
  try {
    const now = await whileReachable(store, () => operations.read(id));
    return now === undefined ? { id } : operationView(now);
  } catch (error) {
    if (isPostmqError(error)) return { id };
    throw error;
  }
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
  const operation = await whileReachable(store, () => operations.read(id));
  if (operation === undefined) return sendProblem(reply, noSuch);
  if (hasEnded(operation)) return sendProblem(reply, ended);
  const selection = `operation ${id}`;
  const entry = { who, action: "cancel", selection, reason, operation: id };
  await whileReachable(store, () => audit({ ...entry, outcome: "started" }));
  if (!(await operations.cancel(id))) {
    await whileReachable(store, () => audit({ ...entry, outcome: "failed" }));
    return sendProblem(reply, ended);
  }
  onChange();
  reply.code(202);
  return await viewNow(id, { store, operations });
}

function hasEnded({ state }: StoredOperation): boolean {
  return state !== "running" && state !== "cancelling";
}
