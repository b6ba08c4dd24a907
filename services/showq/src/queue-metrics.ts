/**
 * The metrics of the queue as a whole. showq is their one holder: several exporters of the same queue would make sums
 * wrong (metrics.md, trap f).
 *
 * They are read at each scrape, from the indexes, at most once a second. An empty queue exports 0 (trap g); while
 * Redis is away nothing is exported, so that no old figure passes for a new one.
 *
 * Source: spec metrics.md; P12.
 */
import type { GaugeMetric, Metrics } from "@postmq/observability";
import type { Looking, QueueDepth, Store } from "@postmq/queue-store";
import { CachedReading } from "./cached-reading.ts";

export function declareQueueMetrics(metrics: Metrics, store: Store, looking: Looking): void {
  const depths = new CachedReading(store, () => looking.depths());
  const { instanceName } = store;
  const each = async (gauge: GaugeMetric, value: (depth: QueueDepth) => number) => {
    gauge.reset();
    for (const depth of await depths.read()) {
      gauge.set(value(depth), { queue: depth.queue, instance_name: instanceName });
    }
  };
  metrics.gauge(
    "postmq_queue_messages",
    "Messages in each queue.",
    ["queue", "instance_name"],
    (gauge) => each(gauge, ({ messages }) => messages),
  );
  metrics.gauge(
    "postmq_queue_oldest_age_seconds",
    "Age of the oldest message of each queue by its arrival; 0 when the queue is empty.",
    ["queue", "instance_name"],
    (gauge) => each(gauge, (depth) => oldestAgeSeconds(depth, store.clock.nowMs())),
  );
}

export function oldestAgeSeconds(
  { oldestArrivalMs }: Pick<QueueDepth, "oldestArrivalMs">,
  nowMs: number,
): number {
  return oldestArrivalMs === undefined ? 0 : Math.max(0, nowMs - oldestArrivalMs) / 1000;
}
