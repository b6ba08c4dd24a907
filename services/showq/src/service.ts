/** Builds showq from the parameters: the HTTP API that looks on, and the queue's metrics. Source: DESIGN §2 "showq". */
import { openHttpServer } from "@postmq/service-kit";
import type { HttpServer, Service, ServiceContext } from "@postmq/service-kit";

import { queueRoutes } from "./queue-routes.ts";
import { declareQueueMetrics } from "./queue-metrics.ts";

/** showq takes no bodies. */
const bodyLimitBytes = 1024;

export async function startShowq(context: ServiceContext): Promise<Service> {
  const looking = context.store.looking();
  declareQueueMetrics(context.metrics, context.store, looking);
  const server = await openAdministration(context, looking);
  return {
    listeners: server === undefined ? [] : [{ name: "http", address: server.address }],
    notReady: () => undefined,
    drain: async () => {
      await server?.close();
    },
  };
}

/** @returns undefined when showq_listen is empty: showq then only tells metrics */
async function openAdministration(
  { parameters, store, log }: ServiceContext,
  looking: ReturnType<typeof store.looking>,
): Promise<HttpServer | undefined> {
  if (parameters.showq_listen === "") return undefined;
  return await openHttpServer({
    listen: parameters.showq_listen,
    listenParameter: "showq_listen",
    tokensFile: parameters.api_tokens,
    log,
    bodyLimitBytes,
    routes: (app, needs) =>
      queueRoutes(app, needs, {
        store,
        looking,
        emptyAddress: parameters.empty_address_recipient,
      }),
  });
}
