/**
 * What holds for the scheduler whatever happens, in whatever order: random histories by seed.
 *
 * The world around it is a fake one with its own books: which request waits, is out, or is over. After each step the
 * scheduler's counts must agree with them.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DestinationReport } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";
import { mustGoAlone } from "../message.ts";
import type { ActiveMessage } from "../message.ts";
import type { Entry } from "./entry.ts";
import { Chance, firstSeed, rounds } from "./random.test-support.ts";
import { jobSize } from "./job-size.ts";
import type { DeliveryJob, Scheduler, SchedulerOptions, Slot } from "./scheduler.ts";
import {
  destinationRules,
  endWell,
  entry,
  fixedWindow,
  message,
  noPace,
  openScheduler,
  rules,
} from "./scheduling.test-support.ts";
import type { TransportRules } from "./transport.ts";

const trouble = {
  kind: "trouble",
  status: enhancedStatus("4.4.1"),
  reason: "Connection refused",
} as const;
const unavailable = { status: enhancedStatus("4.3.0"), reason: "mail transport unavailable" };

const transports: Readonly<Record<string, TransportRules>> = {
  smtp: { ...rules, destination: { ...destinationRules, concurrencyLimit: 7, deadMs: 20_000 } },
  relay: {
    ...rules,
    slotCost: 2,
    minimumSlots: 1,
    destination: {
      ...destinationRules,
      concurrencyLimit: 0,
      deadMs: 20_000,
      positiveFeedback: { kind: "concurrency", numerator: 1 },
      negativeFeedback: { kind: "fixed", value: 0.3 },
      failedCohortLimit: 3,
    },
  },
  gentle: {
    ...rules,
    destination: { ...destinationRules, concurrencyLimit: 1, rateDelayMs: 1500 },
  },
  slow: { ...rules, rateDelayMs: 700 },
  plain: {
    ...rules,
    slotCost: 0,
    destination: { ...destinationRules, concurrencyLimit: 3, deadMs: 20_000 },
  },
};

/** Messages of one destination in active at most (S31). */
const share = 4;

class World {
  readonly chance: Chance;
  readonly scheduler: Scheduler;
  nowMs = 0;
  readonly waiting = new Set<Entry>();
  readonly jobs: DeliveryJob[] = [];
  ending: readonly DeliveryJob[] = [];
  readonly adopted: Slot[] = [];
  readonly messages = new Set<ActiveMessage>();
  readonly ends = new Map<Entry, string>();
  enqueued = 0;
  readonly restsUntilMs = new Map<string, number>();
  /** Destinations as they were told to those who look on. */
  readonly reports = new Map<string, DestinationReport>();
  readonly hasFairShare: boolean;
  /** Messages with requests at a destination that are not over, by its name; and those that wait in deferred for room. */
  readonly held = new Map<string, Set<ActiveMessage>>();
  readonly away = new Map<string, number>();
  /** The names of those that are on their way there. */
  readonly leaving: string[] = [];

  constructor(seed: number, options: Partial<SchedulerOptions>) {
    this.chance = new Chance(seed);
    this.hasFairShare = options.weightOf !== undefined;
    this.scheduler = openScheduler(rules, {
      rulesOf: (name) => transports[name] ?? rules,
      activeLimit: 5 * share,
      mostDestinations: 1 + this.chance.below(6),
      sizeOfJob: this.chance.is(0.5) ? jobSize : () => 1,
      ...options,
    });
    this.scheduler.capacity = 1 + this.chance.below(20);
  }

  submit(): void {
    const { chance, scheduler } = this;
    const of = message(
      { activeMs: this.nowMs, shareKey: `key ${chance.below(3)}` },
      { crashes: chance.is(0.05) ? 2 : 0 },
    );
    this.messages.add(of);
    scheduler.messageCame(of);
    const count = 1 + chance.below(chance.is(0.1) ? 60 : 4);
    for (let n = 0; n < count; n += 1) {
      const transport = chance.pick(Object.keys(transports)) ?? "";
      const one = entry(`d${chance.below(6)}.example`, of, transport);
      this.enqueued += 1;
      this.route(one);
    }
  }

  route(one: Entry): void {
    const { message: of, destination, queueName } = one;
    if (this.scheduler.suspensionOf(destination, queueName) !== undefined) {
      this.ends.set(one, "suspended at once");
      return;
    }
    const name = this.scheduler.surplusAt(of, destination, queueName, this.nowMs);
    if (name === undefined) {
      this.enqueue(one);
      return;
    }
    this.ends.set(one, "sent away");
    this.leaving.push(name);
  }

