import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Fence, Scheduling, Store } from "@postmq/queue-store";
import { Child, startRedis, waitFor } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { lead, withQueueAt } from "../queue.test-support.ts";
import type { QueueUnderTest } from "../queue.test-support.ts";

type Under = QueueUnderTest & {
  readonly scheduling: Scheduling;
  readonly fence: Fence;
  /** Messages that wait in deferred for an hour, one for each sender and recipient. */
  readonly defer: (
    ...wanted: readonly (readonly [from: string, to: string])[]
  ) => Promise<readonly QueueId[]>;
  readonly queuesOf: (ids: readonly QueueId[]) => Promise<readonly (MessageQueue | undefined)[]>;
};

describe("sendmail's runs of the queue", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (under: Under) => Promise<void>) =>
    withQueueAt(redis, async (under) => {
      const { store, keep, queueOf } = under;
      const { scheduling, fence } = await lead(store);
      const defer: Under["defer"] = async (...wanted) => {
        const ids: QueueId[] = [];
        for (const [sender, to] of wanted) ids.push(await keep({ sender, to }));
        await backToDeferred(store, scheduling, fence);
        return ids;
      };
      const queuesOf: Under["queuesOf"] = (ids) => Promise.all(ids.map(queueOf));
      await test({ ...under, scheduling, fence, defer, queuesOf });
    });

  it("-qS, -qR and -qI move what holds the text, -q! what does not, and say how many", () =>
    withQueue(async ({ command, scheduling, defer, queuesOf }) => {
      const ids = await defer(
        ["joe@one.example", "x@far.example"],
        ["ann@one.example", "y@far.example"],
        ["ann@two.example", "x@near.example"],
      );
      assert.deepEqual(await command.run(["sendmail", "-qSJOE@"]), {
        code: 0,
        out: "1 message was moved to incoming, due now\n",
        err: "",
      });
      assert.deepEqual(await queuesOf(ids), ["incoming", "deferred", "deferred"]);
      assert.deepEqual((await scheduling.readEvents(1000)).events, [{ kind: "unthrottle" }]);
      const both = await command.run(["sendmail", "-qSann", "-qSbob", "-q!RFAR"]);
      assert.equal(both.out, "1 message was moved to incoming, due now\n");
      assert.deepEqual(await queuesOf(ids), ["incoming", "deferred", "incoming"]);
      const id = ids[1] ?? assert.fail();
      const none = await command.run(["sendmail", `-q!I${id.slice(2)}`]);
      assert.equal(none.out, "0 messages were moved to incoming, due now\n");
      await command.run(["sendmail", `-qI${id.slice(2).toLowerCase()}`]);
      assert.deepEqual(await queuesOf(ids), ["incoming", "incoming", "incoming"]);
    }));

  it("never touch hold", () =>
    withQueue(async ({ store, command, defer, queuesOf }) => {
      const ids = await defer(["joe@one.example", "x@far.example"]);
      await store.acting().act("hold", ids);
      assert.match((await command.run(["sendmail", "-qSjoe"])).out, /^0 messages/);
      assert.equal((await command.run(["sendmail", "-q"])).out, "");
      assert.deepEqual(await queuesOf(ids), ["hold"]);
    }));

  it("are for authorized_flush_users only, and noted with who asked", () =>
    withQueue(async ({ store, command, defer, queuesOf }) => {
      const ids = await defer(["joe@one.example", "x@far.example"]);
      const env = { POSTMQ_AUTHORIZED_FLUSH_USERS: "bob" };
      assert.equal((await command.run(["sendmail", "-qSjoe"], { env })).code, 77);
      assert.deepEqual(await queuesOf(ids), ["deferred"]);
      await command.run(["sendmail", "-qSjoe"]);
      await command.run(["postqueue", "-f"]);
      const { entries } = await store.auditing().readAudit({ limit: 9 });
      const told = entries.map(({ by, who, action, selection, count }) => [
        by,
        who,
        action,
        selection,
        count,
      ]);
      assert.deepEqual(told, [
        ["postqueue", "alice", "flush", "all", undefined],
        ["sendmail", "alice", "flush", "queue=deferred sender_contains=joe", 1],
      ]);
    }));

  it("stop after the step they are in when they are told to, with 75 and a note", () =>
    withQueue(async ({ store, command, defer, queuesOf }) => {
      const ids: QueueId[] = [];
      for (let batch = 0; batch < 3; batch += 1) {
        const wanted = Array.from(
          { length: 90 },
          () => ["joe@one.example", "x@far.example"] as const,
        );
        ids.push(...(await defer(...wanted)));
      }
      // The first page is under way then: it is done, the others are not.
      const running = command.run(["sendmail", "-qRfar"]);
      await waitFor(async () => (await queuesOf(ids.slice(0, 1)))[0] === "incoming", {
        everyMs: 1,
      });
      process.emit("SIGTERM");
      const { code } = await running;
      const moved = (await queuesOf(ids)).filter((queue) => queue === "incoming").length;
      const { entries } = await store.auditing().readAudit({ limit: 1 });
      const { outcome, count } = entries[0] ?? assert.fail();
      // On a machine where this test is late, all of it was done.
      assert.deepEqual(
        [code, outcome, count],
        moved === 270 ? [0, "done", 270] : [75, "cancelled", moved],
      );
    }));

  it("-v shows what becomes of each message that is flushed, until each was tried", () =>
    withQueue(async ({ store, command, scheduling, fence, defer }) => {
      const [gone = assert.fail(), again = assert.fail()] = await defer(
        ["joe@one.example", "x@far.example"],
        ["joe@one.example", "y@far.example"],
      );
      await publishNothing(store, scheduling, fence);
      const running = command.run(["sendmail", "-q", "-v", "-qSjoe"]);
      const deferred = async () => (await store.looking().message(again))?.queue;
      await waitFor(async () => (await deferred()) === "incoming", { describe: "the flush" });
      await store.acting().act("delete", [gone]);
      await backToDeferred(store, scheduling, fence, "no\u001Broute");
      const { code, out, err } = await running;
      assert.deepEqual([code, err], [0, ""]);
      const [moved, ...lines] = out.trimEnd().split("\n");
      assert.equal(moved, "2 messages were moved to incoming, due now");
      assert.deepEqual(
        lines.filter((line) => line.startsWith(again)),
        [
          `${again}: to=<y@far.example>, dsn=4.4.1, status=deferred (no?route)`,
          `${again}: in deferred`,
        ],
      );
      assert.ok(lines.includes(`${gone}: removed`));
    }));

  it("-q1s stays, flushes at that interval, and ends with 0 when it is told to", () =>
    withQueue(async ({ scheduling, instanceName }) => {
      const program = join(import.meta.dirname, "../../bin/postmq");
      const child = new Child(program, ["sendmail", "-q1s"], {
        env: { ...process.env, POSTMQ_REDIS_URL: redis.url, POSTMQ_INSTANCE_NAME: instanceName },
      });
      let flushes = 0;
      await waitFor(
        async () => {
          const { events } = await scheduling.readEvents(200);
          flushes += events.filter(({ kind }) => kind === "flush").length;
          return flushes >= 2;
        },
        // A second each.
        { timeoutMs: 30_000, describe: "two flushes" },
      );
      const exit = await child.terminate();
      assert.equal(exit.code, 0, child.stderr);
    }));
});

