/** Outcomes of a request that goes on: what one server said before another is asked. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Delivering, RequestResult, Store } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { OutcomeKind, QueueId, RecipientOutcome, RequestName } from "@postmq/vocabulary";
import { assertConsistent, dispatched, lead, stored } from "./store.test-support.ts";
import type { Led } from "./store.test-support.ts";

const heartbeatMs = 500;
const statuses = { sent: "2.0.0", deferred: "4.2.0", failed: "5.1.1" } as const;

function outcome(recipient: number, kind: OutcomeKind): RecipientOutcome {
  return { recipient, kind, status: enhancedStatus(statuses[kind]), reason: "r" };
}

function ended(name: RequestName, outcomes: readonly RecipientOutcome[]): RequestResult {
  return { name, end: "tried", outcomes, feedback: { kind: "good" } };
}

type Play = {
  readonly id: QueueId;
  readonly led: Led;
  readonly name: RequestName;
  readonly workerStore: Store;
  readonly worker: Delivering;
};

/** A request for three recipients that a worker of its own process has claimed. */
async function claimed(under: StoreUnderTest, count = 3): Promise<Play> {
  const recipients = Array.from({ length: count }, (_, n) => `u${n}@example.com`);
  const id = await stored(under.store.intake(), { recipients });
  const led = await lead(under.store);
  const [name] = await dispatched(led);
  assert.ok(name !== undefined);
  const workerStore = await under.openAnother({ processName: "worker" });
  const worker = await workerStore.delivering({ concurrency: 5 });
  await worker.claim([name]);
  return { id, led, name, workerStore, worker };
}

/** The worker dies and the leader takes its claim back. */
async function reaped(
  { led, name, workerStore }: Play,
  ambiguous: "retry" | "hold" = "retry",
): Promise<string> {
  await workerStore[Symbol.asyncDispose]();
  return waitFor(
    async () => {
      const [word] = await led.scheduling.reap(led.fence, [name], ambiguous);
      return word === "alive" ? undefined : word;
    },
    { describe: "the claim to be reaped" },
  );
}

async function undone(under: StoreUnderTest, id: QueueId): Promise<readonly number[]> {
  const listed = await under.store.looking().message(id);
  return (listed?.recipients ?? []).map(({ number }) => number);
}

async function events({ led }: Play) {
  return (await led.scheduling.readEvents(500)).events.map((event) => {
    if (event.kind !== "ended") return event.kind;
    const { end, sent, deferred, failed, owedSuccesses = 0 } = event;
    return { end, sent, deferred, failed, owedSuccesses };
  });
}

