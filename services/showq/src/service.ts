/** Builds showq from the parameters: the HTTP API that looks on, and the queue's metrics. Source: DESIGN §2 "showq". */
import { parseTransports, transportParameter } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { openRouting, openSites } from "@postmq/routing";
import type { Resolver, RoutingRules, Sites } from "@postmq/routing";
import { openHttpServer } from "@postmq/service-kit";
import type { HttpServer, Service, ServiceContext } from "@postmq/service-kit";

import { declareDestinationMetrics } from "./destination-metrics.ts";
import { destinationRoutes } from "./destination-routes.ts";
import { explainRoute } from "./explain-route.ts";
import { queueRoutes } from "./queue-routes.ts";
import { declareQueueMetrics } from "./queue-metrics.ts";

/** showq takes no bodies. */
const bodyLimitBytes = 1024;

export async function startShowq(context: ServiceContext): Promise<Service> {
  const looking = context.store.looking();
  declareQueueMetrics(context.metrics, context.store, looking);
  declareDestinationMetrics(context.metrics, context.store, looking);
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
      const deferTransports = parameters.defer_transports;
      queueRoutes(app, needs, { ...parts, emptyAddress: parameters.empty_address_recipient });
      explainRoute(app, needs, {
        ...parts,
        deferTransports,
        rules: rules(parameters, resolve, sites),
        sites,
      });
      const transports = [...parseTransports(parameters).keys()];
      destinationRoutes(app, needs, { ...parts, transports });
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