/** Imports what is in incoming, as a leader does, and defers it after a try that failed. */
async function backToDeferred(
  store: Store,
  scheduling: Scheduling,
  fence: Fence,
  reason = "refused",
): Promise<void> {
  const wanted = { fence, from: "incoming", maxMessages: 99, maxRecipients: 99 } as const;
  const imported = await scheduling.importMessages(wanted);
  for (const { id, recipients } of imported) {
    const status = enhancedStatus("4.4.1");
    await scheduling.recordOutcomes(
      id,
      recipients.map(
        ({ number }) => ({ recipient: number, kind: "deferred", status, reason }) as const,
      ),
    );
  }
  const dueMs = store.clock.nowMs() + 3_600_000;
  await scheduling.settle(
    fence,
    imported.map(({ id, generation }) => {
      return { id, generation, action: "defer", dueMs, countAttempt: true } as const;
    }),
  );
}

/** Somebody leads. */
async function publishNothing(store: Store, scheduling: Scheduling, fence: Fence): Promise<void> {
  const nowMs = store.clock.nowMs();
  const scheduler = {
    fence,
    leadsSinceMs: nowMs,
    activeMessages: 0,
    activeLimit: 1,
    recipientsInMemory: 0,
    recipientLimit: 1,
    capacity: 0,
    liveWorkers: 0,
    jobsOut: 0,
    waiting: 0,
    throttled: [],
    updatedMs: nowMs,
  };
  await scheduling.publish(fence, { scheduler, changed: [], gone: [] });
}