  /** The store has answered: they are in deferred. */
  settle(): void {
    for (const name of this.leaving.splice(0)) {
      this.scheduler.sentAway(name);
      this.away.set(name, (this.away.get(name) ?? 0) + 1);
    }
  }

  enqueue(one: Entry): void {
    this.scheduler.enqueue(one);
    this.waiting.add(one);
    const held = this.held.get(one.queueName) ?? new Set();
    this.held.set(one.queueName, held.add(one.message));
    assert(held.size <= share, `${one.queueName} holds more than its share of active`);
  }

  /** Those with room come back, to try again as other messages. */
  recall(isUrgent: boolean): void {
    for (const recall of this.scheduler.takeRecalls(100_000, isUrgent)) {
      const away = this.away.get(recall.name) ?? 0;
      const found = Math.min(recall.most, away);
      const held = this.held.get(recall.name)?.size ?? 0;
      assert(recall.name.startsWith("share:") || held + recall.most <= share, "no room for those");
      this.away.set(recall.name, away - found);
      this.scheduler.recalled(recall, { found, left: away - found });
      for (let n = 0; n < found; n += 1) this.scheduler.cameBack(recall.name);
    }
  }

  take(): void {
    for (let n = this.chance.below(20); n >= 0; n -= 1) {
      const before = this.startable();
      const [job, ...others] = this.scheduler.take(1, this.nowMs);
      assert(others.length === 0);
      if (job === undefined) return;
      this.checkTaken(job);
      this.checkOrder(job, before);
      this.jobs.push(job);
      assert(this.scheduler.jobsOut <= 2 * this.scheduler.capacity, "more than fit");
    }
  }

  /** The earliest of the messages that wait for a place that is free, where none overtakes another. */
  startable(): number {
    const { changed, gone } = this.scheduler.takeReports(this.nowMs);
    for (const name of gone) this.reports.delete(name);
    for (const report of changed) this.reports.set(report.name, report);
    let earliest = Infinity;
    for (const { destination, queueName, message: of } of this.waiting) {
      if (destination.transport !== "plain" || mustGoAlone(of)) continue;
      const { window, inFlight } = this.reports.get(queueName) ?? { window: 0, inFlight: 0 };
      if (inFlight < (window ?? 0)) earliest = Math.min(earliest, of.order);
    }
    return earliest;
  }

  /** S19, S20: first come, first served, but for blockers. */
  checkOrder({ entries }: DeliveryJob, earliest: number): void {
    const [first] = entries;
    if (first?.destination.transport !== "plain" || this.hasFairShare) return;
    assert(first.message.order <= earliest, "an earlier message could have gone");
  }

  checkTaken({ slot, entries, isAlone }: DeliveryJob): void {
    const { destination } = slot;
    const { name, rules: ofDestination } = destination;
    const limit = ofDestination.concurrencyLimit;
    const ours = 1 + this.jobs.filter((job) => job.slot.destination === destination).length;
    assert(destination.busy <= destination.window, `${name} is above its window`);
    assert(limit === 0 || ours <= limit, `${name} is above its limit`);
    assert(!destination.isDead, `${name} is dead`);
    const transport = transports[destination.destination.transport];
    for (const one of [name, destination.destination.transport]) {
      assert(this.nowMs >= (this.restsUntilMs.get(one) ?? 0), `${one} was to rest`);
    }
    if (transport !== undefined && transport.rateDelayMs > 0) {
      const others = this.jobs.filter((job) => job.slot.destination.name.startsWith("slow:"));
      assert(others.length === 0, "one at a time in a transport with a rate delay");
    }
    assert(entries.length > 0 && (!isAlone || entries.length === 1));
    for (const one of entries) {
      assert.equal(one.queueName, name);
      assert(this.waiting.delete(one), "taken twice, or never enqueued");
    }
  }

