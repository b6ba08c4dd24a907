/**
 * The scheduler's parameters, as its parts want them.
 *
 * Source: spec parameters.md §1; postconf(5).
 */
import { transportParameter } from "@postmq/config";
import type { Parameters, TransportSuffix } from "@postmq/config";
import type { Envelope } from "@postmq/vocabulary";
import type { PoolRules } from "./scheduler/recipient-pool.ts";
import type { SchedulerOptions } from "./scheduler/scheduler.ts";
import type { TransportRules } from "./scheduler/transport.ts";

/** What T_… and default_… say of a transport. */
export function transportRules(parameters: Parameters, transport: string): TransportRules {
  const of = <Suffix extends TransportSuffix>(suffix: Suffix) =>
    transportParameter(parameters, transport, suffix);
  const rateDelayMs = of("destination_rate_delay");
  return {
    destination: {
      // S30: a rate delay means one at a time.
      concurrencyLimit: rateDelayMs > 0 ? 1 : of("destination_concurrency_limit"),
      initialConcurrency: of("initial_destination_concurrency"),
      positiveFeedback: of("destination_concurrency_positive_feedback"),
      negativeFeedback: of("destination_concurrency_negative_feedback"),
      failedCohortLimit: of("destination_concurrency_failed_cohort_limit"),
      rateDelayMs,
      deadMs: parameters.minimal_backoff_time,
    },
    rateDelayMs: of("transport_rate_delay"),
    slotCost: of("delivery_slot_cost"),
    slotLoan: of("delivery_slot_loan"),
    slotDiscount: of("delivery_slot_discount"),
    minimumSlots: of("minimum_delivery_slots"),
  };
}

export function poolRules(parameters: Parameters, transport: string): PoolRules {
  return {
    recipientLimit: transportParameter(parameters, transport, "recipient_limit"),
    extraLimit: transportParameter(parameters, transport, "extra_recipient_limit"),
    refillLimit: transportParameter(parameters, transport, "recipient_refill_limit"),
    refillDelayMs: transportParameter(parameters, transport, "recipient_refill_delay"),
  };
}

/** Recipients in memory: raised to the message limit if set lower (scheduling.md §1). */
export function recipientLimit(parameters: Parameters): number {
  return Math.max(parameters.qmgr_message_recipient_limit, parameters.qmgr_message_active_limit);
}

export function schedulerOptions(
  parameters: Parameters,
  told: Pick<SchedulerOptions, "onClogged" | "onFeedback">,
): SchedulerOptions {
  const { fair_share_key: key, fair_share_weights: weights } = parameters;
  return {
    rulesOf: (transport) => transportRules(parameters, transport),
    activeLimit: parameters.qmgr_message_active_limit,
    mostDestinations: 2 * recipientLimit(parameters),
    // Messages carry no tags yet.
    weightOf: key === "none" || key === "tag" ? undefined : (name) => weights.get(name) ?? 1,
    clogWarnMs: parameters.qmgr_clog_warn_time,
    onClogged: told.onClogged,
    onFeedback: parameters.destination_concurrency_feedback_debug ? told.onFeedback : undefined,
  };
}

/** Whose turns a message takes (fair_share_key). */
export function shareKey(parameters: Parameters, { sender, client }: Envelope): string {
  switch (parameters.fair_share_key) {
    case "sender_domain":
      return sender.slice(sender.lastIndexOf("@") + 1).toLowerCase();
    case "sasl_username":
      return client?.saslUsername ?? "";
    case "client":
      return client?.address ?? "";
    case "tag":
    case "none":
      return "";
    default:
      return parameters.fair_share_key satisfies never;
  }
}

/** What an operator should know of settings that stand in each other's way. Source: spec S8, S10; scheduling.md §1. */
export function oddSettings(parameters: Parameters): readonly string[] {
  const odd: string[] = [];
  if (parameters.minimal_backoff_time > parameters.maximal_backoff_time) {
    odd.push("minimal_backoff_time is larger than maximal_backoff_time; the minimum counts");
  }
  if (parameters.queue_run_delay > parameters.minimal_backoff_time) {
    odd.push("queue_run_delay is larger than minimal_backoff_time");
  }
  if (parameters.bounce_queue_lifetime > parameters.maximal_queue_lifetime) {
    odd.push("bounce_queue_lifetime is larger than maximal_queue_lifetime, which counts instead");
  }
  if (parameters.qmgr_message_recipient_limit < parameters.qmgr_message_active_limit) {
    odd.push(
      "qmgr_message_recipient_limit is smaller than qmgr_message_active_limit, which counts instead",
    );
  }
  if (parameters.fair_share_key === "tag") {
    odd.push("fair_share_key = tag: messages carry no tags yet, so all take the same turns");
  }
  return odd;
}
