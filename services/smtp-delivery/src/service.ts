/**
 * The delivery daemon: does what delivery jobs say and records one outcome per recipient. Any number of copies.
 *
 * Source: DESIGN §2, §3; spec delivery.md.
 */
import { openResolver } from "@postmq/dns";
import type { Service, ServiceContext } from "@postmq/service-kit";
import type { DeliveryBell } from "@postmq/queue-store";

import { AlonePlaces } from "./job/alone.ts";
import { attemptRecorder } from "./job/attempt-log.ts";
import { DeliveryWorker } from "./job/delivery-worker.ts";
import { openProtocolNotices } from "./job/protocol-notice.ts";
import { restoreHeldOutcomes } from "./job/held-outcomes.ts";
import { openAttemptSettings } from "./settings.ts";

const aloneEntry = new URL("./job/alone-main.ts", import.meta.url);
/** Jobs that waited so long while nothing ran: the listener is stuck. */
const listenerSilenceMs = 60_000;

export async function startSmtpDelivery(context: ServiceContext): Promise<Service> {
  const { parameters, store, log, metrics, signal } = context;
  const concurrency = parameters.smtp_delivery_concurrency;
  const delivering = await store.delivering({ concurrency });
  if (parameters.data_directory !== "") {
    await restoreHeldOutcomes(parameters.data_directory, delivering, (level, text) =>
      log[level](text),
    );
  }
  const settings = await openAttemptSettings(parameters, {
    resolver: openResolver(parameters),
    onWarning: (text) => log.warning(text),
    onInfo: (text) => log.info(text),
  });
  const protocolNotices = openProtocolNotices(parameters, store, (text) => log.warning(text));
  const worker = new DeliveryWorker({
    parameters,
    delivering,
    settings,
    ...(protocolNotices === undefined ? {} : { protocolNotices }),
    log,
    draining: signal,
    nowMs: () => store.clock.nowMs(),
    onAttempt: attemptRecorder(log, parameters.delay_logging_resolution_limit, metrics),
  });
  metrics.gauge("postmq_smtp_idle_connections", "Idle connections kept for reuse.", [], (gauge) =>
    gauge.set(worker.cache.size),
  );
  const places = new AlonePlaces({
    entry: aloneEntry,
    concurrency,
    // In doubt it is: the claim decides.
    isWanted: (name) => delivering.isQueued(name).catch(() => true),
    draining: signal,
    onNotice: (level, text, name) => log[level](text, name.id),
  });
  const serveAlone = async ({ requests, keepsConnection }: DeliveryBell) => {
    for (const name of requests) {
      // Draining: claimed and given back here, without a try.
      if ((await places.run(name)) === "draining")
        await worker.serve({ requests: [name], keepsConnection });
    }
  };
  const serve = (bell: DeliveryBell) => (bell.isAlone ? serveAlone(bell) : worker.serve(bell));
  const listener = await store.listenForDeliveries({ concurrency }, (bell) =>
    serve(bell).catch(endProcess),
  );
  return {
    listeners: [],
    notReady: () =>
      listener.silentMs() > listenerSilenceMs && worker.jobs + places.held === 0
        ? "the listener of active is silent"
        : undefined,
    drain: () => worker.drain(listener.close()),
  };
}

/**
 * A bug: claims of ours would never be reaped while this process lives, so it must not (STYLE §6). Thrown outside of
 * any promise, it reaches service-kit's handler, which logs it and exits 70.
 */
function endProcess(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
