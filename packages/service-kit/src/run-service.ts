/**
 * What every daemon does alike: read the parameters, open log, metrics and store, tell its health, drain, end.
 *
 * The order matters: /livez and /readyz answer before the store is there; the service starts once the store is fit;
 * listeners are announced to the supervisor when the service listens. SIGTERM, SIGINT and a supervisor that went away
 * start the drain, which has a grace period; whatever is left after it is left to the claims (P3), and the process ends
 * all the same. An uncaught error or a panic is logged and ends the process at once with 70: nothing is done by a
 * program whose state is in doubt, and the queues recover.
 *
 * *Important:* no signal ends the process twice as fast. Ctrl-C reaches supervisor and services alike, and the
 * supervisor then sends SIGTERM as well.
 *
 * Source: DESIGN P10, §7; STYLE §6 "A bug is a panic"; master(8) for exit statuses.
 */
import { hostname } from "node:os";
import { loadParameters, processEnvironment } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { createMetrics, openLog, printable, redact } from "@postmq/observability";
import type { Log, Metrics } from "@postmq/observability";
import { openStore } from "@postmq/queue-store";
import type { Store } from "@postmq/queue-store";
import { exitCodes, systemClock } from "@postmq/vocabulary";
import type { ServiceName } from "@postmq/vocabulary";
import { connectStore } from "./connect-store.ts";
import { watchDrain } from "./drain-deadline.ts";
import { exitStatusFor } from "./exit-status.ts";
import { openHealthServer } from "./health-server.ts";
import { declareProcessMetrics } from "./process-metrics.ts";
import type { Service, ServiceContext } from "./service.ts";

/** One try to reach Redis; then it is said in the log, and tried again. */
const connectTimeoutMs = 5_000;

type Start = (context: ServiceContext) => Promise<Service>;

/** Runs a service for the life of this process. Resolves never: the process ends with a sysexits status. */
export async function runService(name: ServiceName, start: Start): Promise<void> {
  let log = openLog({ syslogName: "postmq", service: name });
  watchForBugs(() => log);
  const draining = drainSignal();
  watchDrain(draining, () => {
    log.warning("not drained in time: ending with work in flight");
    process.exit(exitCodes.tempFail);
  });
  const warnings: string[] = [];
  let parameters: Parameters;
  try {
    parameters = loadParameters({
      env: processEnvironment(),
      service: name,
      onWarning: (text) => warnings.push(text),
    });
  } catch (error) {
    refuseToStart(log, error);
  }
  log = openLog({
    syslogName: parameters.syslog_name,
    service: name,
    format: parameters.log_format,
  });
  for (const text of warnings) log.warning(text);
  try {
    await live({ name, start, parameters, log, draining });
  } catch (error) {
    refuseToStart(log, error);
  }
  process.exit(exitCodes.ok);
}

type Life = {
  readonly name: ServiceName;
  readonly start: Start;
  readonly parameters: Parameters;
  readonly log: Log;
  readonly draining: AbortSignal;
};

async function live({ name, start, parameters, log, draining }: Life): Promise<void> {
  const processName = `${name}-${hostname()}-${process.pid}`.replaceAll(/[^A-Za-z0-9.-]/g, "-");
  const metrics = createMetrics(name);
  let store: Store | undefined;
  let service: Service | undefined;
  const notReady = () => whyNotReady(draining, store, service);
  declareProcessMetrics(metrics, notReady);
  await using health = await openHealthServer({
    listen: parameters.metrics_listen,
    metrics,
    log,
    notReady,
  });
  store = await connectStore({
    open: () => openServiceStore(parameters, processName, log),
    log,
    signal: draining,
    nowMs: () => systemClock.nowMs(),
  });
  if (store === undefined) return;
  await using opened = store;
  declareStoreMetrics(metrics, opened);
  service = await start({ parameters, store, log, metrics, processName, signal: draining });
  announce(name, service, health.address, log);
  await whenAborted(draining);
  await service.drain();
}

function openServiceStore(parameters: Parameters, processName: string, log: Log): Promise<Store> {
  return openStore({
    redisUrl: parameters.redis_url,
    instanceName: parameters.instance_name,
    processName,
    memoryHighWater: parameters.redis_memory_high_water,
    heartbeatMs: parameters.worker_heartbeat_time,
    leaseMs: parameters.leader_lease_time,
    crashLimit: parameters.crash_limit,
    processLimit: parameters.default_process_limit,
    timelines: {
      mostBytes: parameters.event_memory,
      retentionMs: parameters.event_retention,
    },
    connectTimeoutMs,
    onNotice: ({ level, text }) => log[level](text),
  });
}

function whyNotReady(
  draining: AbortSignal,
  store: Store | undefined,
  service: Service | undefined,
): string | undefined {
  if (draining.aborted) return "draining";
  if (store === undefined) return "the store is not connected";
  const health = store.health();
  if (!health.isReachable) return "the store is not reachable";
  if (health.trouble !== undefined) return health.trouble;
  return service === undefined ? "starting" : service.notReady();
}

function declareStoreMetrics(metrics: Metrics, store: Store): void {
  metrics.gauge(
    "postmq_redis_memory_ratio",
    "Redis's used memory as a part of its maxmemory; 0 when that is unlimited.",
    [],
    (gauge) => gauge.set(store.health().memoryRatio),
  );
  metrics.gauge(
    "postmq_redis_durability",
    "1 for the way Redis keeps what it answered: always, everysec, no (its appendfsync), or off.",
    ["mode"],
    (gauge) => {
      gauge.reset();
      gauge.set(1, { mode: store.health().durability });
    },
  );
}

/** Tells log and supervisor where the service listens; its own listeners first, metrics_listen last. */
function announce(
  name: ServiceName,
  service: Service,
  metricsAddress: string | undefined,
  log: Log,
): void {
  const listeners = [
    ...service.listeners,
    ...(metricsAddress === undefined ? [] : [{ name: "metrics", address: metricsAddress }]),
  ];
  for (const { name: listener, address } of listeners) {
    log.info(`listening on ${address} (${listener})`);
    process.send?.({ type: "listening", service: name, listener, address });
  }
  process.send?.({ type: "ready" });
}

/** Fires once at SIGTERM, SIGINT, or when the supervisor that started this process is gone. */
function drainSignal(): AbortSignal {
  const controller = new AbortController();
  const drain = () => controller.abort();
  process.on("SIGTERM", drain);
  process.on("SIGINT", drain);
  process.on("disconnect", drain);
  return controller.signal;
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Panics and uncaught errors end the process; the supervisor starts it again. */
function watchForBugs(log: () => Log): void {
  const fall = (error: unknown) => {
    log().error(error instanceof Error ? (error.stack ?? error.message) : String(error));
    process.exit(exitCodes.software);
  };
  process.on("uncaughtException", fall);
  process.on("unhandledRejection", fall);
}

/** Ends the process with the status and the words that fit the failure, on standard error and in the log. */
function refuseToStart(log: Log, error: unknown): never {
  const text = error instanceof Error ? error.message : String(error);
  const status = exitStatusFor(error);
  if (status === exitCodes.software && error instanceof Error) log.error(error.stack ?? text);
  else log.error(`fatal: ${text}`);
  process.stderr.write(`fatal: ${redact(printable(text))}\n`);
  process.exit(status);
}
