/**
 * The metrics of one process, in Prometheus's text form.
 *
 * A thin wrapper over a prom-client registry of its own: each metric is declared once, with its help text, and
 * declaring the same name twice is a bug. Labels are of bounded number: never a queue id or an address (STYLE §3).
 *
 * Source: spec metrics.md; prom-client 15.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

export type Labels = Readonly<Record<string, string>>;

export type CounterMetric = { increment(labels?: Labels, by?: number): void };
export type GaugeMetric = {
  set(value: number, labels?: Labels): void;
  /** Forgets all label sets, for a metric that is made anew at each scrape. */
  reset(): void;
};
export type HistogramMetric = { observe(value: number, labels?: Labels): void; reset(): void };

export type Metrics = {
  counter(name: string, help: string, labelNames?: readonly string[]): CounterMetric;
  /** A counter that somebody else keeps, read at each scrape. */
  readCounter(name: string, help: string, read: () => number): void;
  /** `collect` is called before each scrape, to set the gauge. */
  gauge(
    name: string,
    help: string,
    labelNames?: readonly string[],
    collect?: (gauge: GaugeMetric) => void | Promise<void>,
  ): GaugeMetric;
  histogram(
    name: string,
    help: string,
    labelNames?: readonly string[],
    buckets?: readonly number[],
  ): HistogramMetric;
  /** What a scrape gets. */
  text(): Promise<string>;
  /** The Content-Type of `text()`. */
  readonly contentType: string;
};

/** A registry for one process; `service` becomes a label of every metric. */
export function createMetrics(service: string): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ service });
  const registers = [registry];
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    counter: (name, help, labelNames = []) => {
      const counter = new Counter({ name, help, labelNames: [...labelNames], registers });
      return { increment: (labels = {}, by = 1) => counter.inc({ ...labels }, by) };
    },
    readCounter: (name, help, read) => {
      const counter: Counter = new Counter({
        name,
        help,
        registers,
        collect: () => {
          counter.reset();
          counter.inc(read());
        },
      });
    },
    gauge: (name, help, labelNames = [], collect) => {
      const face: GaugeMetric = {
        set: (value, labels = {}) => gauge.set({ ...labels }, value),
        reset: () => gauge.reset(),
      };
      const gauge = new Gauge({
        name,
        help,
        labelNames: [...labelNames],
        registers,
        ...(collect === undefined ? {} : { collect: () => collect(face) }),
      });
      return face;
    },
    histogram: (name, help, labelNames = [], buckets) => {
      const histogram = new Histogram({
        name,
        help,
        labelNames: [...labelNames],
        registers,
        ...(buckets === undefined ? {} : { buckets: [...buckets] }),
      });
      return {
        observe: (value, labels = {}) => histogram.observe({ ...labels }, value),
        reset: () => histogram.reset(),
      };
    },
  };
}
