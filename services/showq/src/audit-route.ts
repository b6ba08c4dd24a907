/**
 * `GET /v1/audit`: who did what to the queue, and why, the newest first.
 *
 * Source: spec http-api.md §2 "every mutating call takes `reason`, is audited".
 */
import { whileReachable } from "@postmq/queue-admin";
import type { AuditEntry, Auditing, Store } from "@postmq/queue-store";
import type { NeedsScope } from "@postmq/service-kit";
import type { FastifyInstance } from "fastify";

import { Query, refusal } from "./queue-query.ts";
import { seconds } from "./seconds.ts";

export type AuditRouteOptions = { readonly store: Store; readonly auditing: Auditing };

export function auditRoute(
  app: FastifyInstance,
  needs: NeedsScope,
  options: AuditRouteOptions,
): void {
  const onRequest = needs("queue:read");
  app.get("/v1/audit", { onRequest }, (request) => page(request.query, options));
}

async function page(raw: unknown, { store, auditing }: AuditRouteOptions): Promise<object> {
  const query = new Query(raw, ["cursor", "limit"]);
  const limit = query.limit();
  const cursor = query.one("cursor");
  if (cursor !== undefined && !/^\d{1,16}-\d{1,16}$/.test(cursor)) {
    throw refusal("cursor", "is not one that a listing gave");
  }
  const { entries, cursor: next } = await whileReachable(store, () =>
    auditing.readAudit({ limit, ...(cursor === undefined ? {} : { cursor }) }),
  );
  return { entries: entries.map(entryView), ...(next === undefined ? {} : { cursor: next }) };
}

function entryView({ atMs, ...entry }: AuditEntry): object {
  return { time: seconds(atMs), ...entry };
}
