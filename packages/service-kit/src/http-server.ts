/**
 * An HTTP API listener: fastify with problem details, bearer tokens, and limits on slow callers.
 *
 * With `api_tokens` set every request needs a token whose scopes hold the route's. Without it the listener must be
 * loopback, else it refuses to start (P11); callers then are on this machine and may hand in mail and look on; root, and
 * the user of the service, may do the rest. A Host header that is a domain name is refused, so that no web page can reach
 * it by a name that resolves to loopback.
 *
 * Bodies are taken as they are: nothing is coerced or removed to fit a schema, and `__proto__` in JSON is refused.
 *
 * Source: DESIGN P11; spec http-api.md §1, security.md 4, 8, 11, 18; RFC 6750; RFC 9457.
 */
import Fastify from "fastify";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isIP } from "node:net";
import type { Log } from "@postmq/observability";
import { PanicError, PostmqError } from "@postmq/vocabulary";
import { TokenFile, localAdministrator, localClient } from "./api-tokens.ts";
import type { ApiClient, ApiScope } from "./api-tokens.ts";
import { problemOf, sendProblem } from "./http-problem.ts";
import { formatAddress, isLoopback, listenError, parseListenAddress } from "./listen-address.ts";
import { uidOfPeer } from "./local-peer.ts";

export type HttpServerOptions = {
  /** host:port; not empty. */
  readonly listen: string;
  /** Parameter that `listen` comes from, for messages. */
  readonly listenParameter: string;
  /** Parameter api_tokens: the file, or empty. */
  readonly tokensFile: string;
  readonly log: Log;
  /** Largest body of a request. */
  readonly bodyLimitBytes: number;
  readonly nowMs?: () => number;
  /** Adds the routes, each with `{ onRequest: needs("scope") }`: before its body is read. */
  readonly routes: (app: FastifyInstance, needs: NeedsScope) => void | Promise<void>;
};

/** A hook that lets a request pass only if its client has the scope. */
export type NeedsScope = (
  scope: ApiScope,
) => (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

export type HttpServer = AsyncDisposable & {
  readonly address: string;
  /** Takes no new requests and waits for those under way. */
  close(): Promise<void>;
};

const requestTimeoutMs = 300_000;
const idleTimeoutMs = 60_000;
const otherMethods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const clients = new WeakMap<FastifyRequest, ApiClient>();

/** Who sent the request; known once `needs` has let it pass. */
export function clientOf(request: FastifyRequest): ApiClient {
  const client = clients.get(request);
  if (client === undefined) throw new PanicError("a route is without a scope");
  return client;
}

/**
 * Opens the listener.
 *
 * @throws PMQ_CONFIG_INVALID when it is not loopback and there are no tokens; what the system says when the address
 * can't be had.
 */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { host, port } = parseListenAddress(options.listen);
  const tokens =
    options.tokensFile === ""
      ? undefined
      : new TokenFile(options.tokensFile, options.nowMs ?? Date.now);
  if (tokens === undefined && !isLoopback(host)) {
    throw new PostmqError(
      "PMQ_CONFIG_INVALID",
      `${options.listenParameter} = ${options.listen} can be reached from other machines: set api_tokens, ` +
        "or listen on 127.0.0.1",
      { facts: { parameter: options.listenParameter, value: options.listen } },
    );
  }
  const app = Fastify({
    logger: false,
    bodyLimit: options.bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: requestTimeoutMs,
    keepAliveTimeout: idleTimeoutMs,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 255 },
    // It would carry out the GET, however large, for the sake of its headers: a stream that nobody reads.
    exposeHeadRoutes: false,
    // Of addresses that no route is sought for: malformed, or with a part that is too long.
    frameworkErrors: (error, _request, reply) => {
      sendProblem(reply, problemOf(error));
    },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
  });
  // JSON only, until a route's owner adds a type; text/plain is also what a web page can send to anybody.
  app.removeContentTypeParser("text/plain");
  handleErrors(app, options.log);
  if (tokens === undefined) {
    app.addHook("onRequest", async (request, reply) => {
      if (isLocalName(request.hostname)) return;
      await sendProblem(reply, {
        status: 403,
        detail: "Without tokens this API answers to localhost and to addresses only.",
      });
    });
  }
  const methods = collectMethods(app);
  await options.routes(
    app,
    (scope) => (request, reply) => authorize(request, reply, scope, tokens),
  );
  refuseOtherMethods(app, methods);
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw listenError({ parameter: options.listenParameter, value: options.listen }, error);
  }
  const bound = app.server.address();
  const close = () => app.close();
  return {
    address:
      bound === null || typeof bound === "string"
        ? options.listen
        : formatAddress(bound.address, bound.port),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function handleErrors(app: FastifyInstance, log: Log): void {
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof PanicError) {
      // Not ours to catch: it must end the process.
      setImmediate(() => {
        throw error;
      });
    }
    const problem = problemOf(error);
    if (problem.status >= 500) {
      const text =
        error instanceof Error ? (problem.isOurs && error.stack) || error.message : String(error);
      log.warning(`${request.method} ${request.routeOptions.url ?? ""}: ${text}`);
    }
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((_request, reply) =>
    sendProblem(reply, { status: 404, detail: "There is nothing at this address." }),
  );
}

