import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { ImportedMessage, Store } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId, RequestName } from "@postmq/vocabulary";

import { destination, get, openLeader, openShowq, queued } from "./looking-on.test-support.ts";

type Leader = Awaited<ReturnType<typeof openLeader>>;

async function imported({ fence, scheduling }: Leader): Promise<ImportedMessage> {
  const limits = { maxMessages: 1, maxRecipients: 10 };
  const [message] = await scheduling.importMessages({ fence, from: "incoming", ...limits });
  assert.ok(message !== undefined);
  return message;
}

async function dispatched(leader: Leader, message: ImportedMessage): Promise<RequestName> {
  const [name] = await leader.scheduling.dispatch(leader.fence, [
    {
      id: message.id,
      messageGeneration: message.generation,
      destination: { transport: "smtp", nexthop: "far.example" },
      recipients: [0],
    },
  ]);
  assert.ok(name !== undefined);
  return name;
}

describe("GET /v1/messages/{id}/explain", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withShowq = (
    test: (
      store: Store,
      explain: (id: QueueId) => Promise<Record<string, unknown>>,
    ) => Promise<void>,
    deferTransports: readonly string[] = [],
  ) =>
    withStore(
      async ({ store }) => {
        await using showq = await openShowq(store, deferTransports);
        await test(store, async (id) => {
          const { status, body } = await get(`${showq.url}/messages/${id}/explain`);
          assert.equal(status, 200);
          return body;
        });
      },
      { redis },
    );

  it("answers for the queues before active: held, in-maildrop, no-scheduler, active-full, waiting-for-import", () =>
    withShowq(async (store, explain) => {
      assert.equal((await explain(await queued(store, "hold")))["cause"], "held");
      assert.equal((await explain(await queued(store, "maildrop")))["cause"], "in-maildrop");
      const id = await queued(store, "incoming");
      const alone = await explain(id);
      assert.deepEqual([alone["id"], alone["queue"]], [id, "incoming"]);
      assert.equal(alone["cause"], "no-scheduler");
      const leader = await openLeader(store);
      await leader.publish([], { activeMessages: 10 });
      assert.equal((await explain(id))["cause"], "active-full");
      await leader.publish([]);
      assert.equal((await explain(id))["cause"], "waiting-for-import");
    }));

  it("answers in active by its destination: dead, at its limit, its turn", () =>
    withShowq(async (store, explain) => {
      const id = await queued(store, "incoming");
      const leader = await openLeader(store);
      await imported(leader);
      const sinceMs = Date.now();
      const untilMs = sinceMs + 300_000;
      const dead = { sinceMs, untilMs, status: enhancedStatus("4.4.1"), reason: "refused" };
      await leader.publish([destination("far.example", { dead, window: 0 })]);
      const answer = await explain(id);
      assert.deepEqual(
        [answer["cause"], answer["destination"], answer["since"], answer["until"]],
        [
          "destination-dead",
          "smtp:far.example",
          Math.floor(sinceMs / 1000),
          Math.floor(untilMs / 1000),
        ],
      );
      await leader.publish([destination("far.example", { inFlight: 5, waiting: 2 })]);
      const limited = await explain(id);
      assert.equal(limited["cause"], "concurrency-limit");
      const [detail] = Array.isArray(limited["details"]) ? limited["details"] : [];
      assert.partialDeepStrictEqual(detail, { window: 5, limit: 20, in_flight: 5, waiting: 2 });
      await leader.publish([], {}, ["smtp:far.example"]);
      assert.equal((await explain(id))["cause"], "waiting-turn");
      await leader.publish([], { liveWorkers: 0 });
      assert.equal((await explain(id))["cause"], "no-worker");
    }));

  it("names the worker that is delivering it, and then the backoff with what was said", () =>
    withShowq(async (store, explain) => {
      const id = await queued(store, "incoming");
      const leader = await openLeader(store);
      await leader.publish([]);
      const message = await imported(leader);
      const name = await dispatched(leader, message);
      assert.match(String((await explain(id))["sentence"]), /handed to the workers/);
      const delivering = await store.delivering({ concurrency: 1 });
      await delivering.claim([name]);
      const during = await explain(id);
      assert.equal(during["cause"], "being-delivered");
      assert.ok(String(during["sentence"]).includes(delivering.worker));
      await delivering.end({
        name,
        end: "tried",
        outcomes: [
          { kind: "deferred", recipient: 0, status: enhancedStatus("4.2.1"), reason: "450 later" },
        ],
        feedback: { kind: "good" },
      });
      const dueMs = Date.now() + 300_000;
      const { generation } = message;
      const settle = { id, generation, action: "defer", dueMs, countAttempt: true } as const;
      await waitFor(async () => {
        const [word] = await leader.scheduling.settle(leader.fence, [settle]);
        return word === "done";
      });
      const rests = await explain(id);
      assert.deepEqual(
        [rests["queue"], rests["cause"], rests["until"]],
        ["deferred", "backoff", Math.floor(dueMs / 1000)],
      );
      assert.match(String(rests["sentence"]), /after 1 attempt, .* the last said: 450 later/);
    }));

  it("S31 tells a surplus from a backoff, and Q6 what waits for its report", () =>
    withShowq(async (store, explain) => {
      const id = await queued(store, "incoming");
      const leader = await openLeader(store);
      await leader.publish([destination("far.example", { surplus: 5, inFlight: 5 })]);
      const { generation } = await imported(leader);
      const owes = { id, generation, action: "report", kind: "delay" } as const;
      await leader.scheduling.settle(leader.fence, [owes]);
      assert.equal((await explain(id))["cause"], "report-pending");
      const other = await queued(store, "incoming");
      const back = await imported(leader);
      assert.equal(back.id, other);
      const dueMs = Date.now() + 300_000;
      const defer = { action: "defer", dueMs, countAttempt: false } as const;
      await leader.scheduling.settle(leader.fence, [
        { id: other, generation: back.generation, ...defer, surplusOf: "smtp:far.example" },
      ]);
      const answer = await explain(other);
      assert.deepEqual([answer["cause"], answer["destination"]], ["surplus", "smtp:far.example"]);
    }));

  it("S36 tells of defer_transports", () =>
    withShowq(
      async (store, explain) => {
        const id = await queued(store, "incoming");
        const leader = await openLeader(store);
        await leader.publish([]);
        await imported(leader);
        assert.equal((await explain(id))["cause"], "transport-deferred");
      },
      ["smtp"],
    ));

  it("answers 404 for a message that is not there, and 422 for a query", () =>
    withStore(
      async ({ store }) => {
        await using showq = await openShowq(store);
        assert.equal((await get(`${showq.url}/messages/nosuch/explain`)).status, 404);
        assert.equal((await get(`${showq.url}/messages/M1/explain`)).status, 404);
        assert.equal((await get(`${showq.url}/messages/M1/explain?x=1`)).status, 422);
      },
      { redis },
    ));
});