describe("outcomes of a request that goes on", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("D6 are recorded at once, the claim stays, and the leader hears of all with the end", () =>
    withStore(
      async (under) => {
        const play = await claimed(under);
        const { id, led, name, worker } = play;
        await worker.record(name, [outcome(0, "sent"), outcome(1, "failed")]);
        assert.deepEqual(await undone(under, id), [2]);
        assert.equal((await led.scheduling.inspectRequests([name]))[0]?.state, "claimed");
        assert.equal(await worker.markDotSent(name), true);
        await assertConsistent(under);
        assert.deepEqual(await events(play), []);
        await worker.end(ended(name, [outcome(2, "deferred")]));
        assert.deepEqual(await led.scheduling.inspectRequests([name]), [undefined]);
        assert.deepEqual(await events(play), [
          { end: "tried", sent: 1, deferred: 1, failed: 1, owedSuccesses: 0 },
        ]);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("D6 may be repeated with the end, and the end's word stands where both speak", () =>
    withStore(
      async (under) => {
        const play = await claimed(under);
        const { id, name, worker } = play;
        await worker.record(name, [outcome(0, "sent"), outcome(1, "deferred")]);
        await worker.end(
          ended(name, [outcome(0, "sent"), outcome(1, "sent"), outcome(2, "deferred")]),
        );
        assert.deepEqual(await undone(under, id), [2]);
        assert.deepEqual(await events(play), [
          { end: "tried", sent: 2, deferred: 1, failed: 0, owedSuccesses: 0 },
        ]);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("D6 reach recipients beyond the first thousand", () =>
    withStore(
      async (under) => {
        const { id, name, worker } = await claimed(under, 1200);
        await worker.record(name, [outcome(5, "sent"), outcome(1100, "sent")]);
        assert.equal((await under.store.looking().message(id))?.undoneRecipients, 1198);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("D6 P5 wait for Redis in their order, and a file would hold them as put back", () =>
    withStore(async (under) => {
      const play = await claimed(under);
      const { id, name, worker } = play;
      await under.redis.kill9();
      const recorded = worker.record(name, [outcome(0, "sent")]);
      assert.deepEqual(
        worker.unwritten().map(({ end, outcomes }) => [end, outcomes.length]),
        [["putBack", 1]],
      );
      const end = worker.end(ended(name, [outcome(1, "failed"), outcome(2, "sent")]));
      assert.deepEqual(
        worker.unwritten().map((result) => [result.end, result.outcomes.length]),
        [["tried", 3]],
      );
      await under.redis.restart();
      await Promise.all([recorded, end]);
      assert.deepEqual(worker.unwritten(), []);
      assert.deepEqual(await undone(under, id), []);
      await assertConsistent(under);
    }));

  it("D6 fault 11 are facts when a later run restores them, and the request stays for the leader", () =>
    withStore(
      async (under) => {
        const play = await claimed(under);
        const { id, led, name } = play;
        const next = await under.store.delivering({ concurrency: 5 });
        await next.restore([
          { ...ended(name, [outcome(0, "sent"), outcome(1, "failed")]), end: "putBack" },
        ]);
        assert.deepEqual(await undone(under, id), [2]);
        assert.equal((await led.scheduling.inspectRequests([name]))[0]?.state, "claimed");
        assert.equal(await reaped(play), "reaped");
        assert.deepEqual(await events(play), [
          { end: "putBack", sent: 1, deferred: 0, failed: 1, owedSuccesses: 0 },
        ]);
        await assertConsistent(under);
      },
      { redis, store: { heartbeatMs } },
    ));

  it("D6 fault 30 a worker dead at a later dot leaves in doubt only those not recorded before", () =>
    withStore(
      async (under) => {
        const play = await claimed(under);
        const { id, name, worker } = play;
        await worker.markDotSent(name);
        await worker.record(name, [
          { ...outcome(0, "sent"), owesReport: "relayed" },
          outcome(1, "failed"),
        ]);
        await worker.markDotSent(name);
        assert.equal(await reaped(play), "ambiguous");
        assert.deepEqual(await undone(under, id), [2]);
        assert.deepEqual(await events(play), [
          { end: "tried", sent: 1, deferred: 1, failed: 1, owedSuccesses: 1 },
        ]);
        await assertConsistent(under);
      },
      { redis, store: { heartbeatMs } },
    ));

  it("D6 fault 30 a worker dead with all of it recorded leaves nothing in doubt, and nothing to hold", () =>
    withStore(
      async (under) => {
        const play = await claimed(under, 2);
        const { id, name, worker } = play;
        await worker.markDotSent(name);
        await worker.record(name, [outcome(0, "sent"), outcome(1, "sent")]);
        assert.equal(await reaped(play, "hold"), "reaped");
        assert.equal((await under.store.looking().message(id))?.queue, "active");
        assert.deepEqual(await events(play), [
          { end: "tried", sent: 2, deferred: 0, failed: 0, owedSuccesses: 0 },
        ]);
        await assertConsistent(under);
      },
      { redis, store: { heartbeatMs } },
    ));

  it("D6 fault 30 a worker dead before any further dot: the next one is given the others only", () =>
    withStore(
      async (under) => {
        const play = await claimed(under);
        const { led, name, worker } = play;
        await worker.record(name, [outcome(1, "sent")]);
        assert.equal(await reaped(play), "reaped");
        assert.deepEqual(await events(play), [
          { end: "putBack", sent: 1, deferred: 0, failed: 0, owedSuccesses: 0 },
        ]);
        const [again] = await led.scheduling.dispatch(led.fence, [
          {
            id: name.id,
            messageGeneration: 2,
            destination: { transport: "smtp", nexthop: "example.com" },
            recipients: [0, 1, 2],
          },
        ]);
        assert.ok(again !== undefined);
        const [answer] = await (await under.store.delivering({ concurrency: 5 })).claim([again]);
        assert.deepEqual(
          typeof answer === "object" && answer.recipients.map(({ number }) => number),
          [0, 2],
        );
      },
      { redis, store: { heartbeatMs } },
    ));

  it("D6 count though the claim was lost meanwhile, and make no record anew", () =>
    withStore(
      async (under) => {
        const play = await claimed(under);
        const { id, name } = play;
        await reaped(play);
        const late = await under.store.delivering({ concurrency: 5 });
        await late.record(name, [outcome(0, "sent")]);
        assert.deepEqual(await undone(under, id), [1, 2]);
        await redis.cli("DEL", `postmq:{${under.instanceName}}:m:${id}`);
        await late.record(name, [outcome(1, "sent")]);
        assert.equal(
          (await redis.cli("EXISTS", `postmq:{${under.instanceName}}:m:${id}`)).trim(),
          "0",
        );
        assert.equal((await events(play)).length, 1);
      },
      { redis, store: { heartbeatMs } },
    ));
});
