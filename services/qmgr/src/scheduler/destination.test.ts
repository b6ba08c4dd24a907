import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { enhancedStatus } from "@postmq/vocabulary";
import { DestinationQueue } from "./destination.ts";
import type { DestinationRules } from "./destination.ts";
import { Job } from "./job.ts";
import { Peer } from "./peer.ts";
import { destinationRules, entry, message } from "./scheduling.test-support.ts";

const good = { kind: "good" } as const;
const trouble = {
  kind: "trouble",
  status: enhancedStatus("4.4.1"),
  reason: "connect to a.example: Connection refused",
} as const;

function open(changes: Partial<DestinationRules> = {}): DestinationQueue {
  const to = { transport: "smtp", nexthop: "a.example" };
  return new DestinationQueue("smtp:a.example", to, { ...destinationRules, ...changes });
}

/** A request waits there. */
function addPeer(queue: DestinationQueue, order: number, requests = 1): Peer {
  const of = message();
  const job = new Job(of, [order]);
  const peer = new Peer({ message: of, queueName: queue.name, job, site: queue });
  for (let n = 0; n < requests; n += 1) peer.push(entry("a.example", of));
  queue.waiting += requests;
  queue.openPeers.add(peer);
  queue.list(peer);
  return peer;
}

/** Dead, by failures in a row with nothing running. */
function dead(nowMs: number, changes: Partial<DestinationRules> = {}): DestinationQueue {
  const queue = open({ initialConcurrency: 1, ...changes });
  assert.equal(queue.takeFeedback(trouble, nowMs), true);
  return queue;
}

