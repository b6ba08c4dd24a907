/** What the SMTP server counts, under the names of Postfix's exporters. Source: spec metrics.md. */
import type { CounterMetric, Metrics } from "@postmq/observability";

export type SmtpdMetrics = {
  readonly connects: CounterMetric;
  readonly disconnects: CounterMetric;
  /** By `after_stage`. */
  readonly lostConnections: CounterMetric;
  readonly messages: CounterMetric;
  /** By `code`. */
  readonly rejects: CounterMetric;
};

export function declareSmtpdMetrics(metrics: Metrics): SmtpdMetrics {
  return {
    connects: metrics.counter("postfix_smtpd_connects_total", "Connections from clients."),
    disconnects: metrics.counter("postfix_smtpd_disconnects_total", "Connections that have ended."),
    lostConnections: metrics.counter(
      "postfix_smtpd_connections_lost_total",
      "Connections that ended without QUIT, by the last command.",
      ["after_stage"],
    ),
    messages: metrics.counter("postfix_smtpd_messages_processed_total", "Messages queued."),
    rejects: metrics.counter(
      "postfix_smtpd_messages_rejected_total",
      "Commands and messages refused, by reply code.",
      ["code"],
    ),
  };
}
