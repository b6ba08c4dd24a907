/**
 * What is to become of a message of which nothing is outstanding.
 *
 * The order is Postfix's (queues.md §3.7), but all recipients are read and tried before a report is asked for, so
 * that one report tells the sender of every failure of this attempt (D33), and then one of every success (D31).
 *
 * Mail from the null sender takes the same way: the bounce service is the one place that decides whom a report is
 * owed to, and answers that nobody wants it (D28).
 *
 * Source: queues.md §3.7, Q5, Q6, Q7; spec S5, S10 to S13, S31, D31.
 */
import type { Settlement } from "@postmq/queue-store";
import { backoffMs } from "./scheduler/backoff.ts";
import type { BackoffLimits } from "./scheduler/backoff.ts";
import { isExpired } from "./lifetime.ts";
import type { LifetimeLimits } from "./lifetime.ts";
import { crashesBeforeAlone } from "./message.ts";
import type { ActiveMessage } from "./message.ts";

export type SettlementLimits = {
  readonly backoff: BackoffLimits;
  readonly lifetime: LifetimeLimits;
  /** delay_warning_time; 0: never. */
  readonly delayWarningMs: number;
  /** When a message is due that is to rest so long (S6). */
  readonly dueAt: (nowMs: number, restMs: number) => number;
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
  const defer = (restMs = backoffMs(nowMs - message.createdMs, limits.backoff)): Decision =>
    settle({
      action: "defer",
      dueMs: limits.dueAt(nowMs, restMs),
      countAttempt: message.wasTried,
      ...(message.deferred === 0 && message.surplusOf !== undefined
        ? { surplusOf: message.surplusOf }
        : {}),
    });
  if (message.isReportLate) return defer();
  if (message.unreported > 0) return settle({ action: "report", kind: "failure" });
  if (message.unreportedSuccesses > 0) return settle({ action: "report", kind: "success" });
  if (message.deferred === 0 && message.surplusOf === undefined)
    return settle({ action: "remove" });
  // Nobody tried those that wait for room: they are called back, and at the latest due like any that failed once.
  if (message.deferred === 0) return defer(limits.backoff.minimalMs);
  if (isGivenUp(message, nowMs, limits)) return settle({ action: "report", kind: "expired" });
  if (isDelayToReport(message, nowMs, limits)) return settle({ action: "report", kind: "delay" });
  return defer();
}

/** S10, and what an operator wants returned. Recipients that wait for room have not had their try. */
function isGivenUp(message: ActiveMessage, nowMs: number, limits: SettlementLimits): boolean {
  if (!message.wasTried || message.surplusOf !== undefined) return false;
  return message.isForceExpired || isExpired(message, nowMs, limits.lifetime);
}

/** To the second, as Postfix has it. */
const warningSlackMs = 1000;

/**
 * S13. Departs: the time is worked out from the parameter as it is now, not stored when the message came.
 */
function isDelayToReport(message: ActiveMessage, nowMs: number, limits: SettlementLimits): boolean {
  if (limits.delayWarningMs === 0 || message.sender === "" || message.wasWarned) return false;
  return message.wasTried && nowMs >= message.arrivalMs + limits.delayWarningMs - warningSlackMs;
}

type SettlementAction = DistributiveOmit<Settlement, "id" | "generation">;
type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** Why a message goes to corrupt for its crashes, or undefined while it may be tried (DESIGN §3). */
export function crashReason(crashes: number, crashLimit: number): string | undefined {
  if (crashes < crashesBeforeAlone + crashLimit) return undefined;
  return `${crashes} delivery processes crashed with this message`;
}
