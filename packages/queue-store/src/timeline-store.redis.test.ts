import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { TimelineEvent } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus, parseQueueId } from "@postmq/vocabulary";
import type { QueueId, RequestName } from "@postmq/vocabulary";
import { deferIncoming, dispatched, lead, newMessage, stored } from "./store.test-support.ts";

const timelines = { mostBytes: 64 * 1024 * 1024, retentionMs: 7 * 86_400_000 };
const sent = { kind: "sent", status: enhancedStatus("2.0.0"), reason: "250 2.0.0 Ok" } as const;
const remote = { host: "mx.example.com", address: "192.0.2.1", port: 25 };

/** Kind, and the queue for what enters one. */
function words(events: readonly TimelineEvent[]): readonly string[] {
  return events.map(({ kind, queue }) => (queue === undefined ? kind : `${kind} ${queue}`));
}

function only<Item>(items: readonly Item[]): Item {
  const [item, ...more] = items;
  assert.ok(item !== undefined && more.length === 0, `${items.length} of them`);
  return item;
}

async function worker(under: StoreUnderTest) {
  const store = await under.openAnother({ processName: "smtp-delivery" });
  return await store.delivering({ concurrency: 5 });
}

describe("a message's timeline", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ appendfsync: "no" });
  });
  after(() => redis.stop());

  const withTimelines = (test: (under: StoreUnderTest) => Promise<void>) =>
    withStore(test, { redis, store: { timelines, heartbeatMs: 200 } });
  const timelineOf = ({ store }: StoreUnderTest, id: QueueId) => store.timelines().timeline(id);

  it("tells what smtpd, qmgr and delivery did to one that was deferred once, in order", () =>
    withTimelines(async (under) => {
      const { store } = under;
      const id = await stored(store.intake());
      const other = await stored(store.intake());
      const led = await lead(store);
      await deferIncoming(store, led, { dueMs: store.clock.nowMs() });
      const [again] = await led.scheduling.importMessages({
        fence: led.fence,
        from: "deferred",
        maxMessages: 1,
        maxRecipients: 10,
      });
      assert.ok(again !== undefined && again.id === id);
      const [name] = await led.scheduling.dispatch(led.fence, [
        {
          id,
          messageGeneration: again.generation,
          destination: { transport: "smtp", nexthop: "example.com" },
          recipients: [0],
        },
      ]);
      assert.ok(name !== undefined);
      const delivering = await worker(under);
      await delivering.claim([name]);
      assert.ok(await delivering.markDotSent(name));
      const outcomes = [{ recipient: 0, ...sent, remote }];
      await delivering.end({ name, end: "tried", outcomes, feedback: { kind: "good" } });
      const { generation } = again;
      await led.scheduling.settle(led.fence, [{ id, generation, action: "remove" }]);
      const events = await timelineOf(under, id);
      assert.deepEqual(words(events), [
        "accepted incoming",
        "queued active",
        "deferred",
        "moved deferred",
        "queued active",
        "claimed",
        "dot-sent",
        "sent",
        "removed",
      ]);
      assert.deepEqual(events[0]?.details, { by: "smtpd", size: "23", recipients: "1" });
      assert.deepEqual(events[2]?.details, {
        to: "to@example.com",
        status: "4.4.1",
        reason: "refused",
      });
      assert.match(events[3]?.details["due"] ?? "", /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      assert.equal(events[5]?.details["destination"], "smtp:example.com");
      assert.equal(events[5]?.details["worker"], delivering.worker);
      assert.deepEqual(events[7]?.details, {
        to: "to@example.com",
        status: "2.0.0",
        relay: "mx.example.com[192.0.2.1]:25",
        reply: "250 2.0.0 Ok",
      });
      const sinceMs = events[7]?.atMs ?? 0;
      assert.deepEqual(
        await store.timelines().timeline(id, { sinceMs }),
        events.filter((event) => event.atMs >= sinceMs),
      );
      const times = events.map(({ atMs }) => atMs);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
      assert.ok(Math.abs((times[0] ?? 0) - store.clock.nowMs()) < 60_000);
      assert.equal(words(await timelineOf(under, other)).at(-1), "moved deferred");
    }));

  it("tells of cleaning, of what cleanup discards, and of what goes to corrupt and why", () =>
    withTimelines(async (under) => {
      const intake = under.store.intake();
      const cleaning = under.store.cleaning();
      const ids = await Promise.all(
        [1, 2, 3].map(() => stored(intake, { queue: "maildrop", recipients: ["a@x", "b@x"] })),
      );
      const [cleaned, discarded, parked] = await Promise.all(
        ids.map(async (id) => {
          const opened = await cleaning.open(id);
          assert.ok(typeof opened === "object");
          return opened;
        }),
      );
      assert.ok(cleaned !== undefined && discarded !== undefined && parked !== undefined);
      const whole = { envelope: cleaned.envelope, recipients: [{ address: "c@x" }] };
      const content = cleaning.openContent(cleaned.id);
      await content.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
      const finished = await content.finish();
      await cleaning.release(cleaned, { queue: "incoming", ...whole, content: finished });
      await cleaning.release(discarded, { queue: "gone", ...whole, content: finished });
      await cleaning.park(parked, "line\nfeed\u001b");
      const [first, second, third] = await Promise.all(ids.map((id) => timelineOf(under, id)));
      assert.deepEqual(words(first ?? []), ["accepted maildrop", "claimed", "cleaned incoming"]);
      assert.equal(first?.[1]?.details["for"], "clean");
      assert.deepEqual(first?.[2]?.details, { size: "17", recipients: "1" });
      assert.deepEqual(words(second ?? []), ["accepted maildrop", "claimed", "removed"]);
      assert.deepEqual(second?.[2]?.details, { by: "cleanup" });
      assert.deepEqual(words(third ?? []), ["accepted maildrop", "claimed", "moved corrupt"]);
      assert.deepEqual(third?.[2]?.details, { reason: "line?feed?" });
    }));

  it("tells of failures and of the reports about them, and of each report what it is", () =>
    withTimelines(async (under) => {
      const { store } = under;
      const id = await stored(store.intake());
      const led = await lead(store);
      const name = only(await dispatched(led));
      const delivering = await worker(under);
      await delivering.claim([name]);
      const failed = { recipient: 0, kind: "failed", reason: "no such user" } as const;
      await delivering.end({
        name,
        end: "tried",
        outcomes: [{ ...failed, status: enhancedStatus("5.1.1") }],
        feedback: { kind: "good" },
      });
      await led.scheduling.settle(led.fence, [
        { id, generation: 2, action: "report", kind: "failure" },
      ]);
      const reporting = store.reporting();
      const opened = await reporting.open(id);
      assert.ok(typeof opened === "object");
      const report = { ...(await newMessage(store.intake())), queue: "incoming" } as const;
      await reporting.queue(opened, [
        { ...report, envelope: { sender: "", origin: "bounce" as const } },
      ]);
      await led.scheduling.settle(led.fence, [{ id, generation: 2, action: "remove" }]);
      const events = await timelineOf(under, id);
      assert.deepEqual(words(events).slice(3), [
        "failed",
        "report-owed",
        "claimed",
        "reported",
        "removed",
      ]);
      assert.deepEqual(events[6]?.details, { report: "failure", messages: "1", ids: report.id });
      const ofReport = await timelineOf(under, report.id);
      assert.deepEqual(words(ofReport), ["accepted incoming"]);
      assert.equal(ofReport[0]?.details["by"], "bounce");
    }));

  it("tells of what was put back, of ambiguous deliveries, of a take-over and of a flush", () =>
    withTimelines(async (under) => {
      const { store } = under;
      const id = await stored(store.intake());
      const led = await lead(store);
      const first = only(await dispatched(led));
      const delivering = await worker(under);
      await delivering.claim([first]);
      await delivering.end({
        name: first,
        end: "putBack",
        outcomes: [],
        feedback: { kind: "none" },
      });
      await led.scheduling.reopenActive(led.fence);
      const second: RequestName = only(await dispatched(led));
      const dying = await under.openAnother({ processName: "dying" });
      const dead = await dying.delivering({ concurrency: 1 });
      await dead.claim([second]);
      assert.ok(await dead.markDotSent(second));
      await dying[Symbol.asyncDispose]();
      for (;;) {
        const answers = await led.scheduling.reap(led.fence, [second], "hold");
        if (answers[0] === "ambiguous") break;
        assert.equal(answers[0], "alive");
      }
      const next = await stored(store.intake());
      await deferIncoming(store, led);
      assert.equal(await store.operating().flushMessage(next), "moved");
      const events = await timelineOf(under, id);
      assert.deepEqual(words(events), [
        "accepted incoming",
        "queued active",
        "claimed",
        "put-back",
        "moved incoming",
        "queued active",
        "claimed",
        "dot-sent",
        "ambiguous",
        "deferred",
        "moved hold",
      ]);
      assert.equal(events[3]?.details["worker"], delivering.worker);
      assert.deepEqual(events[4]?.details, { by: "take-over" });
      assert.deepEqual(events[10]?.details, { by: "ambiguous delivery" });
      const flushed = (await timelineOf(under, next)).at(-1);
      assert.deepEqual([flushed?.queue, flushed?.details], ["incoming", { by: "flush" }]);
    }));

  it("tells what an operator did to it, by which act", () =>
    withTimelines(async (under) => {
      const id = await stored(under.store.intake());
      const acting = under.store.acting();
      for (const act of ["hold", "release", "expire", "retry", "requeue", "delete"] as const) {
        assert.deepEqual(await acting.act(act, [id]), ["done"], act);
      }
      const told = (await timelineOf(under, id)).map(({ kind, queue, details }) =>
        [kind, queue, ...Object.values(details)].filter((word) => word !== undefined).join(" "),
      );
      assert.deepEqual(told.slice(1), [
        "moved hold hold",
        "moved deferred release",
        "marked expired",
        "moved incoming retry",
        "moved maildrop requeue",
        "removed delete",
      ]);
    }));

  it("D6 tells once what was said of a recipient when the request goes on", () =>
    withTimelines(async (under) => {
      const id = await stored(under.store.intake(), { recipients: ["a@x", "b@x"] });
      const name = only(await dispatched(await lead(under.store)));
      const delivering = await worker(under);
      await delivering.claim([name]);
      const status = enhancedStatus("4.2.0");
      const busy = { recipient: 1, kind: "deferred", status, reason: "busy" } as const;
      await delivering.record(name, [{ recipient: 0, ...sent }, busy]);
      await delivering.end({ name, end: "tried", outcomes: [], feedback: { kind: "good" } });
      assert.deepEqual(words(await timelineOf(under, id)).slice(3), ["sent", "deferred"]);
    }));

  it("tells of 100 recipients of a request, and how many more there were", () =>
    withTimelines(async (under) => {
      const recipients = Array.from({ length: 1_200 }, (_, n) => `u${n}@example.com`);
      const id = await stored(under.store.intake(), { recipients });
      const name = only(await dispatched(await lead(under.store)));
      const delivering = await worker(under);
      await delivering.claim([name]);
      const outcomes = recipients.map((_, recipient) => ({ recipient, ...sent }));
      await delivering.end({ name, end: "tried", outcomes, feedback: { kind: "good" } });
      const events = await timelineOf(under, id);
      assert.equal(events.filter(({ kind }) => kind === "sent").length, 100);
      assert.deepEqual(events.at(-1)?.details, { recipients: "1100" });
    }));

  it("is not told of an id that only begins like it, nor of one that there never was", () =>
    withTimelines(async (under) => {
      const { store } = under;
      const long = await stored(store.intake());
      const short = parseQueueId(long.slice(0, -1)) ?? long;
      assert.deepEqual(await timelineOf(under, short), []);
      assert.equal((await timelineOf(under, long)).length, 1);
    }));
});
