/**
 * The cleanup daemon: listens to maildrop's bells and cleans what they name.
 *
 * Source: DESIGN §2 "cleanup"; cleanup(8).
 */
import type { BellListener } from "@postmq/queue-store";
import { InFlowDelay } from "@postmq/service-kit";
import type { Service, ServiceContext } from "@postmq/service-kit";
import type { QueueId } from "@postmq/vocabulary";
import { cleanMessage } from "./clean-message.ts";
import { WorkBudget } from "./work-budget.ts";

/** Messages in work at once: enough to share round trips and commits under load, few enough to bound memory. */
const maxMessages = 20;
const maxContentBytes = 67_108_864;
/** Rings whose ids wait for the budget. */
const concurrency = 20;
/** Rings that waited so long: the listener is stuck. */
const longestSilenceMs = 60_000;

export async function startCleanup(context: ServiceContext): Promise<Service> {
  const { parameters, store, log, metrics } = context;
  const cleaning = store.cleaning();
  const inFlow = new InFlowDelay(parameters.in_flow_delay, cleaning);
  const parts = {
    cleaning,
    inFlow,
    log,
    parameters,
    places: new WorkBudget(maxMessages),
    bytes: new WorkBudget(maxContentBytes),
  };
  const ends = metrics.counter(
    "postmq_cleanup_messages_total",
    "Messages that cleanup took from maildrop, by how that ended.",
    ["end"],
  );
  const clean = async (id: QueueId) => ends.increment({ end: await cleanMessage(parts, id) });
  const listener = await store.listen("maildrop", { concurrency }, async ({ ids }) => {
    const results = await Promise.allSettled(ids.map(clean));
    for (const result of results) if (result.status === "rejected") fall(result.reason);
  });
  return {
    listeners: [],
    notReady: () => whySilent(listener),
    drain: () => {
      inFlow.end();
      return listener.close();
    },
  };
}

function whySilent(listener: BellListener): string | undefined {
  if (listener.silentMs() < longestSilenceMs) return undefined;
  return `no bell of maildrop was read for ${longestSilenceMs / 1000} s`;
}

/** A bug ends the process (STYLE §6); thrown here it would only end the ring. */
function fall(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
