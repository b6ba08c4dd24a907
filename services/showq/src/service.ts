/**
 * Builds showq from the parameters: the HTTP API that looks on and acts for operators, and the queue's metrics.
 *
 * Source: DESIGN §2 "showq".
 */
import { parseTransports, transportParameter } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { runOperation } from "@postmq/queue-admin";
import { openRouting, openSites } from "@postmq/routing";
import { openStore } from "@postmq/queue-store";
import type { Copying, MovingAway, Store } from "@postmq/queue-store";
import type { Resolver, RoutingRules, Sites } from "@postmq/routing";
import { openHttpServer } from "@postmq/service-kit";
import type { HttpServer, Service, ServiceContext } from "@postmq/service-kit";

import { auditRoute } from "./audit-route.ts";
import { declareDestinationMetrics } from "./destination-metrics.ts";
import { destinationRoutes } from "./destination-routes.ts";
import { explainRoute } from "./explain-route.ts";
import { LongReads } from "./long-reads.ts";
import { moveOperation } from "./move-operation.ts";
import { openAudit } from "./operation-audit.ts";
import { operationRoutes } from "./operation-routes.ts";
import { OperationRunner } from "./operation-runner.ts";
import { namedTask } from "./operation-task.ts";
import { queueRoutes } from "./queue-routes.ts";
import { declareQueueMetrics } from "./queue-metrics.ts";
import { rawRoute } from "./raw-route.ts";
import { timelineRoute } from "./timeline-route.ts";
import { UnfinishedMoves } from "./unfinished-moves.ts";
import { workerRoutes } from "./worker-routes.ts";

/** The largest that showq takes is an operation on a thousand ids. */
const bodyLimitBytes = 32 * 1024;

export async function startShowq(context: ServiceContext): Promise<Service> {
  const looking = context.store.looking();
  declareQueueMetrics(context.metrics, context.store, looking);
  declareDestinationMetrics(context.metrics, context.store, looking);
  const copying = context.store.copying();
  const operating = openOperations(context, copying);
  const moves = new UnfinishedMoves({ ...context, copying });
  const server = await openAdministration(context, looking, { ...operating, copying });
  operating.runner.start();
  moves.start();
  return {
    listeners: server === undefined ? [] : [{ name: "http", address: server.address }],
    notReady: () => undefined,
    drain: async () => {
      await Promise.all([server?.close(), operating.runner.drain(), moves.drain()]);
    },
  };
}

/** Operations are carried out whether or not this showq is one that can be asked for them. */
function openOperations(context: ServiceContext, copying: Copying & MovingAway) {
  const { store, log } = context;
  const [operations, auditing, selecting] = [
    store.operations(),
    store.auditing(),
    store.selecting(),
  ];
  const audit = openAudit(auditing, log);
  const [acting, operating] = [store.acting(), store.operating()];
  const moving = {
    instanceName: store.instanceName,
    clock: store.clock,
    selecting,
    copying,
    open: (name: string) => openInstance(context, name),
  };
  const runner = new OperationRunner({
    store,
    operations,
    audit,
    log,
    taskOf: namedTask,
    run: ({ id, to }, task, progress) => {
      if (to !== undefined) return moveOperation(moving, task, to, progress);
      const counting = acting.countingFor(id);
      const faces = { acting: counting, operating, selecting, clock: store.clock };
      return runOperation(faces, task, progress);
    },
  });
  return { operations, auditing, selecting, audit, runner };
}

/** Another instance on the same Redis, in which nothing of this process runs. */
function openInstance(
  { parameters, processName }: ServiceContext,
  instanceName: string,
): Promise<Store> {
  return openStore({
    redisUrl: parameters.redis_url,
    instanceName,
    processName,
    memoryHighWater: parameters.redis_memory_high_water,
    heartbeatMs: parameters.worker_heartbeat_time,
    leaseMs: parameters.leader_lease_time,
  });
}

/** @returns undefined when showq_listen is empty: showq then only tells metrics */
async function openAdministration(
  { parameters, store, log }: ServiceContext,
  looking: ReturnType<typeof store.looking>,
  {
    operations,
    auditing,
    selecting,
    audit,
    runner,
    copying,
  }: ReturnType<typeof openOperations> & { readonly copying: Pick<MovingAway, "asideNames"> },
): Promise<HttpServer | undefined> {
  if (parameters.showq_listen === "") return undefined;
  const resolve = await openRouting(parameters, (text) => log.warning(text));
  const sites = openSites(parameters);
  return await openHttpServer({
    listen: parameters.showq_listen,
    listenParameter: "showq_listen",
    tokensFile: parameters.api_tokens,
    log,
    bodyLimitBytes,
    routes: (app, needs) => {
      const parts = { store, looking };
      const longReads = new LongReads();
      const deferTransports = parameters.defer_transports;
      const emptyAddress = parameters.empty_address_recipient;
      queueRoutes(app, needs, { ...parts, selecting, longReads, emptyAddress });
      explainRoute(app, needs, {
        ...parts,
        deferTransports,
        rules: rules(parameters, resolve, sites),
        sites,
      });
      const transports = [...parseTransports(parameters).keys()];
      destinationRoutes(app, needs, { ...parts, transports });
      rawRoute(app, needs, parts);
      timelineRoute(app, needs, { ...parts, longReads, timelines: store.timelines() });
      workerRoutes(app, needs, { ...parts, copying });
      auditRoute(app, needs, { store, auditing });
      const onChange = () => runner.nudge();
      operationRoutes(app, needs, { store, operations, audit, taskOf: namedTask, onChange });
    },
  });
}

function rules(parameters: Parameters, resolve: Resolver, sites: Sites | undefined): RoutingRules {
  return {
    resolve,
    ...(sites === undefined ? {} : { siteOf: (destination) => sites.siteOf(destination) }),
    recipientLimit: (transport) =>
      transportParameter(parameters, transport, "destination_recipient_limit"),
    recipientDelimiter: parameters.recipient_delimiter,
  };
}
