/** Log lines of recipients that the scheduler itself decided about. Source: spec S15, S18; delivery.md §8, D13, D28. */
import { logDelivery } from "@postmq/observability";
import type { Log, LoggedStatus } from "@postmq/observability";
import type { DecidedOutcomes } from "./active-queue.ts";
import type { DecidedRecipient } from "./grouping.ts";

export function logDecided(
  log: Log,
  { message, outcomes }: DecidedOutcomes,
  options: { readonly nowMs: number; readonly delayDecimals: number },
): void {
  for (const outcome of outcomes) {
    logDelivery(log, {
      id: message.id,
      recipient: outcome.address,
      originalRecipient: outcome.original,
      delays: {
        beforeActive: message.activeMs - message.arrivalMs,
        inActive: options.nowMs - message.activeMs,
        connectionSetup: 0,
        transmission: 0,
      },
      dsn: outcome.status,
      status: loggedStatus(outcome),
      text: outcome.reason,
      delayDecimals: options.delayDecimals,
    });
  }
}

function loggedStatus(outcome: DecidedRecipient): LoggedStatus {
  if (outcome.isSoftBounce) return "SOFTBOUNCE";
  return outcome.kind === "failed" ? "bounced" : outcome.kind;
}
