/** Metrics that every process has: its CPU, memory, age and readiness, under Prometheus's customary names. */
import type { Metrics } from "@postmq/observability";

export function declareProcessMetrics(metrics: Metrics, notReady: () => string | undefined): void {
  metrics.gauge(
    "postmq_ready",
    "1 when this process is ready to do its work, else 0.",
    [],
    (gauge) => gauge.set(notReady() === undefined ? 1 : 0),
  );
  metrics.readCounter(
    "process_cpu_seconds_total",
    "CPU time that this process has used, in seconds.",
    () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
  );
  metrics.gauge(
    "process_resident_memory_bytes",
    "Memory of this process that is resident, in bytes.",
    [],
    (gauge) => gauge.set(process.memoryUsage.rss()),
  );
  metrics
    .gauge("process_start_time_seconds", "When this process started, in seconds since 1970.")
    .set(Math.round(Date.now() / 1000 - process.uptime()));
}
