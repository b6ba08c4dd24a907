/** Rules of the scheduler that show only in a whole term of leadership, over the fake store. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId, SiteFeedback } from "@postmq/vocabulary";
import { FakeStore } from "./fake-store.test-support.ts";
import { Leading, limits, settled } from "./leading.test-support.ts";
import type { LeadingChanges } from "./leading.test-support.ts";

const trouble: SiteFeedback = {
  kind: "trouble",
  status: enhancedStatus("4.4.1"),
  reason: "Connection refused",
};

async function lead(changes: LeadingChanges = {}) {
  const store = new FakeStore(10);
  store.liveWorkers.add("w1");
  const leading = new Leading(store, changes);
  await leading.takeOver();
  const submit = async (...addresses: readonly string[]): Promise<QueueId> => {
    const id = store.submit("s@x.example", addresses);
    leading.ring("incoming");
    await settled();
    return id;
  };
  /** A worker does all that is rung for. @returns how many requests it ended */
  const work = async (
    kind: "sent" | "deferred",
    feedback?: SiteFeedback,
    most = Infinity,
  ): Promise<number> => {
    let ended = 0;
    while (store.bells.length > 0 && ended < most) {
      const job = store.claim("w1", 0);
      while (job !== undefined && job.names.length > 0) {
        store.end(job, "tried", () => kind, feedback);
        ended += 1;
      }
      await settled();
    }
    return ended;
  };
  const flush = async (): Promise<void> => {
    await store.flushAll();
    await settled();
    await leading.ticker.advance(250);
  };
  /** With a window of three: 3, 2, 1 places. */
  const kill = async (domain: string): Promise<QueueId[]> => {
    const ids: QueueId[] = [];
    for (let n = 0; n < 5; n += 1) ids.push(await submit(`u${n}@${domain}`));
    await work("deferred", trouble);
    return ids;
  };
  const queueOf = (id: QueueId) => store.records.get(id)?.queue;
  const reasonOf = (id: QueueId) => {
    const state = store.record(id).recipients[0]?.state;
    return state?.kind === "deferred" ? state.reason : undefined;
  };
  return { store, leading, submit, work, flush, kill, queueOf, reasonOf };
}