  /** One job ends, its requests in one way or another. */
  end(job: DeliveryJob, isKind = false): void {
    const { chance, scheduler } = this;
    this.jobs.splice(this.jobs.indexOf(job), 1);
    this.ending = [job];
    for (const one of job.entries) {
      if (!isKind && chance.is(0.1)) {
        this.putBack(one);
        continue;
      }
      const isTrouble = !isKind && chance.is(0.35);
      const feedback = isTrouble ? trouble : ({ kind: chance.is(0.2) ? "none" : "good" } as const);
      this.suspend(scheduler.ended(job.slot, feedback, this.nowMs));
      this.over(one, "ended");
    }
    const pace = { requests: job.entries.length - 1, tookMs: chance.below(500) };
    this.ending = [];
    this.rest(job.slot);
    scheduler.release(job.slot, pace, this.nowMs);
  }

  rest({ destination }: Slot): void {
    const { transport } = destination.destination;
    const ofTransport = transports[transport]?.rateDelayMs ?? 0;
    this.restsUntilMs.set(transport, this.nowMs + ofTransport);
    this.restsUntilMs.set(destination.name, this.nowMs + destination.rules.rateDelayMs);
  }

  putBack(one: Entry): void {
    const hasLeft = !this.messages.has(one.message);
    const why = this.scheduler.suspensionOf(one.destination, one.queueName);
    if (hasLeft || why !== undefined) this.over(one, "given up");
    else this.enqueue(one);
  }

  suspend(entries: readonly Entry[]): void {
    for (const one of entries) {
      assert(this.waiting.delete(one), "suspended, and did not wait");
      this.over(one, "suspended");
    }
  }

  over(one: Entry, how: string): void {
    assert(!this.ends.has(one), `over twice: ${this.ends.get(one)}, ${how}`);
    this.ends.set(one, how);
    this.scheduler.over(one);
    const { message: of, queueName } = one;
    const isHeld = [...this.waiting, ...this.out()].some(
      (other) => other.message === of && other.queueName === queueName,
    );
    if (!isHeld) this.held.get(queueName)?.delete(of);
  }

  /** Requests that are out, those of a job that is just ending too. */
  out(): readonly Entry[] {
    return [...this.jobs, ...this.ending].flatMap(({ entries }) =>
      entries.filter((one) => !this.ends.has(one)),
    );
  }

  abandon(): void {
    const of = this.chance.pick([...this.messages]);
    if (of === undefined) return;
    this.messages.delete(of);
    this.scheduler.messageLeft(of);
    for (const one of this.scheduler.abandon(of)) {
      assert(this.waiting.delete(one), "abandoned, and did not wait");
      this.over(one, "abandoned");
    }
    assert(![...this.waiting].some((one) => one.message === of), "one of them waits still");
  }

  act(): void {
    const { chance, scheduler } = this;
    const what = chance.below(100);
    const transport = chance.pick(Object.keys(transports)) ?? "";
    if (what < 18) this.submit();
    else if (what < 45) this.take();
    else if (what < 75) {
      const job = chance.pick(this.jobs);
      if (job !== undefined) this.end(job);
    } else if (what < 79) this.abandon();
    else if (what < 81) this.adopt();
    else if (what < 83) scheduler.capacity = chance.below(20);
    else if (what < 84) this.suspend(scheduler.throttle(transport, unavailable, this.nowMs + 3000));
    else if (what < 86) scheduler.liftTransport(transport);
    else if (what < 87) scheduler.liftAll();
    else if (what < 90) this.recall(chance.is(0.5));
    else if (what < 93) this.settle();
    else this.pass(chance.below(3000));
    this.check();
  }

  adopt(): void {
    const slot = this.adopted.shift();
    if (slot !== undefined && this.chance.is(0.7)) {
      this.rest(slot);
      this.scheduler.release(slot, noPace, this.nowMs);
      return;
    }
    if (slot !== undefined) this.adopted.push(slot);
    const nexthop = `d${this.chance.below(6)}.example`;
    const destination = { transport: "smtp", nexthop };
    this.adopted.push(this.scheduler.adopt(`smtp:${nexthop}`, destination, this.nowMs));
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.scheduler.tick(this.nowMs);
  }

  check(): void {
    assert.equal(this.scheduler.waiting, this.waiting.size, "how many wait");
    assert.equal(
      this.scheduler.jobsOut,
      this.jobs.length + this.adopted.length,
      "how many are out",
    );
  }

