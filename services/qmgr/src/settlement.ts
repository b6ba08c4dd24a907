/**
 * What is to become of a message of which nothing is outstanding.
 *
 * The order is Postfix's (queues.md §3.7), but all recipients are read and tried before a report is asked for, so
 * that one report tells the sender of every failure of this attempt (D33).
 *
 * Mail from the null sender takes the same way: the bounce service is the one place that decides whom a report is
 * owed to, and answers that nobody wants it (D28).
 *
 * Source: queues.md §3.7, Q5, Q6, Q7; spec S5, S10, S11.
 */
import type { Settlement } from "@postmq/queue-store";
import { backoffMs } from "./backoff.ts";
import type { BackoffLimits } from "./backoff.ts";
import { isExpired } from "./lifetime.ts";
import type { LifetimeLimits } from "./lifetime.ts";
import { crashesBeforeAlone } from "./message.ts";
import type { ActiveMessage } from "./message.ts";

export type SettlementLimits = {
  readonly backoff: BackoffLimits;
  readonly lifetime: LifetimeLimits;
  /** crash_limit: crashes with the message alone, before it goes to corrupt. */
  readonly crashLimit: number;
};

/** Either something to tell the store, or recipients to read first. */
export type Decision =
  | { readonly kind: "settle"; readonly message: ActiveMessage; readonly settlement: Settlement }
  | { readonly kind: "read"; readonly message: ActiveMessage; readonly from: number };

/** Source: queues.md §3.7. */
export function decide(message: ActiveMessage, nowMs: number, limits: SettlementLimits): Decision {
  const settle = (action: SettlementAction): Decision => ({
    kind: "settle",
    message,
    settlement: { id: message.id, generation: message.generation, ...action },
  });
  if (message.corruptReason !== undefined) {
    return settle({ action: "corrupt", reason: message.corruptReason });
  }
  if (message.mustRecount) return { kind: "read", message, from: 0 };
  if (message.nextRecipient < message.totalRecipients) {
    return { kind: "read", message, from: message.nextRecipient };
  }
  const defer = (): Decision =>
    settle({
      action: "defer",
      dueMs: nowMs + backoffMs(nowMs - message.createdMs, limits.backoff),
      countAttempt: message.wasTried,
    });
  if (message.isReportLate) return defer();
  if (message.unreported > 0) return settle({ action: "report", kind: "failure" });
  if (message.deferred === 0) return settle({ action: "remove" });
  const isGivenUp = message.wasTried && isExpired(message, nowMs, limits.lifetime);
  return isGivenUp ? settle({ action: "report", kind: "expired" }) : defer();
}

type SettlementAction = DistributiveOmit<Settlement, "id" | "generation">;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** Why a message goes to corrupt for its crashes, or undefined while it may be tried (DESIGN §3). */
export function crashReason(crashes: number, crashLimit: number): string | undefined {
  if (crashes < crashesBeforeAlone + crashLimit) return undefined;
  return `${crashes} delivery processes crashed with this message`;
}
