import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ImportedMessage, OpenRequest } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";
import type { RequestName, StoredRecipient } from "@postmq/vocabulary";
import { ActiveQueue } from "./active-queue.ts";
import { jobSize } from "./scheduler/job-size.ts";
import type { DeliveryJob, Scheduler } from "./scheduler/scheduler.ts";
import {
  fixedWindow,
  imported as anyMessage,
  openScheduler,
  queueId,
} from "./scheduler/scheduling.test-support.ts";

const id = queueId("M1");

function recipients(...addresses: readonly string[]): readonly StoredRecipient[] {
  return addresses.map((address, number) => ({ address, number, state: { kind: "todo" } }));
}

function imported(
  addresses: readonly string[],
  changes: Partial<ImportedMessage> = {},
): ImportedMessage {
  return anyMessage({
    id,
    totalRecipients: addresses.length,
    undoneRecipients: addresses.length,
    recipients: recipients(...addresses),
    nextRecipient: addresses.length,
    ...changes,
  });
}

const nothingOwed = { unreportedRecipients: 0, unreportedSuccesses: 0 };

class Play {
  readonly scheduler: Scheduler = openScheduler(fixedWindow(2), { sizeOfJob: jobSize });
  readonly stuck: string[] = [];
  readonly active: ActiveQueue;
  #numbers = 0;

  constructor() {
    this.scheduler.capacity = 10;
    this.active = new ActiveQueue({
      scheduler: this.scheduler,
      grouping: {
        resolve: (address) => ({
          transport: address.endsWith("@discard.example") ? "discard" : "smtp",
          nexthop: address.slice(address.indexOf("@") + 1),
        }),
        recipientLimit: () => 50,
        recipientDelimiter: "",
        softBounce: false,
        deferTransports: new Set(),
        isDoubleBounce: () => false,
      },
      recipientLimit: 1000,
      recipientMinimum: 10,
      poolOf: () => ({
        recipientLimit: 20_000,
        extraLimit: 1000,
        refillLimit: 100,
        refillDelayMs: 5000,
      }),
      shareKeyOf: () => "",
      limits: {
        backoff: { minimalMs: 300, maximalMs: 4000 },
        lifetime: { maximalMs: 100_000, bounceMs: 100_000 },
        delayWarningMs: 0,
        dueAt: (nowMs, restMs) => nowMs + restMs,
        crashLimit: 3,
      },
      checkAfterMs: 5000,
      reportTimeoutMs: 60_000,
      onStuck: (stuck) => this.stuck.push(stuck),
    });
  }

  /** Dispatches all that may go; the names of the requests. */
  dispatch(): readonly RequestName[] {
    return this.active.takeJobs(100, 0).flatMap((job) => this.answer(job));
  }

  answer(job: DeliveryJob): readonly RequestName[] {
    const names = job.entries.map(({ message }): RequestName => {
      this.#numbers += 1;
      return { id: message.id, number: this.#numbers, generation: 1 };
    });
    const out = this.active.dispatched(job, names, 0);
    return [...(out?.requests ?? [])].map(({ name }) => name);
  }

  ended(
    request: RequestName,
    told: { sent?: number; deferred?: number; failed?: number; owedSuccesses?: number } = {},
  ): void {
    const event = { kind: "ended", request, end: "tried", feedback: { kind: "none" } } as const;
    this.active.ended({ ...event, sent: 0, deferred: 0, failed: 0, ...told }, 0);
  }

  /** What is decided now, answered as the store would: done. */
  decide(answer: "done" | "stale" | "unfinished" = "done"): readonly string[] {
    return this.active.takeDecisions(1000, 100).map((decision) => {
      if (decision.kind === "read") {
        this.active.recipientsRead(
          decision.message,
          { ...nothingOwed, recipients: [], nextRecipient: 100 },
          0,
        );
        return `read from ${decision.from}`;
      }
      const { message, settlement } = decision;
      this.active.settled(message, settlement, answer, 1000);
      return settlement.action === "report" ? `report ${settlement.kind}` : settlement.action;
    });
  }
}

describe("ActiveQueue", () => {
  it("decides about a message when its last request has ended, not before", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@b.example"]), 0);
    const [first, second] = play.dispatch();
    assert(first !== undefined && second !== undefined);
    play.ended(first, { sent: 1 });
    assert.deepEqual(play.decide(), []);
    play.ended(second, { sent: 1 });
    assert.deepEqual(play.decide(), ["remove"]);
    assert.equal(play.active.size, 0);
    assert.equal(play.active.recipientsInMemory, 0);
  });

  it("counts from the record when a request ended with fewer outcomes than it had recipients", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    play.ended(request, { sent: 1 });
    assert.deepEqual(play.decide(), ["read from 0"]);
    assert.deepEqual(play.decide(), ["remove"]);
  });