  /** No more trouble: all that waits goes, and nothing is left of it. */
  finish(): void {
    const { scheduler } = this;
    scheduler.capacity = 8;
    for (const slot of this.adopted.splice(0)) scheduler.release(slot, noPace, this.nowMs);
    for (let turn = 0; turn < 3000 && this.waiting.size + this.jobs.length > 0; turn += 1) {
      this.take();
      for (const job of [...this.jobs]) this.end(job, true);
      this.pass(1500);
    }
    assert.equal(this.waiting.size, 0, "some were never taken");
    this.check();
    assert.equal(this.ends.size, this.enqueued, "each comes to one end");
    this.pass(60_000);
    for (const of of this.messages) scheduler.messageLeft(of);
    this.settle();
    for (let turn = 0; turn < 1000; turn += 1) this.recall(true);
    assert(
      [...this.away.values()].every((away) => away === 0),
      "all are called back",
    );
    this.pass(2000);
    assert.deepEqual(scheduler.busyTransports, [], "idle destinations are forgotten");
  }
}

function play(seed: number, options: Partial<SchedulerOptions> = {}): void {
  const world = new World(seed, options);
  try {
    for (let step = 0; step < 600; step += 1) world.act();
    world.finish();
  } catch (error) {
    throw new Error(`seed ${seed}`, { cause: error });
  }
}

describe("the scheduler in random histories", () => {
  it("keeps to windows, limits, rests and places; first come goes first; each request is taken, suspended or abandoned once, none forgotten", () => {
    for (let seed = firstSeed; seed < firstSeed + rounds(60); seed += 1) play(seed);
  });

  it("does so with a fair share key too", () => {
    const weightOf = (key: string) => (key === "key 0" ? 3 : 1);
    for (let seed = firstSeed; seed < firstSeed + rounds(30); seed += 1) play(seed, { weightOf });
  });
});

/** Takes and ends one job after the other: so many requests in order. */
function* serve(scheduler: Scheduler): Generator<Entry, void, number | undefined> {
  let nowMs = 0;
  for (;;) {
    const [job] = scheduler.take(1, nowMs);
    if (job === undefined) return;
    for (const one of job.entries) nowMs = (yield one) ?? nowMs;
    endWell(scheduler, job, nowMs);
  }
}

function enqueueOver(
  scheduler: Scheduler,
  of: ActiveMessage,
  requests: number,
  domains: number,
): void {
  for (let n = 0; n < requests; n += 1) scheduler.enqueue(entry(`d${n % domains}.example`, of));
}

describe("a big message among small ones", () => {
  /** Requests that go before the last one of the big message, and the longest wait of a small one meanwhile. */
  function race(
    seed: number,
    smallEvery: number,
    chosen: TransportRules,
    options: Partial<SchedulerOptions> = {},
  ) {
    const chance = new Chance(seed);
    const scheduler = openScheduler(chosen, options);
    scheduler.capacity = 50;
    const big = message();
    const size = 500 + chance.below(1500);
    enqueueOver(scheduler, big, size, 1 + chance.below(300));
    const came = new Map<ActiveMessage, number>();
    let [served, bigServed, longestWait] = [0, 0, 0];
    const serving = serve(scheduler);
    while (bigServed < size) {
      if (served % smallEvery === 0) {
        const small = message({ activeMs: served * 100 });
        came.set(small, served);
        enqueueOver(scheduler, small, 1, 300);
      }
      const next = serving.next(served * 100);
      assert(next.done !== true);
      served += 1;
      assert(served < 4 * size, "the big one starves");
      if (next.value.message === big) bigServed += 1;
      const cameAt = came.get(next.value.message);
      if (cameAt !== undefined) longestWait = Math.max(longestWait, served - cameAt);
    }
    return { size, served, longestWait };
  }

  it("S21 takes at most about 1/slot_cost longer, however many small ones come", () => {
    for (let seed = firstSeed; seed < firstSeed + rounds(10); seed += 1) {
      for (const slotCost of [2, 5, 10]) {
        const { size, served } = race(seed, 1, { ...rules, slotCost });
        const bound = size * (1 + 1 / slotCost) + 2 * rules.slotLoan;
        assert(served <= bound, `seed ${seed}: ${served} requests, ${size} of them its own`);
      }
    }
  });

  it("S21 takes no longer either where several requests go in one job", () => {
    for (let seed = firstSeed; seed < firstSeed + rounds(10); seed += 1) {
      const { size, served } = race(seed, 1, rules, { sizeOfJob: jobSize });
      const bound = size * (1 + 1 / rules.slotCost) + 20;
      assert(served <= bound, `seed ${seed}: ${served} requests, ${size} of them its own`);
      const { longestWait } = race(seed, 10, rules, { sizeOfJob: jobSize });
      assert(longestWait <= 250, `seed ${seed}: one waited for ${longestWait} requests`);
    }
  });

  it("S21 is passed at once by small ones that come seldom enough, and by none without slots", () => {
    for (let seed = firstSeed; seed < firstSeed + rounds(10); seed += 1) {
      const { longestWait } = race(seed, 7, rules);
      assert(longestWait <= 10, `seed ${seed}: one waited for ${longestWait} requests`);
      const plain = race(seed, 7, { ...rules, slotCost: 0 });
      assert.equal(plain.longestWait, 0);
      assert.equal(plain.served, plain.size);
    }
  });
});

