/**
 * What the log and the metrics tell of an attempt: one line and one count per recipient.
 *
 * Source: spec delivery.md §8; spec metrics.md (postfix_smtp_*).
 */
import type { Log, LoggedStatus, Metrics } from "@postmq/observability";
import { logDelivery } from "@postmq/observability";
import type { ClaimedRequest } from "@postmq/queue-store";
import type { OutcomeKind } from "@postmq/vocabulary";

import type { AttemptResult } from "../attempt/attempt.ts";
import type { RecipientReport } from "../attempt/attempt-state.ts";
import { shownServer } from "../session/smtp-session.ts";

const loggedStatuses: Readonly<Record<OutcomeKind, LoggedStatus>> = {
  sent: "sent",
  deferred: "deferred",
  failed: "bounced",
};

/** D13: a bounce that soft_bounce keeps back has a word of its own. */
function loggedStatus({ outcome, isSoftBounce }: RecipientReport): LoggedStatus {
  return isSoftBounce && outcome.kind === "deferred" ? "SOFTBOUNCE" : loggedStatuses[outcome.kind];
}

const delayBuckets = [1e-3, 1e-2, 1e-1, 1, 10, 60, 3600, 86_400, 172_800];

export type AttemptRecorder = (
  request: ClaimedRequest,
  result: AttemptResult,
  startedMs: number,
) => void;

/** @param metrics absent in a process without a metrics listener */
export function attemptRecorder(
  log: Log,
  delayDecimals: number,
  metrics: Metrics | undefined,
): AttemptRecorder {
  const count = metrics === undefined ? () => {} : attemptCounter(metrics);
  return (request, result, startedMs) => {
    for (const report of result.reports) {
      const delays = {
        beforeActive: request.activeMs - request.arrivalMs,
        inActive: startedMs - request.activeMs,
        connectionSetup: report.setupMs,
        transmission: report.transmissionMs,
      };
      logReport(log, { request, report, delays, delayDecimals });
      count(loggedStatus(report), delays);
    }
  };
}

type Delays = Parameters<typeof logDelivery>[1]["delays"];

function logReport(
  log: Log,
  facts: {
    readonly request: ClaimedRequest;
    readonly report: RecipientReport;
    readonly delays: Delays;
    readonly delayDecimals: number;
  },
): void {
  const { recipient, outcome, server, uses } = facts.report;
  logDelivery(log, {
    id: facts.request.name.id,
    recipient: recipient.address,
    originalRecipient: recipient.original,
    relay: server === undefined ? undefined : shownServer(server),
    connectionUses: uses,
    delays: facts.delays,
    dsn: outcome.status,
    status: loggedStatus(facts.report),
    text: outcome.reason,
    delayDecimals: facts.delayDecimals,
  });
}

function attemptCounter(metrics: Metrics): (status: LoggedStatus, delays: Delays) => void {
  const processed = metrics.counter(
    "postfix_smtp_messages_processed_total",
    "Recipients that delivery attempts were made for, by what became of them.",
    ["status"],
  );
  const delaySeconds = metrics.histogram(
    "postfix_smtp_delivery_delay_seconds",
    "Time that recipients spent in each stage up to the end of an attempt.",
    ["stage"],
    delayBuckets,
  );
  return (status, delays) => {
    processed.increment({ status });
    delaySeconds.observe(delays.beforeActive / 1000, { stage: "before_queue_manager" });
    delaySeconds.observe(delays.inActive / 1000, { stage: "queue_manager" });
    delaySeconds.observe(delays.connectionSetup / 1000, { stage: "connection_setup" });
    delaySeconds.observe(delays.transmission / 1000, { stage: "transmission" });
  };
}