describe("a destination", () => {
  it("S24 may start a request while fewer are busy than its window, not at it", () => {
    const queue = open();
    addPeer(queue, 1);
    for (let n = 0; n < 4; n += 1) queue.takePlace(0);
    assert.equal(queue.mayStart, true);
    queue.takePlace(0);
    assert.equal(queue.mayStart, false);
    queue.freePlace(0);
    assert.equal(queue.mayStart, true);
  });

  it("S19 serves jobs in their order, and a job's requests first in first out", () => {
    const queue = open();
    const later = addPeer(queue, 9);
    const first = addPeer(queue, 3, 2);
    assert.equal(queue.firstPeer(), first);
    first.shift();
    assert.equal(queue.firstPeer(), first);
    first.shift();
    assert.equal(queue.firstPeer(), later);
  });

  it("S28 is dead for minimal_backoff_time, and gives the reason that it died of", () => {
    const queue = dead(1000);
    assert.equal(queue.isDead, true);
    assert.equal(queue.window, 0);
    assert.deepEqual(queue.suspension, {
      status: "4.4.1",
      reason: "delivery temporarily suspended: connect to a.example: Connection refused",
    });
    assert.equal(queue.wakeMs, 301_000);
    queue.wake(300_999);
    assert.equal(queue.isDead, true);
    queue.wake(301_000);
    assert.equal(queue.isDead, false);
    assert.equal(queue.suspension, undefined);
    assert.equal(queue.window, 1);
  });

  it("S28 lets what runs go on, and is alive at once when one of those succeeds", () => {
    const queue = open({ initialConcurrency: 3 });
    for (let n = 0; n < 3; n += 1) queue.takePlace(0);
    let died = false;
    while (!died) died = queue.takeFeedback(trouble, 0);
    queue.freePlace(0);
    assert.equal(queue.takeFeedback(trouble, 10), false, "it is dead already");
    queue.takeFeedback(good, 20);
    assert.equal(queue.isDead, false);
    assert.equal(queue.window, 2, "as many as run");
  });

  it("S28 more trouble does not put off its revival", () => {
    const queue = dead(1000);
    queue.takeFeedback(trouble, 200_000);
    assert.equal(queue.wakeMs, 301_000);
  });

  it("S29 is lifted from the dead by a flush, and begins again as at first", () => {
    const queue = dead(1000, { initialConcurrency: 1 });
    queue.lift();
    assert.equal(queue.isDead, false);
    assert.equal(queue.window, 1);
    const alive = open();
    alive.takeFeedback(trouble, 0);
    alive.lift();
    assert.equal(alive.window, 4, "a living one keeps its window");
  });

  it("S29 what was put back, or says nothing of its site, lifts nothing", () => {
    const queue = dead(1000);
    queue.takeFeedback({ kind: "none" }, 2000);
    assert.equal(queue.isDead, true);
  });

  it("S30 rests after every request, sent or failed, and nobody starts meanwhile", () => {
    const queue = open({ concurrencyLimit: 1, rateDelayMs: 2000 });
    addPeer(queue, 1, 3);
    queue.takePlace(0);
    queue.takeFeedback(good, 100);
    queue.freePlace(100);
    assert.equal(queue.window, 0);
    assert.equal(queue.mayStart, false);
    assert.equal(queue.wakeMs, 2100);
    queue.wake(2099);
    assert.equal(queue.mayStart, false);
    queue.wake(2100);
    assert.equal(queue.mayStart, true);
    queue.takePlace(2100);
    queue.freePlace(2200);
    assert.equal(queue.mayStart, false, "after one that told nothing, too");
  });

  it("S30 with a rate delay it rests instead of dying", () => {
    const queue = open({ concurrencyLimit: 1, rateDelayMs: 2000 });
    addPeer(queue, 1);
    queue.takePlace(0);
    assert.equal(queue.takeFeedback(trouble, 100), false);
    queue.freePlace(100);
    assert.equal(queue.isDead, false);
    assert.equal(queue.isPaused, true);
    queue.wake(2100);
    assert.equal(queue.mayStart, true);
  });

  it("S32 keeps a connection when a request starts within a second of the last one's end", () => {
    const queue = open();
    assert.equal(queue.takePlace(5000), false, "the first of all");
    assert.equal(queue.takePlace(5000), false, "in parallel is not back to back");
    queue.freePlace(6000);
    assert.equal(queue.takePlace(7000), true, "1000 ms later");
    assert.equal(queue.takePlace(9000), true, "still, with others running");
  });

  it("S32 no longer keeps it when one starts alone and not back to back", () => {
    const queue = open();
    queue.takePlace(0);
    queue.freePlace(1000);
    assert.equal(queue.takePlace(2000), true);
    queue.freePlace(3000);
    assert.equal(queue.takePlace(4001), false, "1001 ms later, none other running");
  });

  it("tells the pace of its requests, the last ones counting most", () => {
    const queue = open();
    assert.equal(queue.msPerRequest, undefined);
    queue.measure({ requests: 10, tookMs: 100 });
    assert.equal(queue.msPerRequest, 10);
    queue.measure({ requests: 1, tookMs: 30 });
    assert.equal(queue.msPerRequest, 20);
  });

  it("takes up the window, the dead mark and the surplus that the leader before left, and no pause", () => {
    const left = dead(1000);
    left.surplus = 7;
    const heir = open();
    heir.restore(left.report(2000), 3000);
    assert.equal(heir.isDead, true);
    assert.equal(heir.wakeMs, 301_000);
    assert.equal(heir.surplus, 7);
    const late = open();
    late.restore(left.report(2000), 301_000);
    assert.equal(late.isDead, false);
    const paused = open({ rateDelayMs: 2000, concurrencyLimit: 1 });
    paused.takePlace(0);
    paused.freePlace(0);
    const next = open({ rateDelayMs: 2000, concurrencyLimit: 1 });
    next.restore(paused.report(0), 0);
    assert.equal(next.isPaused, false);
    const wide = open();
    for (let n = 0; n < 10; n += 1) {
      wide.takePlace(0);
      wide.takeFeedback(good, 0);
    }
    const narrow = open({ concurrencyLimit: 6 });
    narrow.restore(wide.report(0), 0);
    assert.equal(narrow.window, 6, "the limit may be lower now");
  });
});
