/**
 * Tries one delivery request in this process, then ends: `alone-main.ts <id>/<number>/<generation>`.
 *
 * Started by the daemon for a message whose earlier tries killed their worker; whatever this one does, no other
 * message pays for it. It has a heartbeat and claims of its own, and tells its parent that it lives.
 *
 * Source: DESIGN §3 "A message whose worker crashed"; faults.md 39.
 */
import { hostname } from "node:os";

import { loadParameters, processEnvironment } from "@postmq/config";
import { openResolver } from "@postmq/dns";
import { openLog } from "@postmq/observability";
import { openStore } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";

import { aliveIntervalMs, parseRequestName } from "./alone.ts";
import { attemptRecorder } from "./attempt-log.ts";
import { DeliveryWorker } from "./delivery-worker.ts";
import { openProtocolNotices } from "./protocol-notice.ts";
import { openAttemptSettings } from "../settings.ts";

const name = parseRequestName(process.argv[2] ?? "");
if (name === undefined) {
  process.stderr.write("usage: alone-main.ts <id>/<number>/<generation>\n");
  process.exit(exitCodes.usage);
}
const parameters = loadParameters({ env: processEnvironment(), service: "smtp-delivery" });
const log = openLog({
  syslogName: parameters.syslog_name,
  service: "smtp-delivery",
  format: parameters.log_format,
});
const fall = (error: unknown) => {
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error), name.id);
  process.exit(exitCodes.software);
};
process.on("uncaughtException", fall);
process.on("unhandledRejection", fall);
const draining = new AbortController();
let mayHoldClaim = false;
const leave = () => {
  draining.abort();
  if (!mayHoldClaim) process.exit(exitCodes.ok);
};
process.on("SIGTERM", leave);
// Ctrl-C reaches the whole process group; the parent passes the end of service on by SIGTERM.
process.on("SIGINT", () => {});
// A parent that is gone is no reason to drop a delivery half way, but one to end soon.
process.on("disconnect", () => {
  clearInterval(alive);
  leave();
});
const ignoreFailure = () => {}; // "disconnect" tells that the parent is gone.
const alive = setInterval(
  () => process.send?.({ type: "alive" }, undefined, undefined, ignoreFailure),
  aliveIntervalMs,
);
alive.unref();
// It may have gone while this program was loaded, before anybody listened for that.
if (process.send !== undefined && !process.connected) leave();

log.info("trying it alone", name.id);
const store = await openStore({
  redisUrl: parameters.redis_url,
  instanceName: parameters.instance_name,
  processName: `smtp-delivery-alone-${hostname()}-${process.pid}`.replaceAll(
    /[^A-Za-z0-9.-]/g,
    "-",
  ),
  memoryHighWater: parameters.redis_memory_high_water,
  heartbeatMs: parameters.worker_heartbeat_time,
  leaseMs: parameters.leader_lease_time,
  crashLimit: parameters.crash_limit,
  onNotice: ({ level, text }) => log[level](text),
});
const settings = await openAttemptSettings(parameters, {
  resolver: openResolver(parameters),
  onWarning: (text) => log.warning(text),
  onInfo: (text) => log.info(text),
});
const protocolNotices = openProtocolNotices(parameters, store, (text) => log.warning(text));
const worker = new DeliveryWorker({
  parameters,
  delivering: await store.delivering({ concurrency: 1 }),
  settings,
  ...(protocolNotices === undefined ? {} : { protocolNotices }),
  log,
  draining: draining.signal,
  nowMs: () => store.clock.nowMs(),
  onAttempt: attemptRecorder(log, parameters.delay_logging_resolution_limit, undefined),
});
mayHoldClaim = true;
const served = worker.serve({ requests: [name], keepsConnection: false });
const drained = new Promise<void>((resolve) => {
  draining.signal.addEventListener("abort", () => resolve());
});
await Promise.race([served, drained]);
await worker.drain(served);
await store[Symbol.asyncDispose]();
process.exit(exitCodes.ok);
