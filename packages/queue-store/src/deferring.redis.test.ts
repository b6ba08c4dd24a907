import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus, isPostmqError, parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { assertConsistent, deferIncoming, lead, stored } from "./store.test-support.ts";
import type { Led } from "./store.test-support.ts";

const slow = "smtp:slow.example";
const isFenced = (error: unknown) => isPostmqError(error, "PMQ_STORE_FENCED");

describe("deferred", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const due = async ({ scheduling, fence }: Led): Promise<readonly QueueId[]> => {
    const options = { fence, from: "deferred", maxMessages: 9999, maxRecipients: 10 } as const;
    return (await scheduling.importMessages(options)).map(({ id }) => id);
  };

  it("S31 recalls those that wait for room at a destination, the longest waiting first", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const ids = [await stored(intake), await stored(intake), await stored(intake)];
        await deferIncoming(store, led, { surplusOf: slow, isTried: false });
        assert.equal((await store.looking().message(ids[0] ?? assert.fail()))?.attempts, 0);
        assert.equal((await led.scheduling.recall(led.fence, "smtp:other.example", 9)).found, 0);
        assert.deepEqual(await due(led), []);
        assert.equal((await led.scheduling.recall(led.fence, slow, 2)).found, 2);
        await assertConsistent(under);
        assert.deepEqual([...(await due(led))].toSorted(), ids.slice(0, 2).toSorted());
        assert.equal((await led.scheduling.recall(led.fence, slow, 9)).found, 1);
        assert.deepEqual(await due(led), ids.slice(2));
        assert.equal(await redis.cli("EXISTS", surplusKey(under.instanceName)), "0");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("S31 recalls nothing that has left since, or that rests after an attempt, and does not count it", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const flushed = await stored(intake);
        await deferIncoming(store, led, { surplusOf: slow, isTried: false });
        assert.equal(await store.operating().flushMessage(flushed), "moved");
        await deferIncoming(store, led);
        const gone = await stored(intake);
        const waiting = await stored(intake);
        await deferIncoming(store, led, { surplusOf: slow, isTried: false });
        // Somebody who knows nothing of surplus took it away.
        await redis.cli("HSET", `postmq:{${under.instanceName}}:m:${gone}`, "q", "hold");
        assert.equal((await led.scheduling.recall(led.fence, slow, 1)).found, 1);
        assert.deepEqual(await due(led), [waiting]);
        assert.equal((await led.scheduling.recall(led.fence, slow, 9)).found, 0);
      },
      { redis },
    ));

  it("S31 keeps no list of what came due by itself, and none for ever", () =>
    withStore(
      async ({ store, instanceName }) => {
        const led = await lead(store);
        const id = await stored(store.intake());
        const dueMs = store.clock.nowMs() - 1;
        await deferIncoming(store, led, { surplusOf: slow, isTried: false, dueMs });
        const key = surplusKey(instanceName);
        assert.equal(await redis.cli("ZCARD", key), "1");
        assert.ok(Number(await redis.cli("TTL", key)) > 0);
        assert.deepEqual(await due(led), [id]);
        assert.equal(await redis.cli("EXISTS", key), "0");
      },
      { redis },
    ));

  it("S31 recalls more than one script's worth", () =>
    withStore(
      async ({ store }) => {
        const intake = store.intake();
        const led = await lead(store);
        const ids = Array.from(
          { length: 700 },
          (_, i) => parseQueueId(`4y${String(i).padStart(6, "0")}`) ?? assert.fail(),
        );
        await Promise.all(ids.map((id) => stored(intake, { id })));
        await deferIncoming(store, led, { surplusOf: slow, isTried: false });
        assert.equal((await led.scheduling.recall(led.fence, slow, 600)).found, 600);
        assert.equal((await due(led)).length, 600);
        assert.equal((await led.scheduling.recall(led.fence, slow, 600)).found, 100);
      },
      { redis },
    ));

  it("S6 the full pass puts back what the index of due times has lost, in steps", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const ids = Array.from(
          { length: 1100 },
          (_, i) => parseQueueId(`4z${String(i).padStart(6, "0")}`) ?? assert.fail(),
        );
        await Promise.all(ids.map((id) => stored(intake, { id })));
        await deferIncoming(store, led);
        await deferIncoming(store, led);
        const prefix = `postmq:{${under.instanceName}}`;
        await redis.cli("DEL", `${prefix}:due`);
        const pass = async () => {
          let steps = 0;
          let cursor: string | undefined = "";
          while (cursor !== undefined) {
            cursor = await led.scheduling.mendDue(led.fence, cursor);
            steps += 1;
          }
          return steps;
        };
        assert.ok((await pass()) >= 3);
        // Each at the time its record says.
        await assertConsistent(under);
        assert.deepEqual(await due(led), []);
        const [lost = assert.fail()] = ids;
        await redis.cli("ZREM", `${prefix}:due`, lost);
        await redis.cli("HDEL", `${prefix}:m:${lost}`, "due");
        await pass();
        assert.deepEqual(await due(led), [lost]);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("reads of all imported messages together so many recipients, and some of each", () =>
    withStore(
      async ({ store }) => {
        const intake = store.intake();
        const { scheduling, fence } = await lead(store);
        for (const length of [30, 30, 30, 3]) {
          await stored(intake, {
            recipients: Array.from({ length }, (_, i) => `u${i}@example.com`),
          });
        }
        const messages = await scheduling.importMessages({
          fence,
          from: "incoming",
          maxMessages: 9,
          maxRecipients: 25,
          maxRecipientsInAll: 40,
          minRecipients: 5,
        });
        const read = messages.map(({ recipients, nextRecipient }) => [
          recipients.length,
          nextRecipient,
        ]);
        assert.deepEqual(read, [
          [25, 25],
          [15, 15],
          [5, 5],
          [3, 3],
        ]);
      },
      { redis },
    ));

  it("tells of an operator's word that a message is to be returned", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        await redis.cli("HSET", `postmq:{${under.instanceName}}:m:${id}`, "x", "1");
        const { scheduling, fence } = await lead(under.store);
        const options = { fence, from: "incoming", maxMessages: 1, maxRecipients: 1 } as const;
        const [message] = await scheduling.importMessages(options);
        assert.deepEqual([message?.isForceExpired, message?.wasWarned], [true, false]);
      },
      { redis },
    ));

  it("S13 a delay is reported once, about those deferred, and changes no recipient", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const id = await stored(store.intake(), {
          recipients: ["sent@example.com", "failed@example.com", "late@example.com", "new@a.b"],
        });
        const { scheduling, fence } = await lead(store);
        const look = async (from: "incoming" | "deferred") =>
          (await scheduling.importMessages({ fence, from, maxMessages: 1, maxRecipients: 9 }))[0];
        const generation = (await look("incoming"))?.generation ?? 0;
        await scheduling.recordOutcomes(id, [
          { recipient: 0, kind: "sent", status: enhancedStatus("2.0.0"), reason: "ok" },
          { recipient: 1, kind: "failed", status: enhancedStatus("5.1.1"), reason: "no" },
          { recipient: 2, kind: "deferred", status: enhancedStatus("4.4.1"), reason: "later" },
        ]);
        const report = { id, generation, action: "report", kind: "delay" } as const;
        assert.deepEqual(await scheduling.settle(fence, [report]), ["done"]);
        const reporting = store.reporting();
        const opened = await reporting.open(id);
        assert.ok(typeof opened === "object");
        assert.equal(opened.kind, "delay");
        assert.deepEqual(
          opened.recipients.map(({ address }) => address),
          ["late@example.com"],
        );
        assert.equal(await reporting.queue(opened, []), "queued");
        assert.equal(await reporting.open(id), "stale");
        const { events } = await scheduling.readEvents(1000);
        assert.deepEqual(events, [{ kind: "reported", id }]);
        await assertConsistent(under);
        const dueMs = store.clock.nowMs() - 1;
        await scheduling.settle(fence, [
          { id, generation, action: "defer", dueMs, countAttempt: true },
        ]);
        const again = await look("deferred");
        assert.equal(again?.wasWarned, true);
        assert.deepEqual([again.undoneRecipients, again.unreportedRecipients], [2, 1]);
      },
      { redis },
    ));

  it("S13 no delay is owed about a message of which nothing is undone", () =>
    withStore(
      async ({ store }) => {
        const id = await stored(store.intake());
        const { scheduling, fence } = await lead(store);
        const options = { fence, from: "incoming", maxMessages: 1, maxRecipients: 1 } as const;
        const [message] = await scheduling.importMessages(options);
        const generation = message?.generation ?? 0;
        await scheduling.recordOutcomes(id, [
          { recipient: 0, kind: "sent", status: enhancedStatus("2.0.0"), reason: "ok" },
        ]);
        assert.deepEqual(
          await scheduling.settle(fence, [{ id, generation, action: "report", kind: "delay" }]),
          ["unfinished"],
        );
      },
      { redis },
    ));

  it("refuses an old leader (P6)", () =>
    withStore(
      async (under) => {
        const { scheduling, fence } = await lead(under.store);
        await redis.cli("SET", `postmq:{${under.instanceName}}:fence`, `${fence}0`);
        await assert.rejects(scheduling.recall(fence, slow, 1), isFenced);
        await assert.rejects(scheduling.mendDue(fence, ""), isFenced);
        await assert.rejects(scheduling.endFlush(fence, 1), isFenced);
      },
      { redis },
    ));
});

function surplusKey(instanceName: string): string {
  return `postmq:{${instanceName}}:surplus:${surplusHash}`;
}
/** First 16 hex digits of sha1("smtp:slow.example"). */
const surplusHash = "9e8b22c392d04ffe";
