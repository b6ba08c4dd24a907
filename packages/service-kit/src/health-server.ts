/**
 * The listener on `metrics_listen`: /metrics, /livez and /readyz of one process.
 *
 * /livez answers as long as the event loop turns and never asks Redis, so an outage of Redis restarts nobody.
 * /readyz says what is missing. Neither tells a version. There is no token here: what it shows has neither
 * addresses nor ids, and a NetworkPolicy guards it in containers.
 *
 * Source: DESIGN §7; spec metrics.md; spec security.md 11 and 19.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log, Metrics } from "@postmq/observability";
import { listenOn } from "./listen-address.ts";

export type HealthServer = AsyncDisposable & {
  /** undefined: metrics_listen is empty. */
  readonly address: string | undefined;
};

export async function openHealthServer(options: {
  readonly listen: string;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Why this process is not ready, or undefined when it is. */
  readonly notReady: () => string | undefined;
}): Promise<HealthServer> {
  if (options.listen === "") {
    return { address: undefined, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 },
    (request, response) => {
      answer(request, response, options).catch((error: unknown) => {
        options.log.error(`${request.url}: ${String(error)}`);
        send(response, 500, "the metrics can't be read\n");
      });
    },
  );
  server.maxConnections = 100;
  const address = await listenOn(server, { parameter: "metrics_listen", value: options.listen });
  return {
    address,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: { readonly metrics: Metrics; readonly notReady: () => string | undefined },
): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("Allow", "GET, HEAD");
    send(response, 405, "only GET\n");
    return;
  }
  switch (request.url?.replace(/\?.*$/, "")) {
    case "/metrics": {
      const text = await options.metrics.text();
      response.setHeader("Content-Type", options.metrics.contentType);
      send(response, 200, text);
      return;
    }
    case "/livez":
      send(response, 200, "ok\n");
      return;
    case "/readyz": {
      const reason = options.notReady();
      send(response, reason === undefined ? 200 : 503, `${reason ?? "ok"}\n`);
      return;
    }
    default:
      send(response, 404, "here are /metrics, /livez and /readyz\n");
  }
}

function send(response: ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  if (!response.hasHeader("Content-Type")) {
    response.setHeader("Content-Type", "text/plain; charset=utf-8");
  }
  response.setHeader("Cache-Control", "no-store");
  response.end(body);
}
