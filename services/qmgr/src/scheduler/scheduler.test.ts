import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { enhancedStatus } from "@postmq/vocabulary";
import type { ActiveMessage } from "../message.ts";
import type { DeliveryJob, Scheduler, SchedulerOptions } from "./scheduler.ts";
import {
  destinationRules,
  endWell,
  enqueueAll,
  entry,
  fixedWindow,
  message,
  noPace,
  openScheduler,
  rules,
  takeDomains,
  takeEntries,
} from "./scheduling.test-support.ts";
import type { TransportRules } from "./transport.ts";

const trouble = {
  kind: "trouble",
  status: enhancedStatus("4.4.1"),
  reason: "connect to a.example: Connection refused",
} as const;
const unavailable = { status: enhancedStatus("4.3.0"), reason: "mail transport unavailable" };
const toA = { transport: "smtp", nexthop: "a" };

function domains(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${n}`);
}

/** So many messages of one request each. */
function enqueueMessages(scheduler: Scheduler, domain: string, count: number): ActiveMessage[] {
  return Array.from({ length: count }, () => {
    const one = message();
    scheduler.enqueue(entry(domain, one));
    return one;
  });
}

function takeOne(scheduler: Scheduler, nowMs = 0): DeliveryJob {
  const [job] = scheduler.take(1, nowMs);
  assert(job !== undefined, "nothing may go");
  return job;
}

/** A job ends with trouble; what waited is deferred and over. @returns how much waited. */
function endBadly(scheduler: Scheduler, job: DeliveryJob, nowMs = 0): number {
  const suspended = scheduler.ended(job.slot, trouble, nowMs);
  for (const one of [...suspended, ...job.entries]) scheduler.over(one);
  scheduler.release(job.slot, noPace, nowMs);
  return suspended.length;
}

/** Dead: with five at once, four fail. */
function kill(scheduler: Scheduler, domain: string, nowMs = 0): void {
  enqueueMessages(scheduler, domain, 5);
  const jobs = scheduler.take(5, nowMs);
  assert.equal(jobs.length, 5);
  for (const job of jobs) endBadly(scheduler, job, nowMs);
  assert(scheduler.suspensionOf({ transport: "smtp", nexthop: domain }, `smtp:${domain}`));
}

/** A request for a next hop that counts at a site. */
function atSite(nexthop: string) {
  const destination = { transport: "smtp", nexthop, site: "mx:mx.example" };
  return { ...entry(nexthop), destination, queueName: "smtp:mx:mx.example" };
}

describe("a site", () => {
  it("S16 has one window and one job for its next hops, those of one next hop side by side", () => {
    const scheduler = openScheduler(fixedWindow(1), { sizeOfJob: () => 10 });
    scheduler.capacity = 10;
    for (const nexthop of ["a", "b", "c", "a", "b"]) scheduler.enqueue(atSite(nexthop));
    assert.deepEqual(takeDomains(scheduler, 10), ["a", "a", "b", "b", "c"]);
    scheduler.enqueue(atSite("d"));
    assert.deepEqual(takeDomains(scheduler, 10), [], "its one place is taken");
  });
});

describe("the scheduler's order", () => {
  it("S19 serves transports in turns", () => {
    const scheduler = openScheduler();
    for (let n = 0; n < 4; n += 1) scheduler.enqueue(entry(`a${n}`, message(), "smtp"));
    for (let n = 0; n < 2; n += 1) scheduler.enqueue(entry(`b${n}`, message(), "relay"));
    assert.deepEqual(takeDomains(scheduler, 6), ["a0", "b0", "a1", "b1", "a2", "a3"]);
  });

  it("S19 serves jobs in the order of their arrival, the destinations of one in turns", () => {
    const scheduler = openScheduler();
    const [first, second] = [message(), message()];
    enqueueAll(scheduler, second, ["z"]);
    enqueueAll(scheduler, first, ["a", "a", "b", "b", "c"]);
    assert.deepEqual(takeDomains(scheduler, 6), ["a", "b", "c", "a", "b", "z"]);
  });

  it("S19 serves one destination first in first out", () => {
    const scheduler = openScheduler();
    const messages = enqueueMessages(scheduler, "a", 4);
    const taken = takeEntries(scheduler, 4).map((one) => one.message);
    assert.deepEqual(taken, messages);
  });

  it("S20 passes over a message whose destinations are all full, until one of them has a place", () => {
    const scheduler = openScheduler(fixedWindow(1));
    const blocked = message();
    enqueueAll(scheduler, blocked, ["a", "a", "b", "b"]);
    const [atA, atB] = scheduler.take(2, 0);
    assert(atA !== undefined && atB !== undefined);
    enqueueAll(scheduler, message(), ["a"]);
    enqueueAll(scheduler, message(), ["z"]);
    assert.deepEqual(takeDomains(scheduler, 9), ["z"], "a full destination stops nobody else");
    endWell(scheduler, atB);
    const [next] = takeEntries(scheduler, 9);
    assert.equal(next?.message, blocked);
    assert.equal(next.destination.nexthop, "b");
    endWell(scheduler, atA);
    assert.equal(takeEntries(scheduler, 9)[0]?.message, blocked, "before the later one there");
  });

  it("S21 lets a small message pass a big one when the big one has sent something, then after each five", () => {
    const scheduler = openScheduler();
    enqueueAll(scheduler, message(), domains("big", 50));
    enqueueAll(scheduler, message(), ["s1"]);
    enqueueAll(scheduler, message(), ["s2"]);
    enqueueAll(scheduler, message(), ["s3"]);
    const small = takeDomains(scheduler, 53)
      .map((domain, at) => (domain.startsWith("s") ? at : undefined))
      .filter((at) => at !== undefined);
    assert.deepEqual(small, [1, 7, 13]);
  });

  it("S20 S21 lets a small message pass though thousands of older ones are blocked", () => {
    const scheduler = openScheduler(fixedWindow(1));
    enqueueMessages(scheduler, "hangs", 5000);
    assert.equal(scheduler.take(9, 0).length, 1);
    enqueueAll(scheduler, message(), domains("big", 50));
    enqueueAll(scheduler, message({ activeMs: 1000 }), ["s1"]);
    enqueueAll(scheduler, message({ activeMs: 1000 }), ["s2"]);
    const order: (string | undefined)[] = [];
    for (let n = 0; n < 52; n += 1) order.push(...takeDomains(scheduler, 1, 1000 + n));
    const [first, second] = [order.indexOf("s1"), order.indexOf("s2")];
    assert(first > 0 && first < 10 && second > first && second < 20, `${first}, ${second}`);
  });

  it("S21 plain first in, first out with slot cost 0", () => {
    const scheduler = openScheduler({ ...rules, slotCost: 0 });
    enqueueAll(scheduler, message(), domains("big", 50));
    enqueueAll(scheduler, message(), ["s1"]);
    assert.equal(takeDomains(scheduler, 51).indexOf("s1"), 50);
  });

  it("S21 lets a small one overtake a middle one that overtook a big one", () => {
    const scheduler = openScheduler({ ...rules, slotLoan: 100 });
    enqueueAll(scheduler, message(), domains("big", 500));
    enqueueAll(scheduler, message(), domains("middle", 20));
    assert.deepEqual(takeDomains(scheduler, 3), ["big0", "middle0", "middle1"]);
    enqueueAll(scheduler, message({}, {}), ["small"]);
    const order = takeDomains(scheduler, 30);
    assert.equal(order[0], "small");
    assert.deepEqual(order.slice(1, 19), domains("middle", 20).slice(2));
    assert.match(order[19] ?? "", /^big/);
  });

  it("S22 keeps single recipients in the order of their arrival, but for blockers", () => {
    const scheduler = openScheduler(fixedWindow(1));
    for (const domain of ["a", "b", "a", "c", "a", "d"]) enqueueMessages(scheduler, domain, 1);
    assert.deepEqual(takeDomains(scheduler, 9, 60_000), ["a", "b", "c", "d"]);
  });

  it("takes no more jobs than twice what live workers can run", () => {
    const scheduler = openScheduler();
    scheduler.capacity = 3;
    enqueueAll(scheduler, message(), domains("d", 20));
    const jobs = scheduler.take(100, 0);
    assert.equal(jobs.length, 6);
    const [first] = jobs;
    assert(first !== undefined);
    endWell(scheduler, first);
    assert.equal(scheduler.take(100, 0).length, 1);
    scheduler.capacity = 0;
    assert.equal(scheduler.take(100, 0).length, 0);
  });

  it("with fair_share_key one key's thousand stand behind another's one", () => {
    const scheduler = openScheduler(rules, { weightOf: () => 1 });
    for (let n = 0; n < 1000; n += 1) {
      scheduler.enqueue(entry(`d${n}`, message({ shareKey: "flood" })));
    }
    takeDomains(scheduler, 100);
    scheduler.enqueue(entry("other", message({ shareKey: "quiet" })));
    const at = takeDomains(scheduler, 100).indexOf("other");
    assert(at >= 0 && at <= 2, `after ${at}`);
  });
});

describe("the scheduler's windows", () => {
  it("S23 begins with five at once, lowered to the limit", () => {
    const scheduler = openScheduler();
    enqueueMessages(scheduler, "a", 30);
    assert.equal(scheduler.take(100, 0).length, 5);
    const narrow = openScheduler({
      ...rules,
      destination: { ...destinationRules, concurrencyLimit: 3 },
    });
    enqueueMessages(narrow, "a", 30);
    assert.equal(narrow.take(100, 0).length, 3);
  });

  it("S23 forgets an idle destination: the next message there finds the window as at first", () => {
    const scheduler = openScheduler();
    enqueueMessages(scheduler, "a", 5);
    for (const job of scheduler.take(5, 0)) endWell(scheduler, job);
    enqueueMessages(scheduler, "a", 30);
    assert.equal(scheduler.take(100, 0).length, 5);
  });

  it("S24 S25 adds a place for each success, up to the limit", () => {
    const scheduler = openScheduler();
    enqueueMessages(scheduler, "a", 200);
    let out = [...scheduler.take(100, 0)];
    const most: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      const ending = out;
      out = [];
      for (const job of ending) {
        endWell(scheduler, job);
        out.push(...scheduler.take(100, 0));
      }
      most.push(out.length);
    }
    assert.deepEqual(most, [10, 20, 20, 20]);
  });

  it("S26 S28 after four troubles in a row, gives up all that waits there, once, with the reason", () => {
    const scheduler = openScheduler();
    enqueueMessages(scheduler, "a", 30);
    const jobs = scheduler.take(100, 0);
    assert.deepEqual(
      jobs.map((job) => endBadly(scheduler, job)),
      [0, 0, 0, 25, 0],
    );
    assert.equal(scheduler.waiting, 0);
    assert.equal(scheduler.jobsOut, 0);
    assert.deepEqual(scheduler.suspensionOf(toA, "smtp:a"), {
      status: "4.4.1",
      reason: "delivery temporarily suspended: connect to a.example: Connection refused",
    });
    assert.equal(scheduler.suspensionOf({ ...toA, nexthop: "b" }, "smtp:b"), undefined);
  });

  it("S28 is alive again after minimal_backoff_time, not before, and is then forgotten if idle", () => {
    const scheduler = openScheduler();
    kill(scheduler, "a", 1000);
    assert.equal(scheduler.nextWakeMs, 301_000);
    scheduler.tick(300_999);
    assert.notEqual(scheduler.suspensionOf(toA, "smtp:a"), undefined);
    scheduler.tick(301_000);
    assert.equal(scheduler.suspensionOf(toA, "smtp:a"), undefined);
    assert.deepEqual(scheduler.busyTransports, []);
    enqueueMessages(scheduler, "a", 9);
    assert.equal(scheduler.take(9, 301_000).length, 5);
  });

  it("S28 keeps records for their dead mark alone up to twice qmgr_message_recipient_limit", () => {
    const isDeadStill = (mostDestinations: number) => {
      const scheduler = openScheduler(rules, { mostDestinations });
      enqueueMessages(scheduler, "a", 5);
      const jobs = scheduler.take(5, 0);
      enqueueMessages(scheduler, "b", 1);
      for (const job of jobs) endBadly(scheduler, job);
      return scheduler.suspensionOf(toA, "smtp:a") !== undefined;
    };
    assert.equal(isDeadStill(2), true);
    assert.equal(isDeadStill(1), false);
  });

  it("S29 a flush lifts all dead marks and throttles, one message only those it meets", () => {
    const scheduler = openScheduler();
    for (const domain of ["a", "b", "c"]) kill(scheduler, domain);
    scheduler.throttle("relay", unavailable, 60_000);
    const suspended = () =>
      ["a", "b", "c"].filter((domain) =>
        scheduler.suspensionOf({ transport: "smtp", nexthop: domain }, `smtp:${domain}`),
      );
    scheduler.liftFor({ transport: "smtp", nexthop: "b" }, "smtp:b");
    assert.deepEqual(suspended(), ["a", "c"]);
    assert.equal(scheduler.throttled.length, 1);
    scheduler.liftAll();
    assert.deepEqual(suspended(), []);
    assert.deepEqual(scheduler.throttled, []);
  });

  it("Q13 counts a request adopted from an earlier leader as busy, above the window too", () => {
    const scheduler = openScheduler(fixedWindow(2));
    const slots = [0, 1, 2].map(() => scheduler.adopt("smtp:a", toA, 0));
    enqueueMessages(scheduler, "a", 5);
    const free: number[] = [];
    for (const slot of slots) {
      free.push(scheduler.take(9, 0).length);
      scheduler.release(slot, noPace, 0);
    }
    free.push(scheduler.take(9, 0).length);
    assert.deepEqual(free, [0, 0, 1, 1]);
  });

  it("S32 asks to keep the connection of a destination that goes back to back", () => {
    const scheduler = openScheduler(fixedWindow(1));
    enqueueMessages(scheduler, "a", 3);
    const first = takeOne(scheduler, 0);
    assert.equal(first.keepsConnection, false);
    endWell(scheduler, first, 500);
    const second = takeOne(scheduler, 1500);
    assert.equal(second.keepsConnection, true);
    endWell(scheduler, second, 2000);
    assert.equal(takeOne(scheduler, 3001).keepsConnection, false);
  });

  it("S32 S23 remembers for a second that one was idle a moment ago, and not longer", () => {
    const afterIdle = (idleMs: number) => {
      const scheduler = openScheduler(fixedWindow(1));
      enqueueMessages(scheduler, "a", 1);
      endWell(scheduler, takeOne(scheduler, 0), 500);
      scheduler.tick(500 + idleMs);
      const isKnown = scheduler.busyTransports.length > 0;
      enqueueMessages(scheduler, "a", 1);
      return [isKnown, takeOne(scheduler, 500 + idleMs).keepsConnection];
    };
    assert.deepEqual(afterIdle(999), [true, true]);
    assert.deepEqual(afterIdle(1000), [false, false]);
  });
});

describe("the scheduler's rests", () => {
  const slow: TransportRules = {
    ...rules,
    destination: { ...destinationRules, concurrencyLimit: 1, rateDelayMs: 2000 },
  };

  it("S30 destination_rate_delay: one request at a time, and a rest after each", () => {
    const scheduler = openScheduler(slow, { sizeOfJob: () => 50 });
    enqueueMessages(scheduler, "a", 3);
    enqueueMessages(scheduler, "b", 1);
    assert.deepEqual(takeDomains(scheduler, 1), ["a"]);
    const b = takeOne(scheduler);
    assert.equal(b.entries[0]?.destination.nexthop, "b");
    endBadly(scheduler, b, 100);
    const again = openScheduler(slow, { sizeOfJob: () => 50 });
    enqueueMessages(again, "a", 3);
    const starts: number[] = [];
    for (let nowMs = 0; starts.length < 3; nowMs += 100) {
      again.tick(nowMs);
      for (const job of again.take(9, nowMs)) {
        assert.equal(job.entries.length, 1);
        starts.push(nowMs);
        if (starts.length === 2) endBadly(again, job, nowMs + 50);
        else endWell(again, job, nowMs + 50);
      }
    }
    assert.deepEqual(starts, [0, 2100, 4200]);
  });

  it("S30 a destination with a rate delay rests instead of dying", () => {
    const scheduler = openScheduler(slow);
    enqueueMessages(scheduler, "a", 3);
    assert.equal(endBadly(scheduler, takeOne(scheduler), 100), 0);
    assert.equal(scheduler.suspensionOf(toA, "smtp:a"), undefined);
    assert.equal(scheduler.waiting, 2);
    scheduler.tick(2100);
    takeOne(scheduler, 2100);
  });

  it("S30 transport_rate_delay: one request at a time for all destinations of the transport", () => {
    const scheduler = openScheduler(rules, {
      rulesOf: (name) => (name === "slow" ? { ...rules, rateDelayMs: 1000 } : rules),
      sizeOfJob: () => 50,
    });
    for (const domain of ["a", "b", "c"]) scheduler.enqueue(entry(domain, message(), "slow"));
    const out = scheduler.take(9, 0);
    assert.equal(out.length, 1);
    enqueueMessages(scheduler, "x", 2);
    assert.equal(takeDomains(scheduler, 2).length, 2, "other transports go on");
    const [first] = out;
    assert(first !== undefined);
    endWell(scheduler, first, 100);
    assert.equal(scheduler.take(9, 1099).length, 0);
    scheduler.tick(1100);
    assert.equal(scheduler.take(9, 1100).length, 1);
  });

  it("S30 a pause ends in its time though the transport is throttled meanwhile", () => {
    const scheduler = openScheduler({ ...rules, rateDelayMs: 1000 });
    enqueueMessages(scheduler, "a", 1);
    const job = takeOne(scheduler);
    scheduler.throttle("smtp", unavailable, 60_000);
    endWell(scheduler, job, 100);
    scheduler.liftTransport("smtp");
    enqueueMessages(scheduler, "b", 1);
    scheduler.tick(1100);
    takeOne(scheduler, 1100);
  });

  it("S35 a throttled transport: what waits for it is deferred, new mail too, until its time or a good use", () => {
    const scheduler = openScheduler();
    enqueueMessages(scheduler, "a", 3);
    enqueueMessages(scheduler, "b", 2);
    scheduler.enqueue(entry("c", message(), "relay"));
    const suspended = scheduler.throttle("smtp", unavailable, 60_000);
    assert.equal(suspended.length, 5);
    for (const one of suspended) scheduler.over(one);
    assert.deepEqual(scheduler.suspensionOf({ ...toA, nexthop: "new" }, "smtp:new"), {
      ...unavailable,
      untilMs: 60_000,
    });
    assert.equal(
      scheduler.suspensionOf({ transport: "relay", nexthop: "c" }, "relay:c"),
      undefined,
    );
    assert.deepEqual(takeDomains(scheduler, 9), ["c"]);
    scheduler.tick(59_999);
    assert.equal(scheduler.throttled.length, 1);
    scheduler.tick(60_000);
    assert.deepEqual(scheduler.throttled, []);
    scheduler.throttle("smtp", unavailable, 120_000);
    scheduler.liftTransport("smtp");
    assert.deepEqual(scheduler.throttled, []);
  });
});

describe("the scheduler's shares of active", () => {
  /** Three messages are a fifth. */
  const activeLimit = 15;
  /** Room in active, for recalls. */
  const room = 1000;

  function clogged(changes: Partial<SchedulerOptions> = {}): Scheduler {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit, ...changes });
    enqueueMessages(scheduler, "a", 3);
    return scheduler;
  }

  it("S31 sends back what is above a destination's fifth of active, and nobody else's", () => {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit });
    const first = enqueueMessages(scheduler, "a", 2)[0];
    assert(first !== undefined);
    assert.equal(scheduler.surplusAt(message(), toA, "smtp:a", 0), undefined);
    enqueueMessages(scheduler, "a", 1);
    assert.equal(scheduler.surplusAt(message(), toA, "smtp:a", 0), "smtp:a");
    const toB = { ...toA, nexthop: "b" };
    assert.equal(scheduler.surplusAt(message(), toB, "smtp:b", 0), undefined);
    assert.equal(scheduler.surplusAt(first, toA, "smtp:a", 0), undefined, "it is one of them");
  });

  it("S31 warns of it at most each qmgr_clog_warn_time, and never with 0", () => {
    const warnings: number[] = [];
    const warned = (clogWarnMs: number, times: readonly number[]) => {
      warnings.length = 0;
      const scheduler = clogged({ clogWarnMs, onClogged: (_, held) => warnings.push(held) });
      for (const nowMs of times) scheduler.surplusAt(message(), toA, "smtp:a", nowMs);
      return warnings.length;
    };
    assert.equal(warned(300_000, [0, 1, 299_999, 300_000, 300_001]), 2);
    assert.deepEqual(warnings, [3, 3]);
    assert.equal(warned(0, [0, 1]), 0);
  });

  it("S31 calls them back as requests end: when half the share is free, or what there is each second", () => {
    const scheduler = clogged();
    for (let n = 0; n < 10; n += 1) scheduler.sentAway("smtp:a");
    assert.deepEqual(scheduler.takeRecalls(room, true), []);
    endWell(scheduler, takeOne(scheduler));
    assert.deepEqual(scheduler.takeRecalls(room, false), []);
    assert.deepEqual(scheduler.takeRecalls(room, true), [{ name: "smtp:a", most: 1 }]);
    endWell(scheduler, takeOne(scheduler));
    const [recall] = scheduler.takeRecalls(room, false);
    assert.deepEqual(recall, { name: "smtp:a", most: 2 });
    scheduler.recalled(recall, { found: 2, left: 8 });
    const told = () => scheduler.takeReports(0).changed.find(({ name }) => name === "smtp:a");
    assert.equal(told()?.surplus, 10, "they are called, and not yet here");
    assert.deepEqual(scheduler.takeRecalls(room, true), [], "their room is kept");
    for (const _ of [1, 2]) scheduler.cameBack("smtp:a");
    assert.equal(told()?.surplus, 8);
    scheduler.recalled(recall, { found: 1, left: 0 });
    scheduler.recallsCame();
    assert.equal(told()?.surplus, 0, "there are no more");
  });

  it("S31 calls nobody back while active has no room for them", () => {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit });
    for (let n = 0; n < 10; n += 1) scheduler.sentAway("smtp:a");
    assert.deepEqual(scheduler.takeRecalls(2, true), [{ name: "smtp:a", most: 2 }]);
    assert.deepEqual(scheduler.takeRecalls(0, true), []);
  });

  it("S31 counts a message once that comes in by itself and goes back again", () => {
    const scheduler = clogged();
    for (let n = 0; n < 5; n += 1) {
      if (n > 0) scheduler.cameBack("smtp:a");
      scheduler.sentAway("smtp:a");
    }
    const [report] = scheduler.takeReports(0).changed;
    assert.equal(report?.surplus, 1);
  });

  it("S31 remembers those that went away when their destination had just been forgotten", () => {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit });
    for (let n = 0; n < 4; n += 1) scheduler.sentAway("smtp:a");
    assert.deepEqual(scheduler.takeRecalls(room, false), [{ name: "smtp:a", most: 3 }]);
    enqueueMessages(scheduler, "a", 3);
    assert.deepEqual(scheduler.takeRecalls(room, true), [], "its share is full again");
    endWell(scheduler, takeOne(scheduler));
    assert.deepEqual(scheduler.takeRecalls(room, true), [{ name: "smtp:a", most: 1 }]);
  });

  it("S31 with fair_share_key a key may hold a fifth too, wherever its mail goes", () => {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit, weightOf: () => 1 });
    const come = (shareKey: string): ActiveMessage => {
      const one = message({ shareKey });
      scheduler.messageCame(one);
      return one;
    };
    const held = [come("flood"), come("flood"), come("flood")];
    const at = (one: ActiveMessage, domain: string) =>
      scheduler.surplusAt(one, { ...toA, nexthop: domain }, `smtp:${domain}`, 0);
    const [first] = held;
    assert(first !== undefined);
    assert.equal(at(first, "a"), undefined);
    const fourth = come("flood");
    assert.equal(at(fourth, "z"), "share:flood");
    assert.equal(at(come("quiet"), "z"), undefined);
    scheduler.messageLeft(fourth);
    scheduler.sentAway("share:flood");
    assert.deepEqual(scheduler.takeRecalls(room, true), []);
    scheduler.messageLeft(first);
    assert.deepEqual(scheduler.takeRecalls(room, true), [{ name: "share:flood", most: 1 }]);
  });

  it("S31 with fair_share_key a message that is under way goes on, whatever came of its key since", () => {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit, weightOf: () => 1 });
    const big = { ...message({ shareKey: "flood" }), outstanding: 1 };
    for (let n = 0; n < 9; n += 1) scheduler.messageCame(message({ shareKey: "flood" }));
    assert.equal(scheduler.surplusAt(big, toA, "smtp:a", 0), undefined);
    assert.equal(scheduler.surplusAt({ ...big, outstanding: 0 }, toA, "smtp:a", 0), "share:flood");
  });

  it("S31 with fair_share_key mail without a key is of many, and has no share to exceed", () => {
    const scheduler = openScheduler(fixedWindow(1), { activeLimit, weightOf: () => 1 });
    for (let n = 0; n < 10; n += 1) {
      const one = message({ shareKey: "" });
      scheduler.messageCame(one);
      assert.equal(scheduler.surplusAt(one, toA, `smtp:d${n}`, 0), undefined);
    }
  });
});

describe("messages that go alone", () => {
  function dangerous(): ActiveMessage {
    return message({}, { crashes: 2 });
  }

  it("P8 take a quarter of the places at most, and hold nobody else up", () => {
    const scheduler = openScheduler(fixedWindow(20));
    scheduler.capacity = 8;
    for (let n = 0; n < 4; n += 1) scheduler.enqueue(entry("a", dangerous()));
    enqueueMessages(scheduler, "a", 2);
    const jobs = scheduler.take(9, 0);
    assert.deepEqual(
      jobs.map(({ isAlone }) => isAlone),
      [true, true, false, false],
    );
    const [first] = jobs;
    assert(first !== undefined);
    endWell(scheduler, first);
    assert.deepEqual(
      scheduler.take(9, 0).map(({ isAlone }) => isAlone),
      [true],
    );
  });

  it("P8 wait for no message that has left, and for no full destination", () => {
    const scheduler = openScheduler(fixedWindow(1));
    scheduler.capacity = 4;
    const [running, held, last] = [dangerous(), dangerous(), dangerous()];
    scheduler.enqueue(entry("a", running));
    scheduler.enqueue(entry("b", held));
    scheduler.enqueue(entry("c", last));
    const job = takeOne(scheduler);
    assert.deepEqual(scheduler.take(9, 0), [], "both others are parked");
    endWell(scheduler, job);
    for (const one of scheduler.abandon(held)) scheduler.over(one);
    assert.equal(takeOne(scheduler).entries[0]?.message, last);
  });
});
