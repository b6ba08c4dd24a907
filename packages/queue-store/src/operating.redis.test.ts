import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Store } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { assertConsistent, deferIncoming, lead, stored } from "./store.test-support.ts";
import type { Led } from "./store.test-support.ts";

describe("flushing", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const queueOf = async (store: Store, id: QueueId) => (await store.looking().message(id))?.queue;
  const importFlushed = async ({ scheduling, fence }: Led, enteredBeforeMs: number, most = 1000) =>
    (
      await scheduling.importMessages({
        fence,
        from: "deferred",
        maxMessages: most,
        maxRecipients: 10,
        enteredBeforeMs,
      })
    ).map(({ id }) => id);

  it("all: what was in deferred is imported whatever its due time, oldest entry first, and the pass ends", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const first = await stored(intake);
        await deferIncoming(store, led);
        const second = await stored(intake);
        await deferIncoming(store, led, { dueMs: store.clock.nowMs() - 1 });
        assert.equal(await led.scheduling.pendingFlush(), undefined);
        await store.operating().flushAll();
        const moment = await led.scheduling.pendingFlush();
        assert.ok(moment !== undefined);
        const { events } = await led.scheduling.readEvents(1000);
        assert.deepEqual(events, [{ kind: "flush" }]);
        assert.deepEqual(await importFlushed(led, moment, 1), [first]);
        await assertConsistent(under);
        const [message] = await led.scheduling.importMessages({
          fence: led.fence,
          from: "deferred",
          maxMessages: 9,
          maxRecipients: 9,
          enteredBeforeMs: moment,
        });
        assert.equal(message?.id, second);
        // It comes back at once, and its entry is later than the flush.
        const { id, generation } = message;
        const dueMs = store.clock.nowMs() + 1000;
        await led.scheduling.settle(led.fence, [
          { id, generation, action: "defer", dueMs, countAttempt: true },
        ]);
        assert.deepEqual(await importFlushed(led, moment), []);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("all: stands until a leader has ended it, and a later one outlasts the end of the earlier", () =>
    withStore(
      async ({ store }) => {
        const operating = store.operating();
        await operating.flushAll();
        const { scheduling, fence } = await lead(store);
        const first = await scheduling.pendingFlush();
        assert.ok(first !== undefined);
        await waitFor(() => store.clock.nowMs() > first);
        await operating.flushAll();
        await scheduling.endFlush(fence, first);
        const second = await scheduling.pendingFlush();
        assert.ok(second !== undefined && second > first);
        await scheduling.endFlush(fence, second);
        assert.equal(await scheduling.pendingFlush(), undefined);
      },
      { redis },
    ));

  it("a site: moves its mail to incoming in steps, leaves other mail and hold (S37), and lifts throttles", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const mine: QueueId[] = [];
        for (let i = 0; i < 1203; i += 1) {
          mine.push(parseQueueId(`4x${String(i).padStart(6, "0")}`) ?? assert.fail());
        }
        await Promise.all(
          mine.map((id) => stored(intake, { id, recipients: ["a@Slow.Example.com"] })),
        );
        await deferIncoming(store, led);
        await deferIncoming(store, led);
        const both = await stored(intake, {
          recipients: ["a@other.example", "b@slow.example.com"],
        });
        const other = await stored(intake, { recipients: ["a@other.example"] });
        const held = await stored(intake, { queue: "hold", recipients: ["a@slow.example.com"] });
        await deferIncoming(store, led);
        const rung: unknown[] = [];
        const listener = await store.listen("incoming", { concurrency: 1 }, async (bell) => {
          rung.push(bell);
        });
        assert.equal(await store.operating().flushSite("SLOW.example.com"), mine.length + 1);
        const { events } = await led.scheduling.readEvents(1000);
        assert.deepEqual(events, [{ kind: "unthrottle" }]);
        await waitFor(() => rung.length > 0);
        await listener.close();
        assert.equal(await queueOf(store, both), "incoming");
        assert.equal(await queueOf(store, other), "deferred");
        assert.equal(await queueOf(store, held), "hold");
        await assertConsistent(under);
        assert.equal(await store.operating().flushSite("slow.example.com"), 0);
        assert.equal(await store.operating().flushSite(""), 0);
      },
      { redis },
    ));

  it("a site: finds it among the recipients of a message of very many domains", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const recipients = Array.from({ length: 1500 }, (_, i) => `u@d${i}.example.com`);
        const large = await stored(intake, { recipients });
        await deferIncoming(store, led);
        assert.equal(await store.operating().flushSite("nowhere.example.com"), 0);
        assert.equal(await store.operating().flushSite("d1400.example.com"), 1);
        assert.equal(await queueOf(store, large), "incoming");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("one message: goes to incoming and says once that it lifts throttles (S29); any other is left alone", () =>
    withStore(
      async (under: StoreUnderTest) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const id = await stored(intake);
        await deferIncoming(store, led);
        const held = await stored(intake, { queue: "hold" });
        const operating = store.operating();
        assert.equal(await operating.flushMessage(held), "not deferred");
        assert.equal(await operating.flushMessage(intake.newId()), "not deferred");
        assert.equal(await operating.flushMessage(id), "moved");
        assert.equal(await operating.flushMessage(id), "not deferred");
        await assertConsistent(under);
        const look = (from: "incoming" | "deferred") =>
          led.scheduling.importMessages({
            fence: led.fence,
            from,
            maxMessages: 9,
            maxRecipients: 9,
          });
        const [message] = await look("incoming");
        assert.deepEqual([message?.id, message?.isUnthrottling], [id, true]);
        const dueMs = store.clock.nowMs() - 1;
        const generation = message?.generation ?? 0;
        await led.scheduling.settle(led.fence, [
          { id, generation, action: "defer", dueMs, countAttempt: true },
        ]);
        const [again] = await look("deferred");
        assert.deepEqual([again?.id, again?.isUnthrottling], [id, false]);
      },
      { redis },
    ));
});
