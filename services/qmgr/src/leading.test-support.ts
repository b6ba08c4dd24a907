/** A term of leadership over a fake store, with time that only moves when a test says so. */
import assert from "node:assert/strict";
import type { Log } from "@postmq/observability";
import type { RoutingRules, Sites } from "@postmq/routing";
import type { QueueId } from "@postmq/vocabulary";
import { ActiveQueue } from "./active-queue.ts";
import type { FakeStore } from "./fake-store.test-support.ts";
import type { QmgrMeters } from "./meters.ts";
import { jobSize } from "./scheduler/job-size.ts";
import type { DestinationRules } from "./scheduler/destination.ts";
import { DueTimes } from "./scheduler/due-times.ts";
import type { Scheduler } from "./scheduler/scheduler.ts";
import { destinationRules, openScheduler, rules } from "./scheduler/scheduling.test-support.ts";
import { Term } from "./term.ts";

export const limits = { destination: 3, activeLimit: 50, backoffMs: 10_000, lifetimeMs: 100_000 };

/** error.example fails here, retry.example is deferred here, discard.example is dropped; others go to their domain. */
function resolve(address: string) {
  const domain = address.slice(address.indexOf("@") + 1);
  if (domain === "error.example") return { transport: "error", nexthop: "5.1.1 no such user" };
  if (domain === "discard.example") return { transport: "discard", nexthop: "not wanted" };
  if (domain === "retry.example") return { transport: "retry", nexthop: "4.3.0 not now" };
  return { transport: "smtp", nexthop: domain };
}

const meter = { increment: () => undefined, set: () => undefined, reset: () => undefined };
export const noMeters: QmgrMeters = {
  leader: meter,
  active: meter,
  dispatched: meter,
  reaped: meter,
  ambiguous: meter,
  deferred: meter,
  removed: meter,
  corrupt: meter,
  leasesLost: meter,
};

export class Lines implements Log {
  readonly lines: string[] = [];
  info(text: string, id?: string): void {
    this.lines.push(id === undefined ? text : `${id}: ${text}`);
  }
  warning(text: string, id?: string): void {
    this.info(text, id);
  }
  error(text: string, id?: string): void {
    this.info(text, id);
  }
}

/** Timers that fire when `advance` passes their time. */
export class FakeTicker {
  #timers: { everyMs: number; nextMs: number; action: () => void }[] = [];
  readonly #store: FakeStore;

  constructor(store: FakeStore) {
    this.#store = store;
  }