/** The methods of each path that gets routes from now on. */
function collectMethods(app: FastifyInstance): ReadonlyMap<string, ReadonlySet<string>> {
  const methods = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    for (const one of [method].flat()) known.add(one);
    methods.set(url, known);
  });
  return methods;
}

/** A path that exists answers the other common methods with 405 and the methods that it has. Source: RFC 9110 15.5.6. */
function refuseOtherMethods(
  app: FastifyInstance,
  methods: ReadonlyMap<string, ReadonlySet<string>>,
): void {
  const known = [...methods].map(([url, names]) => [url, [...names]] as const);
  for (const [url, allowed] of known) {
    app.route({
      method: otherMethods.filter((method) => !allowed.includes(method)),
      url,
      // Before the body is read.
      onRequest: async (request, reply) => {
        await sendProblem(reply.header("Allow", allowed.join(", ")), {
          status: 405,
          detail: `${request.method} is not possible here.`,
        });
      },
      handler: () => undefined,
    });
  }
}

/** localhost or an address, as Host has it without the port. */
function isLocalName(name: string): boolean {
  const bare = name.replace(/^\[(.*)\]$/, "$1");
  return bare.toLowerCase() === "localhost" || isIP(bare) !== 0;
}

async function authorize(
  request: FastifyRequest,
  reply: FastifyReply,
  scope: ApiScope,
  tokens: TokenFile | undefined,
): Promise<void> {
  if (tokens === undefined) {
    const client = localClient.scopes.includes(scope)
      ? localClient
      : localAdministrator(await uidOfPeer(request.raw.socket));
    if (client !== undefined) {
      clients.set(request, client);
      return;
    }
    await sendProblem(reply, {
      status: 403,
      detail: `Without tokens (api_tokens is empty) the scope ${scope} is for root and the user of this service.`,
    });
    return;
  }
  const token = /^Bearer +([A-Za-z0-9._~+/=-]{1,512})$/i.exec(
    request.headers.authorization ?? "",
  )?.[1];
  const verdict = token === undefined ? "unknown" : await tokens.check(token);
  if (verdict === "busy") {
    await sendProblem(reply, {
      status: 429,
      detail: "Too many tokens are being checked.",
      retryAfterSeconds: 1,
    });
  } else if (verdict === "unknown") {
    reply.header("WWW-Authenticate", 'Bearer realm="postmq"');
    await sendProblem(reply, { status: 401, detail: "A valid bearer token is needed." });
  } else if (!verdict.scopes.includes(scope)) {
    reply.header("WWW-Authenticate", `Bearer error="insufficient_scope", scope="${scope}"`);
    await sendProblem(reply, { status: 403, detail: `The token lacks the scope ${scope}.` });
  } else {
    clients.set(request, verdict);
  }
}