  it("tries recipients again that a recount finds undone, and leaves deferred ones for the next run", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    play.ended(request);
    const [decision] = play.active.takeDecisions(1000, 1);
    assert(decision !== undefined);
    const [a, b] = recipients("a@a.example", "b@a.example");
    assert(a !== undefined && b !== undefined);
    const deferred = {
      ...b,
      state: { kind: "deferred", status: "4.4.1", reason: "x" },
    } as StoredRecipient;
    play.active.recipientsRead(
      decision.message,
      { ...nothingOwed, recipients: [a, deferred], nextRecipient: 2 },
      0,
    );
    const [again] = play.dispatch();
    assert(again !== undefined);
    const numbers = play.active.request(again)?.entry.recipients.map(({ number }) => number);
    assert.deepEqual(numbers, [0]);
    play.ended(again, { sent: 1 });
    assert.deepEqual(play.decide(), ["defer"]);
  });

  it("does not take a word about an earlier ring for the end of the request", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example"]), 0);
    const [name] = play.dispatch();
    assert(name !== undefined);
    const request = play.active.request(name);
    assert(request !== undefined);
    const renewed = { ...name, generation: 2 };
    play.active.renewed(request, renewed);
    play.ended(name, { deferred: 1 });
    assert.equal(play.scheduler.jobsOut, 1);
    play.ended(renewed, { sent: 1 });
    assert.equal(play.scheduler.jobsOut, 0);
  });

  it("holds one place for a job of several requests until its last one has ended", () => {
    const play = new Play();
    for (const name of ["M1", "M2", "M3", "M4", "M5"]) {
      play.active.addMessage(imported(["a@a.example"], { id: queueId(name) }), 0);
    }
    const [job] = play.active.takeJobs(1, 0);
    assert(job !== undefined && job.entries.length > 1);
    const names = play.answer(job);
    names.forEach((name, index) => {
      assert.equal(play.scheduler.jobsOut, 1, `after ${index}`);
      play.ended(name, { sent: 1 });
    });
    assert.equal(play.scheduler.jobsOut, 0);
  });

  it("drops what waits of a message that left, and keeps its place until a running delivery ends", () => {
    const play = new Play();
    play.scheduler.capacity = 1;
    play.active.addMessage(imported(["a@a.example", "b@b.example", "c@c.example"]), 0);
    const [running] = play.dispatch();
    assert(running !== undefined);
    const out = play.scheduler.jobsOut;
    play.active.left(id);
    assert.equal(play.scheduler.waiting, 0);
    assert.equal(play.active.size, 0);
    assert.equal(play.scheduler.jobsOut, out);
    play.ended(running, { sent: 1 });
    assert.equal(play.scheduler.jobsOut, out - 1);
    assert.deepEqual(play.decide(), []);
  });

  it("does not take an old leaving for a new one", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example"]), 0);
    const [job] = play.active.takeJobs(10, 0);
    assert(job !== undefined);
    // Held meanwhile: the store says so, and its event is still on the way.
    play.active.dispatched(job, [undefined], 0);
    assert.equal(play.active.size, 0);
    play.active.addMessage(imported(["a@a.example"], { generation: 5 }), 0);
    play.active.left(id);
    assert.equal(play.active.size, 1, "that was about the first stay");
    play.active.left(id);
    assert.equal(play.active.size, 0);
  });

  it("takes up a message anew that was moved out and in before its event came", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example"]), 0);
    const [running] = play.dispatch();
    assert(running !== undefined);
    const adopted: OpenRequest = {
      name: running,
      state: "claimed",
      destination: { transport: "smtp", nexthop: "a.example" },
      recipients: [0],
      claim: "w1",
    };
    play.active.addMessage(
      imported(["a@a.example"], { generation: 5, openRequests: [adopted] }),
      0,
    );
    play.active.left(id);
    assert.equal(play.scheduler.jobsOut, 1, "the delivery is counted once");
    play.ended(running, { sent: 1 });
    assert.deepEqual(play.decide(), ["remove"]);
    assert.equal(play.active.recipientsInMemory, 0);
  });

  it("waits for recipients of adopted requests only, and tries the others at once", () => {
    const play = new Play();
    const adopted: OpenRequest = {
      name: { id, number: 9, generation: 3 },
      state: "dotSent",
      destination: { transport: "smtp", nexthop: "a.example" },
      recipients: [0],
      claim: "w1",
    };
    play.active.addMessage(
      imported(["a@a.example", "b@b.example"], { openRequests: [adopted] }),
      0,
    );
    const names = play.dispatch();
    assert.equal(names.length, 1);
    for (const name of [...names, adopted.name]) play.ended(name, { sent: 1 });
    assert.deepEqual(play.decide(), ["remove"]);
  });

  it("goes on when the report was queued before the answer to asking for it", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    play.ended(request, { failed: 1 });
    const [decision] = play.active.takeDecisions(1000, 1);
    assert(decision?.kind === "settle");
    play.active.reported(id);
    play.active.settled(decision.message, decision.settlement, "done", 1000);
    assert.deepEqual(play.decide(), ["remove"]);
  });

  it("D31 asks for the report of a success with the attempt that brought it, others deferred or not", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@a.example", "c@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    play.ended(request, { sent: 1, owedSuccesses: 1, deferred: 1, failed: 1 });
    assert.deepEqual(play.decide(), ["report failure"]);
    play.active.reported(id);
    assert.deepEqual(play.decide(), ["report success"]);
    play.active.reported(id);
    assert.deepEqual(play.decide(), ["defer"]);
  });

  it("D6 D31 asks for reports of what was recorded before a worker died, and tries the others again", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    const told = { sent: 1, owedSuccesses: 1, deferred: 0, failed: 0, crashes: 1 };
    const event = { kind: "ended", request, end: "putBack", feedback: { kind: "none" } } as const;
    play.active.ended({ ...event, ...told }, 0);
    const [again] = play.dispatch();
    assert(again !== undefined);
    play.ended(again, { sent: 2 });
    assert.deepEqual(play.decide(), ["report success"]);
  });

  it("S18 D31 asks for the report of what was discarded, if somebody wants one", () => {
    const play = new Play();
    const [asking] = recipients("a@discard.example");
    assert(asking !== undefined);
    const asked = [{ ...asking, notify: ["SUCCESS"] }] as const;
    play.active.addMessage(imported(["a@discard.example"], { recipients: asked }), 0);
    const [decided] = play.active.takeDecidedOutcomes(1);
    assert(decided !== undefined);
    play.active.outcomesRecorded(decided);
    assert.deepEqual(play.decide(), ["report success"]);
  });

  it("D31 Q6 takes what is owed from the record when in doubt", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    play.ended(request, { sent: 1 });
    assert.deepEqual(play.decide("unfinished"), ["remove"]);
    const [decision] = play.active.takeDecisions(1000, 1);
    assert(decision?.kind === "read");
    const owed = { unreportedRecipients: 0, unreportedSuccesses: 1 };
    play.active.recipientsRead(decision.message, { ...owed, recipients: [], nextRecipient: 1 }, 0);
    assert.deepEqual(play.decide(), ["report success"]);
    play.active.reported(id);
    assert.deepEqual(play.decide(), ["remove"]);
  });

  it("Q6 D33 takes from the record what failed when the word of it was lost, and reports it before it defers", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@b.example"]), 0);
    const [unseen, seen] = play.dispatch();
    assert(unseen !== undefined && seen !== undefined);
    const request = play.active.request(unseen);
    assert(request !== undefined);
    play.active.endedUnseen(request, 0);
    play.ended(seen, { deferred: 1 });
    const [decision] = play.active.takeDecisions(1000, 1);
    assert(decision?.kind === "read");
    const [, b] = recipients("a@a.example", "b@b.example");
    assert(b !== undefined);
    const status = enhancedStatus("4.4.1");
    const deferred: StoredRecipient = { ...b, state: { kind: "deferred", status, reason: "x" } };
    play.active.recipientsRead(
      decision.message,
      { unreportedRecipients: 1, unreportedSuccesses: 0, recipients: [deferred], nextRecipient: 2 },
      0,
    );
    assert.deepEqual(play.decide(), ["report failure"]);
    play.active.reported(id);
    assert.deepEqual(play.decide(), ["defer"]);
  });

  it("Q6 tells nobody twice of what the record says was told", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example", "b@a.example"]), 0);
    const [request] = play.dispatch();
    assert(request !== undefined);
    play.ended(request, { failed: 1 });
    // Fewer outcomes than recipients: the record is asked, and knows of no failure that is still to be told.
    assert.deepEqual(play.decide(), ["read from 0"]);
    assert.deepEqual(play.decide(), ["remove"]);
  });

  it("never drops a message whose decisions the record refuses, slows down, and says so", () => {
    const play = new Play();
    play.active.addMessage(imported([]), 0);
    let decisions = 0;
    for (let turn = 0; turn < 50; turn += 1) decisions += play.decide("unfinished").length;
    assert(decisions < 10, `${decisions} decisions without a rest`);
    for (let turn = 1; turn < 20; turn += 1) {
      play.active.tick(1000 + turn * 60_000);
      while (play.decide("unfinished").length > 0);
    }
    assert.deepEqual(play.stuck, ["M1"]);
    assert.equal(play.active.size, 1);
  });

  it("removes a message that was finished but for its removal, and tries none of it", () => {
    const play = new Play();
    play.active.addMessage(imported(["a@a.example"], { isFinished: true }), 0);
    assert.deepEqual(play.dispatch(), []);
    assert.deepEqual(play.decide(), ["remove"]);
  });

  it("S1 asks no second worker for recipients that one has in hand from before, in later batches too", () => {
    const play = new Play();
    play.scheduler.capacity = 100;
    const some = recipients(...Array.from({ length: 30 }, (_, n) => `u${n}@d${n}.example`));
    const open: OpenRequest = {
      name: { id, number: 9, generation: 1 },
      state: "claimed",
      destination: { transport: "smtp", nexthop: "d20.example" },
      recipients: [20, 21],
      claim: "w1",
    };
    play.active.addMessage(
      anyMessage({
        id,
        totalRecipients: 30,
        undoneRecipients: 30,
        recipients: some.slice(0, 10),
        nextRecipient: 10,
        openRequests: [open],
      }),
      0,
    );
    const [read] = play.active.takeReads(0);
    assert.equal(read?.from, 10);
    const rest = { ...nothingOwed, recipients: some.slice(10), nextRecipient: 30 };
    play.active.recipientsRead(read.message, rest, 0);
    const names = play.dispatch();
    const tried = names.flatMap((name) => play.active.request(name)?.entry.recipients ?? []);
    assert.equal(tried.length, 28);
    assert(!tried.some(({ number }) => number === 20 || number === 21));
  });

  it("reads for many messages together no more recipients than have room (scheduling.md §1)", () => {
    const play = new Play();
    for (let n = 0; n < 10; n += 1) {
      const one = imported([`u0@d${n}.example`], {
        id: queueId(`M${n}`),
        totalRecipients: 100_000,
        nextRecipient: 1,
      });
      play.active.addMessage(one, 0);
    }
    const reads = play.active.takeReads(0);
    const asked = reads.reduce((sum, { limit }) => sum + limit, 0);
    assert(asked + 10 <= 20_000, `${asked} recipients are asked for`);
    assert.equal(play.active.recipientsInMemory, asked + 10);
    for (const { message } of reads) {
      play.active.recipientsRead(
        message,
        { ...nothingOwed, recipients: [], nextRecipient: 100_000 },
        0,
      );
    }
    assert.equal(play.active.recipientsInMemory, 10);
  });

  it("takes no request that was put back untried for a quick one", () => {
    const play = new Play();
    for (const name of ["M1", "M2", "M3", "M4", "M5"]) {
      play.active.addMessage(imported(["a@a.example"], { id: queueId(name) }), 0);
    }
    const [job] = play.active.takeJobs(1, 0);
    assert(job !== undefined && job.entries.length > 2);
    const names = play.answer(job);
    const told = { sent: 0, deferred: 0, failed: 0, feedback: { kind: "none" } } as const;
    names.forEach((request, index) => {
      const end = index === 0 ? "tried" : "putBack";
      play.active.ended(
        { kind: "ended", request, end, ...told, sent: index === 0 ? 1 : 0 },
        30_000,
      );
    });
    assert.equal(job.slot.destination.msPerRequest, undefined);
  });

  it("reads and tries no more of a message that can't be read", () => {
    const play = new Play();
    const many = { totalRecipients: 1000, nextRecipient: 1 };
    play.active.addMessage(imported(["a@a.example"], many), 0);
    const [name] = play.dispatch();
    const [read] = play.active.takeReads(0);
    assert(name !== undefined && read !== undefined);
    const told = { sent: 0, deferred: 0, failed: 0, feedback: { kind: "none" } } as const;
    play.active.ended({ kind: "ended", request: name, end: "unreadable", ...told }, 0);
    const more = recipients("b@b.example").map((one) => ({ ...one, number: 1 }));
    play.active.recipientsRead(
      read.message,
      { ...nothingOwed, recipients: more, nextRecipient: 2 },
      0,
    );
    assert.deepEqual(play.dispatch(), []);
    assert.deepEqual(play.active.takeReads(10_000), []);
    assert.deepEqual(play.decide(), ["corrupt"]);
  });

  it("S29 S31 lifts what stands in the way of a flushed message for its later batches too", () => {
    const play = new Play();
    const many = { totalRecipients: 3, nextRecipient: 1, isUnthrottling: true };
    play.active.addMessage(imported(["a@a.example"], many), 0);
    const [read] = play.active.takeReads(5000);
    assert(read !== undefined);
    play.active.throttle("smtp", { status: enhancedStatus("4.3.0"), reason: "x" }, 60_000);
    const more = recipients("b@b.example").map((one) => ({ ...one, number: 1 }));
    play.active.recipientsRead(
      read.message,
      { ...nothingOwed, recipients: more, nextRecipient: 3 },
      5000,
    );
    assert.equal(play.dispatch().length, 1);
  });
});