  readonly every = (everyMs: number, action: () => void): (() => void) => {
    const timer = { everyMs, nextMs: this.#store.nowMs + everyMs, action };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  };

  get running(): number {
    return this.#timers.length;
  }

  async advance(ms: number): Promise<void> {
    const untilMs = this.#store.nowMs + ms;
    while (this.#store.nowMs < untilMs) {
      this.#store.nowMs = Math.min(untilMs, this.#store.nowMs + 250);
      for (const timer of this.#timers) {
        if (timer.nextMs > this.#store.nowMs) continue;
        timer.nextMs += timer.everyMs;
        timer.action();
      }
      this.#store.nudge();
      await settled();
    }
  }
}

/** Lets everything that needs no time run to its end. */
export async function settled(): Promise<void> {
  for (let n = 0; n < 3; n += 1) await new Promise((resolved) => setImmediate(resolved));
}

/** What a test may want otherwise. */
export type LeadingChanges = {
  readonly activeLimit?: number;
  readonly deferTransports?: readonly string[];
  readonly delayWarningMs?: number;
  readonly destination?: Partial<DestinationRules>;
  /** Where next hops count (destination_grouping = mx). */
  readonly sites?: Pick<Sites, "siteOf" | "prepare">;
};

export class Leading {
  readonly #changes: LeadingChanges;
  readonly store: FakeStore;
  readonly ticker: FakeTicker;
  readonly log = new Lines();
  /** The one of the latest leader. */
  scheduler: Scheduler | undefined;
  #term: Promise<unknown> | undefined;
  #stop = new AbortController();
  /** Rings incoming. */
  ring: (source: "incoming" | "deferred") => void = () => undefined;

  constructor(store: FakeStore, changes: LeadingChanges = {}) {
    this.store = store;
    this.#changes = changes;
    this.ticker = new FakeTicker(store);
  }

  /** A new leader takes over; whoever led before is fenced. */
  async takeOver(): Promise<void> {
    this.store.holder = undefined;
    const fence = await this.store.acquire();
    assert(fence !== undefined);
    const { activeLimit = limits.activeLimit, destination } = this.#changes;
    const scheduler = openScheduler(
      {
        ...rules,
        destination: {
          ...destinationRules,
          concurrencyLimit: limits.destination,
          deadMs: 10_000,
          ...destination,
        },
      },
      { activeLimit, sizeOfJob: jobSize },
    );
    this.scheduler = scheduler;
    const term = new Term({
      fence,
      scheduling: this.store.seenBy(fence),
      leadership: this.store,
      scheduler,
      openActive: (onStuck) => this.#openActive(scheduler, onStuck),
      clock: { nowMs: () => this.store.nowMs },
      log: this.log,
      meters: noMeters,
      health: () => ({ memoryRatio: 0 }),
      countActive: () => this.store.countActive(),
      openBells: (onRing) => {
        this.ring = onRing;
        return Promise.resolve([]);
      },
      every: this.ticker.every,
      siteLookup: this.#changes.sites && { sites: this.#changes.sites, rules: this.#routing },
      settings: {
        leaseMs: 8000,
        sweepIntervalMs: 5000,
        activeLimit,
        recipientLimit: 1000,
        recipientMinimum: 10,
        queueRunMs: 60_000,
        transportRetryMs: 60_000,
        ambiguous: "retry",
        delayDecimals: 2,
      },
    });
    this.#stop = new AbortController();
    this.#term = term.run(this.#stop.signal).then(
      () => "in order",
      (error: unknown) => {
        this.log.info(`the term ended: ${String(error)}`);
        return error;
      },
    );
    await settled();
  }

  /** How the term ended: "in order", or the error. */
  async ended(): Promise<unknown> {
    for (let n = 0; n < 20; n += 1) await this.ticker.advance(250);
    return Promise.race([this.#term, Promise.resolve("still leading")]);
  }

  stop(): void {
    this.#stop.abort();
  }

  get #routing(): RoutingRules {
    const { sites } = this.#changes;
    return {
      resolve,
      recipientLimit: () => 2,
      recipientDelimiter: "",
      ...(sites === undefined ? {} : { siteOf: (destination) => sites.siteOf(destination) }),
    };
  }

  #openActive(scheduler: Scheduler, onStuck: (id: QueueId) => void): ActiveQueue {
    const dueTimes = new DueTimes(() => 0.5);
    return new ActiveQueue({
      scheduler,
      grouping: {
        ...this.#routing,
        softBounce: false,
        deferTransports: new Set(this.#changes.deferTransports),
        isDoubleBounce: () => false,
      },
      recipientLimit: 1000,
      recipientMinimum: 10,
      poolOf: () => ({
        recipientLimit: 1000,
        extraLimit: 100,
        refillLimit: 10,
        refillDelayMs: 5000,
      }),
      shareKeyOf: () => "",
      limits: {
        backoff: { minimalMs: limits.backoffMs, maximalMs: 40_000 },
        lifetime: { maximalMs: limits.lifetimeMs, bounceMs: limits.lifetimeMs },
        delayWarningMs: this.#changes.delayWarningMs ?? 0,
        dueAt: (nowMs, restMs) => dueTimes.add(nowMs, restMs),
        crashLimit: 3,
      },
      checkAfterMs: 5000,
      reportTimeoutMs: 60_000,
      onStuck,
    });
  }
}
