import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseQueueId } from "@postmq/vocabulary";
import { openMessage } from "./message.ts";
import type { ActiveMessage, Entry } from "./message.ts";
import { FifoScheduler } from "./scheduler.ts";

let made = 0;

function message(crashes = 0): ActiveMessage {
  made += 1;
  const id = parseQueueId(`M${made}`);
  assert(id !== undefined);
  return openMessage(
    {
      id,
      generation: 1,
      arrivalMs: 0,
      createdMs: 0,
      envelope: { sender: "s@x.example", origin: "smtp" },
      sizeBytes: 1,
      totalRecipients: 1,
      undoneRecipients: 1,
      unreportedRecipients: 0,
      recipients: [],
      nextRecipient: 1,
      attempts: 0,
      crashes,
      isFinished: false,
      isMoreBehind: false,
      openRequests: [],
    },
    0,
  );
}

function entry(domain: string, of: ActiveMessage = message()): Entry {
  return {
    message: of,
    destination: { transport: "smtp", nexthop: domain },
    queueName: `smtp:${domain}`,
    recipients: [0],
    isQueued: false,
  };
}

function scheduler(limit: number, capacity = 100): FifoScheduler {
  const made = new FifoScheduler(() => limit);
  made.capacity = capacity;
  return made;
}

describe("FifoScheduler", () => {
  it("S24 starts no more jobs at a destination than its limit, and one more for each that ends", () => {
    const it = scheduler(2);
    for (let n = 0; n < 5; n += 1) it.enqueue(entry("a.example"));
    const jobs = it.take(100);
    assert.equal(jobs.length, 2);
    assert.equal(it.take(100).length, 0);
    const [first] = jobs;
    assert(first !== undefined);
    it.release(first.slot, { requests: 0, tookMs: 0 });
    assert.equal(it.take(100).length, 1);
  });

  it("S23 has no limit at a destination whose limit is 0", () => {
    const it = scheduler(0);
    for (let n = 0; n < 50; n += 1) it.enqueue(entry("a.example"));
    assert.equal(it.take(100).length, 50);
  });

  it("S20 does not let a full destination hold up the others", () => {
    const it = scheduler(1);
    for (let n = 0; n < 10; n += 1) it.enqueue(entry("slow.example"));
    it.take(100);
    it.enqueue(entry("b.example"));
    assert.deepEqual(
      it.take(100).map((job) => job.slot.queue.name),
      ["smtp:b.example"],
    );
  });

  it("S19 gives destinations turns, and serves each first in first out", () => {
    const it = scheduler(0);
    const a = [entry("a.example"), entry("a.example")];
    const b = [entry("b.example"), entry("b.example")];
    for (const one of [...a, ...b]) it.enqueue(one);
    const order = it.take(100).flatMap((job) => job.entries);
    assert.deepEqual(order, [a[0], b[0], a[1], b[1]]);
  });

  it("has no more jobs out than twice what live workers can run, and none without workers", () => {
    const it = scheduler(0, 3);
    for (let n = 0; n < 50; n += 1) it.enqueue(entry(`d${n}.example`));
    assert.equal(it.take(100).length, 6);
    it.capacity = 0;
    assert.equal(it.take(100).length, 0);
  });

  it("puts several requests of one destination into a job when more wait than may run", () => {
    const it = scheduler(5);
    for (let n = 0; n < 25; n += 1) it.enqueue(entry("a.example"));
    assert.deepEqual(
      it.take(100).map((job) => job.entries.length),
      [5, 4, 4, 3, 2],
    );
  });

  it("counts adopted requests as busy, even beyond the limit", () => {
    const it = scheduler(2);
    const destination = { transport: "smtp", nexthop: "a.example" };
    const slots = [1, 2, 3].map(() => it.adopt("smtp:a.example", destination));
    it.enqueue(entry("a.example"));
    const taken = slots.map((slot) => {
      it.release(slot, { requests: 0, tookMs: 0 });
      return it.take(100).length;
    });
    assert.deepEqual(taken, [0, 1, 0]);
  });

  it("passes over the requests of messages that have left", () => {
    const it = scheduler(1);
    const entries = Array.from({ length: 200 }, () => entry("a.example"));
    for (const one of entries) it.enqueue(one);
    for (const one of entries.slice(0, 199)) it.abandon(one);
    assert.equal(it.waiting, 1);
    assert.deepEqual(it.take(100)[0]?.entries, entries.slice(199));
    assert.equal(it.waiting, 0);
  });

  it("sends a message that crashed two workers in a job of its own (DESIGN §3)", () => {
    const it = scheduler(1);
    const poisoned = entry("a.example", message(2));
    for (const one of [entry("a.example"), entry("a.example"), poisoned, entry("a.example")]) {
      it.enqueue(one);
    }
    const jobs: { readonly size: number; readonly isAlone: boolean }[] = [];
    for (let [job] = it.take(1); job !== undefined; [job] = it.take(1)) {
      jobs.push({ size: job.entries.length, isAlone: job.isAlone });
      it.release(job.slot, { requests: 0, tookMs: 0 });
    }
    assert.deepEqual(jobs, [
      { size: 2, isAlone: false },
      { size: 1, isAlone: true },
      { size: 1, isAlone: false },
    ]);
  });
});
