/** Figures of the scheduler. Source: spec metrics.md; DESIGN P3, P8. */
import type { CounterMetric, GaugeMetric, Metrics } from "@postmq/observability";

export type QmgrMeters = {
  /** 1 while this process leads. */
  readonly leader: GaugeMetric;
  /** Messages in this leader's hands. */
  readonly active: GaugeMetric;
  readonly dispatched: CounterMetric;
  readonly reaped: CounterMetric;
  readonly ambiguous: CounterMetric;
  readonly deferred: CounterMetric;
  readonly removed: CounterMetric;
  readonly corrupt: CounterMetric;
  readonly leasesLost: CounterMetric;
};

export function openMeters(metrics: Metrics): QmgrMeters {
  return {
    leader: metrics.gauge(
      "postmq_qmgr_leader",
      "1 while this process is the scheduler that leads.",
    ),
    active: metrics.gauge("postmq_qmgr_active_messages", "Messages in the leader's hands."),
    dispatched: metrics.counter(
      "postmq_qmgr_dispatched_total",
      "Delivery requests given to workers.",
    ),
    reaped: metrics.counter(
      "postmq_qmgr_reaped_total",
      "Delivery requests taken back from workers that died before the final dot.",
    ),
    ambiguous: metrics.counter(
      "postmq_delivery_ambiguous_total",
      "Delivery requests of workers that died after the final dot was sent: delivered or not, nobody knows.",
    ),
    deferred: metrics.counter("postmq_qmgr_deferred_total", "Messages put into deferred."),
    removed: metrics.counter(
      "postmq_qmgr_removed_total",
      "Messages removed with nothing left to do.",
    ),
    corrupt: metrics.counter("postmq_qmgr_corrupt_total", "Messages put into corrupt."),
    leasesLost: metrics.counter(
      "postmq_lease_lost_total",
      "Times that this process had to stop leading.",
    ),
  };
}
