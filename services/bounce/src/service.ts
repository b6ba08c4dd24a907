/**
 * The bounce daemon: listens to the bells of bounce and reports what they name.
 *
 * Source: DESIGN §2 "bounce"; bounce(8).
 */
import type { Service, ServiceContext } from "@postmq/service-kit";
import type { QueueId } from "@postmq/vocabulary";
import { reportMessage } from "./report-message.ts";
import { reportSettings } from "./settings.ts";

/** Reports in work at once. Each holds an original of at most bounce_size_limit in memory. */
const concurrency = 10;
/** Rings that waited so long: the listener is stuck. */
const longestSilenceMs = 60_000;

export async function startBounce(context: ServiceContext): Promise<Service> {
  const { parameters, store, log, metrics } = context;
  const parts = {
    reporting: store.reporting(),
    clock: store.clock,
    log,
    settings: reportSettings(parameters, (text) => log.warning(text)),
  };
  const ends = metrics.counter(
    "postmq_bounce_reports_total",
    "Reports that were owed, by what came of each.",
    ["end"],
  );
  const listener = await store.listen("bounce", { concurrency }, async ({ ids }) => {
    for (const id of ids) await reportOne(id);
  });

  async function reportOne(id: QueueId): Promise<void> {
    try {
      ends.increment({ end: await reportMessage(id, parts) });
    } catch (error) {
      fall(error);
    }
  }

  return {
    listeners: [],
    notReady: () =>
      listener.silentMs() < longestSilenceMs
        ? undefined
        : `no bell of bounce was read for ${longestSilenceMs / 1000} s`,
    drain: () => listener.close(),
  };
}

/** A bug ends the process (STYLE §6); thrown in a handler it would only end the ring. */
function fall(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