describe("the rules in a term", () => {
  it("S1 imports from incoming and deferred in turns", async () => {
    const { store, leading } = await lead({ activeLimit: 800 });
    for (let n = 0; n < 1400; n += 1) {
      const id = store.submit("s@x.example", [`u@d${n % 100}.example`]);
      if (n % 2 === 0) continue;
      Object.assign(store.record(id), { queue: "deferred", dueMs: 0, isInDueIndex: true });
    }
    leading.ring("incoming");
    leading.ring("deferred");
    for (let n = 0; n < 20; n += 1) await settled();
    const left = Map.groupBy(store.records.values(), ({ queue }) => queue);
    assert.equal(left.get("active")?.length, 800);
    assert.equal(left.get("incoming")?.length, 300);
    assert.equal(left.get("deferred")?.length, 300);
  });

  it("S4 S6 leaves alone what is not due, and takes it when it is", async () => {
    const { store, leading, submit, work, queueOf } = await lead();
    const id = await submit("a@a.example");
    await work("deferred");
    const { dueMs } = store.record(id);
    await leading.ticker.advance(dueMs - store.nowMs - 250);
    assert.equal(queueOf(id), "deferred");
    await leading.ticker.advance(1250);
    assert.equal(queueOf(id), "active");
  });

  it("S6 finds what the index of due times has lost within queue_run_delay", async () => {
    const { store, leading, submit, work, queueOf } = await lead();
    await leading.ticker.advance(2000);
    const id = await submit("a@a.example");
    await work("deferred");
    store.record(id).isInDueIndex = false;
    await leading.ticker.advance(limits.backoffMs + 5000);
    assert.equal(queueOf(id), "deferred");
    await leading.ticker.advance(60_000);
    assert.equal(queueOf(id), "active");
  });

  it("S9 a flush that fails again sets the due time by the age, and changes nothing else", async () => {
    const { store, leading, submit, work, flush } = await lead();
    const id = await submit("a@a.example");
    await leading.ticker.advance(15_000);
    await work("deferred");
    const { createdMs } = store.record(id);
    assert.equal(store.record(id).dueMs, store.nowMs + 15_000);
    await leading.ticker.advance(5000);
    await flush();
    assert.equal(await work("deferred"), 1);
    assert.equal(store.record(id).dueMs, store.nowMs + (store.nowMs - createdMs));
    assert.equal(store.record(id).createdMs, createdMs);
  });

  it("S13 warns of a delay once, after a failed attempt, and defers then", async () => {
    const { store, leading, submit, work, queueOf } = await lead({ delayWarningMs: 12_000 });
    const id = await submit("a@a.example");
    await work("deferred");
    assert.equal(store.record(id).owed, undefined, "too early");
    await leading.ticker.advance(limits.backoffMs + 1000);
    await work("deferred");
    assert.equal(store.record(id).owed, "delay", "to the second");
    store.report(id);
    await settled();
    assert.equal(queueOf(id), "deferred");
    await leading.ticker.advance(30_000);
    await work("deferred");
    assert.equal(queueOf(id), "deferred");
    assert.equal(store.record(id).owed, undefined);
  });

  it("S28 defers what waits for a dead destination, and new mail for it, without an attempt, until it is alive", async () => {
    const { leading, submit, work, kill, queueOf, reasonOf } = await lead();
    const [, , , , last] = await kill("a.example");
    assert(last !== undefined);
    assert.equal(queueOf(last), "deferred");
    const late = await submit("late@a.example");
    assert.equal(queueOf(late), "deferred");
    assert.equal(reasonOf(late), "in a simulation");
    const line = leading.log.lines.find((text) => text.startsWith(`${late}: to=`)) ?? "";
    assert.match(line, /dsn=4.4.1, .*delivery temporarily suspended: Connection refused/);
    const elsewhere = await submit("u@b.example");
    assert.equal(await work("sent"), 1);
    assert.equal(queueOf(elsewhere), undefined);
    await leading.ticker.advance(12_000);
    assert(await work("sent"), "tried again when it is alive");
  });

  it("S29 a flush of all tries a dead destination again at once", async () => {
    const { store, work, kill, flush } = await lead();
    const ids = await kill("a.example");
    assert.equal(await work("sent"), 0);
    await flush();
    assert(store.bells.length > 0);
    await work("sent");
    await flush();
    await work("sent");
    assert(ids.every((id) => store.ended.get(id) === "removed"));
  });

  it("S29 a message that an operator flushed is tried although its destination is dead", async () => {
    const { store, leading, work, kill, queueOf } = await lead();
    const [id] = await kill("a.example");
    assert(id !== undefined);
    await store.flushMessage(id);
    leading.ring("incoming");
    await settled();
    assert.equal(queueOf(id), "active");
    assert.equal(await work("sent"), 1);
    assert.equal(store.ended.get(id), "removed");
  });

  it("S29 a flush of a site lifts every throttle", async () => {
    const { store, leading, work, kill } = await lead();
    const ids = await kill("a.example");
    await store.flushSite("a.example");
    await settled();
    leading.ring("incoming");
    await settled();
    await work("sent");
    await leading.ticker.advance(1000);
    await work("sent");
    assert(ids.every((id) => store.ended.get(id) === "removed"));
  });

  it("S29 a flush of a site while nobody leads lifts the dead marks that the next leader finds", async () => {
    const { store, leading, work, kill } = await lead();
    const ids = await kill("a.example");
    await leading.ticker.advance(1000);
    leading.stop();
    assert.equal(await leading.ended(), "in order");
    await store.flushSite("a.example");
    await leading.takeOver();
    leading.ring("incoming");
    await leading.ticker.advance(1000);
    await work("sent");
    await leading.ticker.advance(1000);
    await work("sent");
    assert(ids.every((id) => store.ended.get(id) === "removed"));
  });

  it("S31 sends a destination's surplus back without an attempt, and brings it back as its requests end", async () => {
    const { store, leading, submit, work, queueOf } = await lead({ activeLimit: 20 });
    const ids: QueueId[] = [];
    for (let n = 0; n < 9; n += 1) ids.push(await submit(`u${n}@slow.example`));
    const away = ids.filter((id) => queueOf(id) === "deferred");
    assert.equal(away.length, 5, "a fifth of 20 stays");
    assert(away.every((id) => store.record(id).attempts === 0));
    const other = await submit("u@b.example");
    assert.equal(queueOf(other), "active");
    for (let second = 0; second < 6; second += 1) {
      await work("sent");
      await leading.ticker.advance(1000);
    }
    assert(
      ids.every((id) => store.ended.get(id) === "removed"),
      "long before their backoff",
    );
  });

  it("S35 defers all mail when no worker has lived for transport_retry_time, and lifts that with the first", async () => {
    const { store, leading, submit, work, queueOf } = await lead();
    await leading.ticker.advance(1000);
    store.liveWorkers.clear();
    const id = await submit("a@a.example", "b@b.example");
    store.bells.length = 0;
    await leading.ticker.advance(30_000);
    assert.equal(queueOf(id), "active");
    await leading.ticker.advance(35_000);
    const late = await submit("c@a.example");
    assert.equal(queueOf(late), "deferred");
    const line = leading.log.lines.find((text) => text.startsWith(`${late}: to=`)) ?? "";
    assert.match(line, /dsn=4.3.0, .*mail transport unavailable/);
    store.liveWorkers.add("w2");
    await leading.ticker.advance(1000);
    const next = await submit("d@d.example");
    await work("sent");
    assert.equal(store.ended.get(next), "removed");
  });

  it("S36 keeps defer_transports in deferred until a flush", async () => {
    const { store, leading, submit, work, flush, queueOf, reasonOf } = await lead({
      deferTransports: ["smtp"],
    });
    const id = await submit("a@a.example");
    assert.equal(queueOf(id), "deferred");
    assert.equal(reasonOf(id), "in a simulation");
    await leading.ticker.advance(15_000);
    assert.equal(await work("sent"), 0);
    await flush();
    assert.equal(await work("sent"), 1);
    assert.equal(store.ended.get(id), "removed");
  });

  it("S36 what defer_transports holds expires as usual", async () => {
    const { store, leading, submit } = await lead({ deferTransports: ["smtp"] });
    const id = await submit("a@a.example");
    await leading.ticker.advance(limits.lifetimeMs + 45_000);
    assert.equal(store.records.get(id)?.owed, "expired");
  });

  it("S37 leaves mail on hold where it is, whatever is flushed", async () => {
    const { store, work, submit, flush, queueOf } = await lead();
    const id = await submit("a@a.example");
    store.move(id, "hold");
    await settled();
    await flush();
    await work("sent");
    assert.equal(queueOf(id), "hold");
  });

  it("S38 tries each deferred message once for a flush, however many flushes come while it runs", async () => {
    const { store, leading, submit, work } = await lead();
    const ids: QueueId[] = [];
    for (let n = 0; n < 20; n += 1) ids.push(await submit(`u@d${n}.example`));
    await work("deferred");
    assert(ids.every((id) => store.record(id).attempts === 1));
    for (let n = 0; n < 3; n += 1) await store.flushAll();
    await settled();
    await leading.ticker.advance(1000);
    assert.equal(await work("deferred"), 20);
    await leading.ticker.advance(3000);
    assert.equal(await work("deferred"), 0, "the spacing of S5 again");
    assert(ids.every((id) => store.record(id).attempts === 2));
  });
});
