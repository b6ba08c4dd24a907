/**
 * One measured run: smtp-source sends messages through a relay to smtp-sink, and everybody's CPU time is read.
 *
 * End to end lasts from the first connection to the moment at which the sink holds the last message. CPU is read when
 * the relay's queue is empty too, so that the work after a delivery counts.
 */
import { smtpSource, waitFor } from "@postmq/testing";
import type { SmtpSink } from "@postmq/testing";

import { endedChildrenCpuSeconds, PeakMemory, treeCpuSeconds } from "./process-usage.ts";

/** A relay under test. */
export type Relay = {
  readonly name: string;
  readonly port: number;
  readonly sink: SmtpSink;
  /** What its processes are called in the table, and their ids. */
  readonly parts: ReadonlyMap<string, readonly number[]>;
  queued(): Promise<number>;
};

export type Load = {
  readonly messages: number;
  readonly sessions: number;
  readonly lengthBytes: number;
  /** Many messages on each connection (smtp-source -d), or one. */
  readonly keepsConnections: boolean;
};

export type Measurement = {
  readonly acceptPerSecond: number;
  readonly endToEndPerSecond: number;
  /** Microseconds of CPU per message, by part. */
  readonly cpuUs: ReadonlyMap<string, number>;
  /** Sum of the relay's parts. */
  readonly totalCpuUs: number;
  /** Sink and source together: the same work in every run, so it tells how fast the machine was just then. */
  readonly loadCpuUs: number;
  readonly peakPssMb: number;
};

/** Sends `load` through the relay. @throws when a message is refused or does not arrive in time. */
export async function measure(relay: Relay, load: Load): Promise<Measurement> {
  const roots = [...relay.parts.values()].flat();
  using memory = new PeakMemory(roots);
  const before = readCpu(relay);
  const received = relay.sink.messages;
  const startMs = performance.now();
  await smtpSource({ port: relay.port, ...load });
  const acceptedMs = performance.now();
  await waitFor(() => relay.sink.messages >= received + load.messages, {
    timeoutMs: 120_000,
    everyMs: 5,
    describe: () => `${relay.name}: ${relay.sink.messages - received} of ${load.messages}`,
  });
  const deliveredMs = relay.sink.lastMs;
  await waitFor(async () => (await relay.queued()) === 0, {
    everyMs: 50,
    describe: `${relay.name}'s queue to be empty`,
  });
  const after = readCpu(relay);
  const perMessageUs = (seconds: number) => (seconds * 1e6) / load.messages;
  const cpuUs = new Map(
    [...after.parts].map(([part, seconds]) => [
      part,
      perMessageUs(seconds - (before.parts.get(part) ?? 0)),
    ]),
  );
  return {
    acceptPerSecond: (load.messages * 1000) / (acceptedMs - startMs),
    endToEndPerSecond: (load.messages * 1000) / (deliveredMs - startMs),
    cpuUs,
    totalCpuUs: [...cpuUs.values()].reduce((total, us) => total + us, 0),
    loadCpuUs: perMessageUs(after.load - before.load),
    peakPssMb: memory.end(),
  };
}

function readCpu(relay: Relay) {
  return {
    parts: new Map([...relay.parts].map(([part, pids]) => [part, treeCpuSeconds(pids)] as const)),
    load: treeCpuSeconds([relay.sink.pid]) + endedChildrenCpuSeconds(),
  };
}

/** The run in the middle by end-to-end rate. */
export function medianRun(runs: readonly Measurement[]): Measurement {
  const sorted = runs.toSorted((a, b) => a.endToEndPerSecond - b.endToEndPerSecond);
  const median = sorted[Math.floor(sorted.length / 2)];
  if (median === undefined) throw new Error("no run was made");
  return median;
}
