/** A showq over a real store that is asked for operations, and whose runner a test can hold between two steps. */
import assert from "node:assert/strict";

import { runOperation } from "@postmq/queue-admin";
import type { OperationProgress, OperationTask } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { openHttpServer } from "@postmq/service-kit";
import type { NeedsScope } from "@postmq/service-kit";
import { waitFor } from "@postmq/testing";
import type { FastifyInstance } from "fastify";

import { auditRoute } from "./audit-route.ts";
import type { Answer } from "./looking-on.test-support.ts";
import { moveOperation } from "./move-operation.ts";
import { openAudit } from "./operation-audit.ts";
import { operationRoutes } from "./operation-routes.ts";
import { OperationRunner } from "./operation-runner.ts";
import { namedTask } from "./operation-task.ts";

export type OperatorOptions = {
  readonly tokensFile?: string;
  readonly holdMs?: number;
  /** Opens another instance, which the operation closes. */
  readonly open?: (instanceName: string) => Promise<Store>;
  /** Awaited after each step, before it is saved. */
  readonly afterStep?: (progress: OperationProgress) => Promise<void>;
};

export async function openOperator(store: Store, options: OperatorOptions = {}) {
  const lines: string[] = [];
  const note = (text: string) => void lines.push(text);
  const log = { info: note, warning: note, error: note };
  const [operations, auditing] = [store.operations(), store.auditing()];
  const audit = openAudit(auditing, log);
  const [acting, selecting] = [store.acting(), store.selecting()];
  const moving = {
    instanceName: store.instanceName,
    clock: store.clock,
    selecting,
    copying: store.copying(),
    open: (name: string) => options.open?.(name) ?? assert.fail("no other instance is at hand"),
  };
  const runner = new OperationRunner({
    store,
    operations,
    audit,
    log,
    taskOf: namedTask,
    run: heldSteps,
    ...(options.holdMs === undefined ? {} : { holdMs: options.holdMs }),
  });
  async function* heldSteps(
    { id, to }: { readonly id: string; readonly to?: string },
    task: OperationTask,
    from?: OperationProgress,
  ) {
    const faces = { acting: acting.countingFor(id), selecting, clock: store.clock };
    const steps =
      to === undefined ? runOperation(faces, task, from) : moveOperation(moving, task, to, from);
    for await (const progress of steps) {
      await options.afterStep?.(progress);
      yield progress;
    }
  }
  const server = await openHttpServer({
    listen: "127.0.0.1:0",
    listenParameter: "showq_listen",
    tokensFile: options.tokensFile ?? "",
    log,
    bodyLimitBytes: 32 * 1024,
    routes: (app: FastifyInstance, needsScope) => {
      // Without tokens nobody has the scopes; that is tried with tokens.
      const isOpen = (options.tokensFile ?? "") === "";
      const needs: NeedsScope = (scope) => needsScope(isOpen ? "queue:read" : scope);
      const onChange = () => runner.nudge();
      operationRoutes(app, needs, { store, operations, audit, taskOf: namedTask, onChange });
      auditRoute(app, needs, { store, auditing });
    },
  });
  return {
    url: `http://${server.address}/v1`,
    runner,
    lines,
    async [Symbol.asyncDispose](): Promise<void> {
      await server.close();
      await runner.drain();
    },
  };
}

export async function post(url: string, body: unknown, token?: string): Promise<Answer> {
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, body: asObject(await response.json()) };
}

export function asObject(value: unknown): Readonly<Record<string, unknown>> {
  assert.ok(typeof value === "object" && value !== null);
  return { ...value };
}

/** Asks for an operation. @returns where it is */
export async function asked(url: string, body: object): Promise<string> {
  const response = await fetch(`${url}/operations`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ reason: "a test", ...body }),
  });
  assert.equal(response.status, 202, await response.clone().text());
  const location = response.headers.get("location") ?? "";
  assert.match(location, /^\/v1\/operations\/[0-9a-z-]+$/);
  return new URL(location, url).href;
}

/** Waits until the operation there has ended. */
export async function ended(at: string): Promise<Readonly<Record<string, unknown>>> {
  let view: Readonly<Record<string, unknown>> = {};
  await waitFor(async () => {
    view = asObject(await (await fetch(at)).json());
    return "ended" in view;
  });
  return view;
}
