import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isPostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { FakeStore } from "./fake-store.test-support.ts";
import type { RunningJob } from "./fake-store.test-support.ts";
import { Leading, limits, settled } from "./leading.test-support.ts";

async function lead(prepare: (store: FakeStore) => void = () => undefined) {
  const store = new FakeStore(10);
  store.liveWorkers.add("w1");
  prepare(store);
  const leading = new Leading(store);
  await leading.takeOver();
  const submit = async (sender: string, ...addresses: readonly string[]): Promise<QueueId> => {
    const id = store.submit(sender, addresses);
    leading.ring("incoming");
    await settled();
    return id;
  };
  const claim = (): RunningJob => {
    const job = store.claim("w1", 0);
    assert(job !== undefined, "no bell rang");
    return job;
  };
  const end = async (kind: "sent" | "deferred" | "failed", job = claim()): Promise<void> => {
    store.end(job, "tried", () => kind);
    await settled();
  };
  return {
    store,
    leading,
    submit,
    claim,
    end,
    advance: (ms: number) => leading.ticker.advance(ms),
  };
}

describe("a term of leadership", () => {
  it("delivers a message, removes it, and logs what Postfix logs", async () => {
    const { store, leading, submit, end } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    await end("sent");
    assert.equal(store.ended.get(id), "removed");
    assert(
      leading.log.lines.includes(`${id}: from=<s@x.example>, size=100, nrcpt=1 (queue active)`),
    );
    assert(leading.log.lines.includes(`${id}: removed`));
  });

  it("S5 S6 defers for the backoff, counts the attempt, and tries again when due", async () => {
    const { store, submit, end, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    const triedMs = store.nowMs;
    await end("deferred");
    const record = store.record(id);
    assert.equal(record.queue, "deferred");
    assert.equal(record.dueMs, triedMs + limits.backoffMs);
    assert.equal(record.attempts, 1);
    await advance(limits.backoffMs - 1000);
    assert.equal(record.queue, "deferred");
    await advance(2000);
    assert.equal(record.queue, "active");
    await end("sent");
    assert.equal(store.ended.get(id), "removed");
  });

  it("rings once for all messages that are due in one second", async () => {
    const { store, submit, claim, end } = await lead();
    await submit("s@x.example", "a@a.example");
    await submit("s@x.example", "b@b.example");
    const jobs = [claim(), claim()];
    for (const job of jobs) await end("deferred", job);
    assert.equal(store.rungSeconds.length, 1);
  });

  it("S7 waits as a whole: one deferred recipient holds no other back, and none is tried twice", async () => {
    const { store, submit, end } = await lead();
    const id = await submit("s@x.example", "a@a.example", "b@b.example");
    await end("deferred");
    await end("sent");
    const record = store.record(id);
    assert.equal(record.queue, "deferred");
    assert.deepEqual(record.recipients.map(({ state }) => state.kind).toSorted(), [
      "deferred",
      "done",
    ]);
  });

  it("Q5 D33 asks for one report at the end of the attempt, then defers the rest", async () => {
    const { store, submit, end } = await lead();
    const id = await submit("s@x.example", "a@a.example", "b@b.example", "c@c.example");
    await end("failed");
    await end("deferred");
    assert.equal(store.record(id).owed, undefined, "a recipient is still out");
    await end("failed");
    assert.equal(store.record(id).owed, "failure");
    assert.equal(store.record(id).queue, "active");
    store.report(id);
    await settled();
    assert.equal(store.record(id).queue, "deferred");
  });

  it("Q6 defers a message whose report was not queued in a minute, and asks again on the next run", async () => {
    const { store, submit, end, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    await end("failed");
    await advance(61_000);
    assert.equal(store.record(id).queue, "deferred");
    await advance(62_000);
    assert.equal(store.record(id).owed, "failure");
    store.report(id);
    await settled();
    assert.equal(store.ended.get(id), "removed");
  });

  it("D28 leaves it to the bounce service to decide about the null sender", async () => {
    const { store, submit, end } = await lead();
    const id = await submit("", "a@a.example");
    await end("failed");
    assert.equal(store.record(id).owed, "failure");
  });

  it("S10 S11 S12 returns an old message after one more attempt, and logs that it expired", async () => {
    const { store, leading, submit, end } = await lead();
    const id = store.submit("s@x.example", ["a@a.example"]);
    store.nowMs += limits.lifetimeMs + 1;
    await submit("s@x.example", "b@b.example");
    await end("deferred");
    assert.equal(store.record(id).owed, "expired");
    store.report(id);
    await settled();
    assert.equal(store.ended.get(id), "removed");
    const line = `${id}: from=<s@x.example>, status=expired, returned to sender`;
    assert(leading.log.lines.includes(line), leading.log.lines.join("\n"));
  });

  it("Q7 removes a message of which nothing is left without an attempt", async () => {
    const { store, leading } = await lead();
    const id = store.submit("s@x.example", []);
    leading.ring("incoming");
    await settled();
    assert.equal(store.ended.get(id), "removed");
  });

  it("S18 fails and defers by the transports error and retry without asking a worker", async () => {
    const { store, leading, submit } = await lead();
    const failed = await submit("s@x.example", "a@error.example");
    const deferred = await submit("s@x.example", "a@retry.example");
    assert.equal(store.bells.length, 0);
    assert.equal(store.record(failed).owed, "failure");
    assert.equal(store.record(deferred).queue, "deferred");
    const line = leading.log.lines.find((text) => text.includes("a@error.example")) ?? "";
    assert.match(line, /relay=none, .*dsn=5.1.1, status=bounced \(no such user\)$/);
  });

  it("S18 drops what goes to discard, and logs it as sent", async () => {
    const { store, leading, submit } = await lead();
    const id = await submit("s@x.example", "a@discard.example");
    assert.equal(store.bells.length, 0);
    assert.equal(store.ended.get(id), "removed");
    const line = leading.log.lines.find((text) => text.includes("a@discard.example")) ?? "";
    assert.match(line, /relay=none, .*dsn=2.0.0, status=sent \(not wanted\)$/);
  });

  it("S2 imports no more than active may hold, and new mail first as places come free", async () => {
    const { store, leading } = await lead();
    const deferred = store.submit("s@x.example", ["b@b.example"]);
    Object.assign(store.record(deferred), { queue: "deferred", dueMs: store.nowMs });
    for (let n = 0; n < limits.activeLimit * 3; n += 1)
      store.submit("s@x.example", [`a@d${n % 10}.example`]);
    leading.ring("incoming");
    await settled();
    assert.equal(await store.countActive(), limits.activeLimit);
    leading.ring("deferred");
    const job = store.claim("w1", 0);
    assert(job !== undefined);
    const count = job.names.length;
    while (job.names.length > 0) store.end(job, "tried", () => "sent");
    await settled();
    assert.equal(await store.countActive(), limits.activeLimit);
    assert.equal(store.ended.size, count);
    assert.equal(store.record(deferred).queue, "deferred");
  });

  it("reads a large message in batches, the next when none is outstanding, with one report for all", async () => {
    const { store, submit } = await lead();
    const addresses = Array.from({ length: 2500 }, (_, n) => `u${n}@d${n % 50}.example`);
    const id = await submit("s@x.example", ...addresses);
    let rounds = 0;
    while (store.records.get(id)?.owed === undefined && rounds < 5000) {
      rounds += 1;
      const job = store.claim("w1", 0);
      while (job !== undefined && job.names.length > 0) store.end(job, "tried", () => "failed");
      await settled();
    }
    assert((store.calls["readRecipients"] ?? 0) >= 2);
    assert(store.record(id).recipients.every(({ state }) => state.kind === "failed"));
  });

  it("rings again, under a new generation, when a ring is lost", async () => {
    const { store, submit, end, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    const lost = store.bells.splice(0);
    await advance(7000);
    assert.equal(store.bells.length, 1);
    store.bells.push(...lost);
    assert.equal(store.claim("w1", 1), undefined, "the lost ring comes late and is stale");
    await end("sent");
    assert.equal(store.ended.get(id), "removed");
  });

  it("P9 leads on while Redis takes no rings, and delivers soon after it takes them again", async () => {
    const { store, submit, end, advance } = await lead();
    store.isFull = true;
    const id = await submit("s@x.example", "a@a.example");
    await advance(60_000);
    assert.deepEqual(store.bells, []);
    assert.ok((store.calls["ringDelivery"] ?? 0) >= 20, "it was rung again each second or so");
    store.isFull = false;
    await advance(3000);
    assert.equal(store.bells.length, 1);
    await end("sent");
    assert.equal(store.ended.get(id), "removed");
  });

  it("P9 rings for a second again whose ring Redis did not take", async () => {
    const { store, submit, claim, end } = await lead();
    await submit("s@x.example", "a@a.example");
    await submit("s@x.example", "b@b.example");
    const jobs = [claim(), claim()];
    store.isFull = true;
    await end("deferred", jobs[0]);
    assert.equal(store.rungSeconds.length, 0);
    store.isFull = false;
    await end("deferred", jobs[1]);
    assert.equal(store.rungSeconds.length, 1);
  });

  it("takes a request back from a dead worker, without an attempt, and gives it to another", async () => {
    const { store, submit, claim, end, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    claim();
    store.liveWorkers.add("w2");
    await advance(1500);
    store.killWorker("w1");
    await advance(3000);
    assert.equal(store.record(id).crashes, 1);
    const job = store.claim("w2", 0);
    assert(job !== undefined);
    await end("sent", job);
    assert.equal(store.ended.get(id), "removed");
  });

  it("defers what is ambiguous: a worker died after its final dot", async () => {
    const { store, submit, claim, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    store.markDotSent(claim());
    await advance(1500);
    store.killWorker("w1");
    await advance(8000);
    assert.equal(store.record(id).queue, "deferred");
  });

  it("P8 tries a message that crashes workers alone, and parks it in corrupt after crash_limit more", async () => {
    const { store, submit, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    const alone: boolean[] = [];
    for (let n = 2; n < 20 && store.record(id).queue !== "corrupt"; n += 1) {
      alone.push(store.bells[0]?.isAlone === true);
      store.claim(`w${n - 1}`, 0);
      store.liveWorkers.add(`w${n}`);
      await advance(1500);
      store.killWorker(`w${n - 1}`);
      await advance(3000);
    }
    assert.deepEqual(alone, [false, false, true, true, true]);
    assert.equal(store.record(id).queue, "corrupt");
  });

  it("P8 gives a process that tries a message alone more time to start with each ring", async () => {
    const { store, submit, advance } = await lead();
    await submit("s@x.example", "a@a.example");
    for (const n of [1, 2]) {
      store.claim(`w${n}`, 0);
      store.liveWorkers.add(`w${n + 1}`);
      await advance(1500);
      store.killWorker(`w${n}`);
      await advance(3000);
    }
    assert.equal(store.bells[0]?.isAlone, true);
    const rungAfterMs: number[] = [];
    for (let ms = 0; ms < 120_000; ms += 1000) {
      store.bells.splice(0);
      await advance(1000);
      if (store.bells.length > 0) rungAfterMs.push(ms);
    }
    const pauses = rungAfterMs.slice(1).map((ms, index) => ms - (rungAfterMs[index] ?? 0));
    assert.deepEqual(pauses.slice(0, 4), [5_000, 10_000, 20_000, 20_000]);
  });

  it("parks a message that a worker can't read", async () => {
    const { store, submit, claim } = await lead();
    const id = await submit("s@x.example", "a@a.example", "b@b.example");
    const jobs = [claim(), claim()];
    for (const job of jobs) store.end(job, "unreadable", () => "sent");
    await settled();
    assert.equal(store.record(id).queue, "corrupt");
  });

  it("forgets a message that an operator holds, and takes it up again when it is released", async () => {
    const { store, leading, submit, end } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    store.move(id, "hold");
    await settled();
    assert.equal(store.claim("w1", 0), undefined);
    store.move(id, "incoming");
    leading.ring("incoming");
    await settled();
    await end("sent");
    assert.equal(store.ended.get(id), "removed");
  });

  it("asks the records when events are lost", async () => {
    const { store, leading, submit, claim, advance } = await lead();
    const sent = await submit("s@x.example", "a@a.example");
    const failed = await submit("s@x.example", "b@b.example");
    store.end(claim(), "tried", () => "sent");
    store.end(claim(), "tried", () => "failed");
    store.loseEvents();
    store.nudge();
    await advance(4000);
    assert.equal(store.ended.get(sent), "removed", leading.log.lines.join("\n"));
    assert.equal(store.record(failed).owed, "failure");
    store.report(failed);
    store.loseEvents();
    store.nudge();
    await advance(4000);
    assert.equal(store.ended.get(failed), "removed");
  });

  it("Q13 at take-over adopts live claims: they count as busy, and only their recipients wait", async () => {
    const { store, leading, submit, claim, end } = await lead();
    const id = await submit("s@x.example", "a@a.example", "b@b.example");
    const running = claim();
    await leading.takeOver();
    await settled();
    const bells = store.bells.filter(({ requests }) =>
      store.record(id).requests.has(requests[0]?.number ?? 0),
    );
    assert.equal(bells.length, 1, "only the other recipient is rung for");
    for (let n = 0; n < limits.destination; n += 1) {
      await submit("s@x.example", `x@${running.key.slice("smtp:".length)}`);
    }
    const here = () => store.running.filter(({ key }) => key === running.key).length;
    while (store.bells.length > 0) store.claim("w1", 0);
    assert.equal(here(), limits.destination);
    await end("sent", running);
    while (store.running.length > 0) {
      const [job] = store.running;
      if (job !== undefined) await end("sent", job);
      while (store.bells.length > 0) store.claim("w1", 0);
    }
    assert.equal(store.ended.get(id), "removed");
  });

  it("P6 stops at once when another leader was elected, and writes nothing more", async () => {
    const { store, leading, submit } = await lead();
    await submit("s@x.example", "a@a.example");
    store.holder = undefined;
    await store.acquire();
    const error = await leading.ended();
    assert(isPostmqError(error, "PMQ_STORE_FENCED"), String(error));
    assert.equal(leading.ticker.running, 0);
    const before = JSON.stringify(store.calls);
    await leading.ticker.advance(10_000);
    assert.equal(JSON.stringify(store.calls), before);
  });

  it("stands down when any call of the store fails", async () => {
    for (const call of ["renew", "dispatch", "settle", "survey", "readEvents", "import incoming"]) {
      const { store, leading, submit, end } = await lead();
      store.failing = call;
      await submit("s@x.example", "a@a.example");
      if (call === "settle") await end("sent");
      const error = await leading.ended();
      assert(isPostmqError(error, "PMQ_STORE_NO_REPLY"), `${call}: ${String(error)}`);
    }
  });

  it("starts afresh when messages in active are in nobody's hands", async () => {
    const { store, leading, submit, advance } = await lead();
    const id = await submit("s@x.example", "a@a.example");
    await leading.ticker.advance(1000);
    store.submit("s@x.example", ["b@b.example"]);
    const [, lost] = [...store.records.values()];
    assert(lost !== undefined);
    // An import whose answer never came.
    lost.queue = "active";
    await advance(8000);
    assert(isPostmqError(await leading.ended(), "PMQ_STORE_NO_REPLY"));
    assert.equal(store.record(id).queue, "active");
  });

  it("looks into incoming again after it found something, until it finds nothing: nobody rings meanwhile", async () => {
    const { store, submit, advance } = await lead();
    await submit("s@x.example", "a@a.example");
    const unrung = store.submit("s@x.example", ["b@b.example"]);
    await advance(20);
    assert.equal(store.record(unrung).queue, "active");
    await advance(40);
    const looks = store.calls["import incoming"];
    await advance(100);
    assert.equal(store.calls["import incoming"], looks, "it went on looking");
  });

  it("says at the end that the last import is in hand, once", async () => {
    const { store, leading, submit, advance } = await lead();
    await submit("s@x.example", "a@a.example");
    await advance(2000);
    assert.equal(store.calls["closeImport"], undefined);
    leading.stop();
    await settled();
    assert.equal(store.calls["closeImport"], 1);
  });

  it("says so at once when active is full, since no import follows then", async () => {
    const { store, submit, advance } = await lead();
    for (let n = 0; n <= limits.activeLimit; n += 1) await submit("s@x.example", `u@d${n}.example`);
    await advance(2000);
    assert.equal(await store.countActive(), limits.activeLimit);
    assert.equal(store.calls["closeImport"], 1);
  });

  it("P10 ends in order: no new work, what ends within a moment is settled, the lease is free at once", async () => {
    const { store, leading, submit, claim } = await lead();
    const soon = await submit("s@x.example", "a@a.example");
    await submit("s@x.example", "b@b.example");
    const job = claim();
    leading.stop();
    await settled();
    store.submit("s@x.example", ["c@c.example"]);
    leading.ring("incoming");
    store.end(job, "tried", () => "sent");
    assert.equal(await leading.ended(), "in order");
    assert.equal(store.ended.get(soon), "removed");
    assert.equal(store.holder, undefined);
    assert.equal([...store.records.values()].filter(({ queue }) => queue === "incoming").length, 1);
  });

  it("releases the lease at once when nothing is out", async () => {
    const { store, leading } = await lead();
    leading.stop();
    await settled();
    assert.equal(store.holder, undefined);
  });
});