describe("turns", () => {
  it("S19 transports with enough to do get equally many, destinations of one message too", () => {
    const scheduler = openScheduler(fixedWindow(1));
    const counts = new Map<string, number>();
    const names = ["one", "two", "three"];
    const big = message();
    for (const transport of names) {
      for (let n = 0; n < 500; n += 1) scheduler.enqueue(entry(`d${n % 7}`, big, transport));
    }
    const serving = serve(scheduler);
    for (let n = 0; n < 630; n += 1) {
      const next = serving.next();
      assert(next.done !== true);
      const { queueName } = next.value;
      counts.set(queueName, (counts.get(queueName) ?? 0) + 1);
    }
    assert.equal(counts.size, 21);
    assert(
      [...counts.values()].every((count) => count === 30),
      [...counts.values()].join(),
    );
  });

  it("no message of a living destination is passed over by more than its share of later ones", () => {
    const scheduler = openScheduler(fixedWindow(2));
    const chance = new Chance(firstSeed);
    const came = new Map<ActiveMessage, number>();
    const serving = serve(scheduler);
    let longestWait = 0;
    for (let served = 0; served < 5000; served += 1) {
      // As many requests come as go, behind some hundreds that wait.
      const requests = served === 0 ? 300 : 1 + chance.below(2) * chance.below(2) * 2;
      if (served === 0 || chance.is(1 / 1.5)) {
        const of = message({ activeMs: served * 100 });
        came.set(of, served);
        enqueueOver(scheduler, of, requests, 5);
      }
      const next = serving.next(served * 100);
      if (next.done === true) break;
      longestWait = Math.max(longestWait, served - (came.get(next.value.message) ?? 0));
    }
    assert(longestWait <= 700, `one waited for ${longestWait} requests`);
  });
});

describe("fair shares", () => {
  it("ten thousand messages of one key delay another key's one by no more than a few requests", () => {
    const scheduler = openScheduler(rules, { weightOf: () => 1 });
    for (let n = 0; n < 10_000; n += 1) {
      scheduler.enqueue(entry(`d${n % 50}.example`, message({ shareKey: "flood" })));
    }
    const serving = serve(scheduler);
    const chance = new Chance(firstSeed);
    for (let round = 0; round < 100; round += 1) {
      for (let n = chance.below(50); n > 0; n -= 1) serving.next();
      const quiet = message({ shareKey: `quiet ${round % 3}` });
      scheduler.enqueue(entry(`d${chance.below(60)}.example`, quiet));
      let waited = 0;
      for (let next = serving.next(); next.value?.message !== quiet; next = serving.next()) {
        assert(next.done !== true);
        waited += 1;
      }
      assert(waited <= 3, `after ${waited}`);
    }
  });

  it("weights give keys their shares, whatever the sizes of their messages", () => {
    const weights = new Map([
      ["one", 1],
      ["two", 2],
      ["four", 4],
    ]);
    const scheduler = openScheduler(rules, { weightOf: (key) => weights.get(key) ?? 1 });
    for (const shareKey of weights.keys()) {
      const size = shareKey === "two" ? 3 : 1;
      for (let n = 0; n < 6000; n += size) {
        const of = message({ shareKey });
        enqueueOver(scheduler, of, size, 40);
      }
    }
    const counts = new Map<string, number>();
    const serving = serve(scheduler);
    for (let n = 0; n < 7000; n += 1) {
      const next = serving.next();
      assert(next.done !== true);
      const { shareKey } = next.value.message;
      counts.set(shareKey, (counts.get(shareKey) ?? 0) + 1);
    }
    for (const [key, weight] of weights) {
      const count = counts.get(key) ?? 0;
      assert(Math.abs(count - weight * 1000) <= weight * 100, `${key}: ${count} of 7000`);
    }
  });
});
