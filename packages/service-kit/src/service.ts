/**
 * What service-kit and a service agree on.
 *
 * Source: DESIGN §2 (the services), P10 (drain).
 */
import type { Parameters } from "@postmq/config";
import type { Log, Metrics } from "@postmq/observability";
import type { Store } from "@postmq/queue-store";

export type ServiceContext = {
  readonly parameters: Parameters;
  readonly store: Store;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Names this process among all: service, host, process id. */
  readonly processName: string;
  /** Fires when draining starts. */
  readonly signal: AbortSignal;
};

export type ServiceListener = { readonly name: string; readonly address: string };

/** A service that runs. */
export type Service = {
  /** Where it listens, beside metrics_listen. */
  readonly listeners: readonly ServiceListener[];
  /** Why it can't do its work right now, or undefined when it can. Cheap: asked by every probe. */
  notReady(): string | undefined;
  /** Takes no new work, ends or gives back what is in flight. Called once. */
  drain(): Promise<void>;
};
