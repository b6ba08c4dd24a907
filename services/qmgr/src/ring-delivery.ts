/**
 * Rings workers for a delivery job. A ring that is known to be lost is rung again soon (see request-watch).
 *
 * Source: DESIGN §3 "Rings may be lost".
 */
import type { Scheduling } from "@postmq/queue-store";
import type { RequestName } from "@postmq/vocabulary";
import type { ActiveQueue, JobOut } from "./active-queue.ts";

export async function ringDelivery(
  parts: { readonly scheduling: Scheduling; readonly active: ActiveQueue },
  job: JobOut,
  requests: readonly RequestName[],
  nowMs: () => number,
): Promise<void> {
  const { isAlone, keepsConnection } = job;
  const isRung = await parts.scheduling.ringDelivery({ requests, isAlone, keepsConnection });
  if (!isRung) parts.active.ringLost(job, nowMs());
}
