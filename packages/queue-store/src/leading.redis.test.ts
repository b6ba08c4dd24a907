import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Settlement } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { assertConsistent, dispatched, lead, stored } from "./store.test-support.ts";

const status = enhancedStatus("4.2.0");
const isFenced = (error: unknown) => isPostmqError(error, "PMQ_STORE_FENCED");

describe("leading", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("P6 elects one; the next one's fence is greater, and the old one is refused everywhere (fault 6)", () =>
    withStore(
      async (under) => {
        const first = under.store.leadership();
        const fence = await first.acquire();
        assert.ok(fence !== undefined);
        assert.equal(await under.store.leadership().acquire(), undefined);
        assert.equal(await first.renew(fence), true);
        await redis.cli("DEL", `postmq:{${under.instanceName}}:leader`);
        const next = await under.store.leadership().acquire();
        assert.ok(next !== undefined && BigInt(next) > BigInt(fence));
        assert.equal(await first.renew(fence), false);
        const scheduling = under.store.scheduling();
        const id = await stored(under.store.intake());
        const settlement: Settlement = { id, generation: 1, action: "remove" };
        const request = {
          id,
          messageGeneration: 1,
          destination: { transport: "a", nexthop: "b" },
          recipients: [0],
        };
        const name = { id, number: 1, generation: 1 };
        const import_ = { fence, from: "incoming", maxMessages: 1, maxRecipients: 1 } as const;
        await assert.rejects(scheduling.importMessages(import_), isFenced);
        await assert.rejects(scheduling.closeImport(fence), isFenced);
        await assert.rejects(scheduling.dispatch(fence, [request]), isFenced);
        await assert.rejects(scheduling.renewRequests(fence, [name]), isFenced);
        await assert.rejects(scheduling.reap(fence, [name], "retry"), isFenced);
        await assert.rejects(scheduling.settle(fence, [settlement]), isFenced);
        await assert.rejects(scheduling.reopenActive(fence), isFenced);
        await assert.rejects(scheduling.sweep(fence, 0), isFenced);
        assert.equal((await under.store.looking().message(id))?.queue, "incoming");
      },
      { redis },
    ));

  it("imports what is undone behind thousands that are not, by reading on where one script would look too long", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const address = "to@example.com";
        const far = [{ number: 30_000, address, state: { kind: "todo" } as const }];
        const last = Array.from({ length: 8001 }, (_, number) => {
          return { number, address, state: { kind: number === 8000 ? "todo" : "done" } as const };
        });
        const ids: QueueId[] = [];
        for (const recipients of [far, last, last]) {
          const id = await stored(store.intake());
          const read = await store.copying().readCopy(id);
          assert.ok(typeof read !== "string" && read.inline !== undefined);
          assert.deepEqual(await store.acting().act("delete", [id]), ["done"]);
          const content = { ...read.content, inline: read.inline };
          const copy = { ...read.copy, recipients };
          assert.deepEqual(await store.copying().restore([{ copy, content }]), ["stored"]);
          ids.push(id);
        }
        const { scheduling, fence } = await lead(store);
        const options = { fence, from: "incoming", maxMessages: 9, maxRecipients: 9 } as const;
        const imported = await scheduling.importMessages(options);
        const seen = imported.map(({ id, undoneRecipients, recipients, nextRecipient }) => {
          return [id, undoneRecipients, recipients.map(({ number }) => number), nextRecipient];
        });
        assert.deepEqual(seen, [
          [ids[0], 1, [30_000], 30_001],
          [ids[1], 1, [], 4000],
          [ids[2], 1, [], 200],
        ]);
        let { nextRecipient: from = 0 } = imported[2] ?? {};
        const found: number[] = [];
        while (from < 8001) {
          const read = await scheduling.readRecipients({
            id: ids[2] ?? assert.fail(),
            from,
            limit: 9,
          });
          assert.ok(read.nextRecipient > from);
          from = read.nextRecipient;
          found.push(...read.recipients.map(({ number }) => number));
        }
        assert.deepEqual(found, [8000]);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("raises the fence even when the clock of Redis went back (DESIGN §4)", () =>
    withStore(
      async (under) => {
        await redis.cli("SET", `postmq:{${under.instanceName}}:fence`, "99991231999999");
        await redis.cli("SET", `postmq:{${under.instanceName}}:fence`, "9999999999999999");
        const fence = await under.store.leadership().acquire();
        assert.equal(fence, "10000000000000000");
      },
      { redis },
    ));

  it("lets a stand-by follow at once after a release", () =>
    withStore(
      async (under) => {
        const leadership = under.store.leadership();
        const fence = await leadership.acquire();
        assert.ok(fence !== undefined);
        await leadership.release(fence);
        assert.notEqual(await under.store.leadership().acquire(), undefined);
      },
      { redis },
    ));

  it("imports the oldest first, as many as asked for", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const ids = [await stored(intake), await stored(intake), await stored(intake)];
        const { scheduling, fence } = await lead(under.store);
        const options = { fence, from: "incoming", maxMessages: 2, maxRecipients: 10 } as const;
        const first = await scheduling.importMessages(options);
        assert.deepEqual(
          first.map((message) => message.id),
          ids.slice(0, 2),
        );
        const second = await scheduling.importMessages(options);
        assert.deepEqual(
          second.map((message) => message.id),
          ids.slice(2),
        );
        await assertConsistent(under);
      },
      { redis },
    ));

  it("reads a message of many recipients in parts", () =>
    withStore(
      async (under) => {
        const recipients = Array.from({ length: 2300 }, (_, i) => `u${i}@example.com`);
        const id = await stored(under.store.intake(), { recipients });
        const { scheduling, fence } = await lead(under.store);
        const [message] = await scheduling.importMessages({
          fence,
          from: "incoming",
          maxMessages: 1,
          maxRecipients: 950,
        });
        assert.ok(message !== undefined);
        assert.deepEqual([message.recipients.length, message.nextRecipient], [950, 950]);
        const numbers = message.recipients.map((recipient) => recipient.number);
        for (let from = message.nextRecipient; from < message.totalRecipients;) {
          const more = await scheduling.readRecipients({ id, from, limit: 700 });
          numbers.push(...more.recipients.map((recipient) => recipient.number));
          from = more.nextRecipient;
        }
        assert.deepEqual(
          numbers,
          Array.from({ length: 2300 }, (_, i) => i),
        );
      },
      { redis },
    ));

  it("Q13 puts what was active back to incoming, with outcomes and claimed requests kept", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        await stored(intake, { recipients: ["a@example.com", "b@example.com"] });
        const id = await stored(intake);
        const led = await lead(under.store);
        const names = await dispatched(led);
        const delivering = await under.store.delivering({ concurrency: 5 });
        const claimed = names.find((name) => name.id !== id);
        assert.ok(claimed !== undefined);
        await delivering.claim([claimed]);
        await redis.cli("DEL", `postmq:{${under.instanceName}}:leader`);
        const next = await lead(under.store);
        assert.equal(await next.scheduling.reopenActive(next.fence), 2);
        await assertConsistent(under);
        const again = await next.scheduling.importMessages({
          fence: next.fence,
          from: "incoming",
          maxMessages: 10,
          maxRecipients: 10,
        });
        const adopted = again.find((message) => message.id === claimed.id);
        assert.deepEqual(
          adopted?.openRequests.map((request) => request.name),
          [claimed],
        );
        assert.deepEqual(again.find((message) => message.id === id)?.openRequests, []);
      },
      { redis },
    ));

  it("counts a crash of the leader against what it was opening, and then imports that alone", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const ids = [await stored(intake), await stored(intake)];
        for (let crash = 0; crash < 4; crash += 1) {
          const { scheduling, fence } = await lead(under.store);
          await scheduling.reopenActive(fence);
          const options = { fence, from: "incoming", maxMessages: 10, maxRecipients: 10 } as const;
          const batch = await scheduling.importMessages(options);
          assert.equal(batch.length, crash === 0 ? 2 : 1);
          assert.ok(batch.every(({ isMoreBehind }) => isMoreBehind === crash > 0));
          if (crash > 0 && batch[0]?.id !== ids[0]) {
            await scheduling.closeImport(fence);
            await scheduling.importMessages(options);
          }
          await redis.cli("DEL", `postmq:{${under.instanceName}}:leader`);
        }
        await assertConsistent(under);
      },
      { redis },
    ));

  it("counts no crash against what a leader had opened that lives and leads again", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        await stored(intake);
        await stored(intake);
        const leadership = under.store.leadership();
        const scheduling = under.store.scheduling();
        const fence = await leadership.acquire();
        assert.ok(fence !== undefined);
        const from = { from: "incoming", maxMessages: 10, maxRecipients: 10 } as const;
        assert.equal((await scheduling.importMessages({ fence, ...from })).length, 2);
        await leadership.release(fence);
        const again = await leadership.acquire();
        assert.ok(again !== undefined);
        assert.equal(await scheduling.reopenActive(again), 2);
        assert.equal((await scheduling.importMessages({ fence: again, ...from })).length, 2);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("counts in the end what ends one term of a leader after the other", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const id = await stored(intake);
        const leadership = under.store.leadership();
        const scheduling = under.store.scheduling();
        for (let term = 0; term < 5; term += 1) {
          const fence = await leadership.acquire();
          assert.ok(fence !== undefined);
          await scheduling.reopenActive(fence);
          await scheduling.importMessages({
            fence,
            from: "incoming",
            maxMessages: 10,
            maxRecipients: 10,
          });
          await leadership.release(fence);
        }
        const count = await redis.cli("HGET", `postmq:{${under.instanceName}}:m:${id}`, "oc");
        assert.ok(Number(count) > 0);
      },
      { redis },
    ));

  it("mends an index that names what is elsewhere, and comes to an end over it", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const held = await stored(intake, { queue: "hold" });
        const corrupt = await stored(intake);
        const good = await stored(intake);
        const { scheduling, fence } = await lead(under.store);
        const options = { fence, from: "incoming", maxMessages: 1, maxRecipients: 10 } as const;
        const prefix = `postmq:{${under.instanceName}}`;
        await redis.cli("HSET", `${prefix}:m:${corrupt}`, "oc", "9");
        await redis.cli("HDEL", `${prefix}:m:${held}`, "0");
        await redis.cli("ZADD", `${prefix}:e:incoming`, "1", held);
        assert.deepEqual(
          (await scheduling.importMessages(options)).map(({ id }) => id),
          [good],
        );
        await redis.cli("ZADD", `${prefix}:e:incoming`, "1", corrupt, "2", held);
        assert.deepEqual(await scheduling.importMessages(options), []);
        assert.equal(await redis.cli("ZCARD", `${prefix}:e:incoming`), "0");
        const queueOf = (id: QueueId) => redis.cli("HGET", `${prefix}:m:${id}`, "q");
        assert.deepEqual([await queueOf(held), await queueOf(corrupt)], ["hold", "corrupt"]);
      },
      { redis },
    ));

  it("says that more is behind a batch that ends before one that a leader may have died over", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const ids = [await stored(intake), await stored(intake), await stored(intake)];
        await redis.cli("HSET", `postmq:{${under.instanceName}}:m:${ids[1]}`, "oc", "1");
        const { scheduling, fence } = await lead(under.store);
        const look = async () => {
          const batch = await scheduling.importMessages({
            fence,
            from: "incoming",
            maxMessages: 10,
            maxRecipients: 10,
          });
          return batch.map(({ id, isMoreBehind }) => [id, isMoreBehind]);
        };
        assert.deepEqual(await look(), [[ids[0], true]]);
        assert.deepEqual(await look(), [[ids[1], true]]);
        assert.deepEqual(await look(), [[ids[2], false]]);
      },
      { redis },
    ));

  it("is not rung for new mail while it looks by itself, and is again when it stops or dies", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const { scheduling, fence } = await lead(under.store);
        const rung: QueueId[] = [];
        const listener = await under.store.listen("incoming", { concurrency: 1 }, async (bell) => {
          rung.push(...bell.ids);
        });
        const look = () =>
          scheduling.importMessages({
            fence,
            from: "incoming",
            maxMessages: 10,
            maxRecipients: 10,
          });
        const key = `postmq:{${under.instanceName}}:looking`;
        const first = await stored(intake);
        await waitFor(() => rung.length === 1);
        assert.equal((await look()).length, 1);
        // So that a slow machine changes nothing.
        await redis.cli("PERSIST", key);
        const second = await stored(intake);
        assert.equal((await look()).length, 1);
        assert.equal((await look()).length, 0);
        const third = await stored(intake);
        await waitFor(() => rung.length === 2);
        assert.deepEqual(rung, [first, third], `${second} rang`);
        assert.equal((await look()).length, 1);
        const lifeMs = Number(await redis.cli("PTTL", key));
        assert.ok(lifeMs > 0 && lifeMs <= 2000, `it would stand for ${lifeMs} ms`);
        await scheduling.closeImport(fence);
        const fourth = await stored(intake);
        await waitFor(() => rung.at(-1) === fourth);
        await listener.close();
      },
      { redis },
    ));

  it("settles: removes what is done, defers what is left, and never what was recorded meanwhile", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), {
          recipients: ["a@example.com", "b@example.net"],
        });
        const { scheduling, fence } = await lead(under.store);
        const read = async (from: "incoming" | "deferred") =>
          (await scheduling.importMessages({ fence, from, maxMessages: 1, maxRecipients: 10 }))[0];
        const first = await read("incoming");
        assert.ok(first !== undefined);
        const { generation } = first;
        assert.deepEqual(await scheduling.settle(fence, [{ id, generation, action: "remove" }]), [
          "unfinished",
        ]);
        await scheduling.recordOutcomes(id, [
          { recipient: 0, kind: "sent", status: enhancedStatus("2.0.0"), reason: "ok" },
          { recipient: 1, kind: "deferred", status, reason: "mailbox full" },
        ]);
        await assertConsistent(under);
        const defer = {
          id,
          action: "defer",
          dueMs: under.store.clock.nowMs() - 1,
          countAttempt: true,
        } as const;
        assert.deepEqual(
          await scheduling.settle(fence, [{ ...defer, generation: generation + 1 }]),
          ["stale"],
        );
        assert.deepEqual(await scheduling.settle(fence, [{ ...defer, generation }]), ["done"]);
        await assertConsistent(under);
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.attempts, 1);
        const [left] = listed?.recipients ?? [];
        assert.equal(left?.state.kind === "deferred" && left.state.reason, "mailbox full");
        const second = await read("deferred");
        assert.equal(second?.undoneRecipients, 1);
        await scheduling.recordOutcomes(id, [
          { recipient: 1, kind: "sent", status: enhancedStatus("2.0.0"), reason: "ok" },
        ]);
        const last = { id, generation: second?.generation ?? 0, action: "remove" } as const;
        assert.deepEqual(await scheduling.settle(fence, [last]), ["done"]);
        assert.deepEqual(await scheduling.settle(fence, [last]), ["stale"]);
        await assertConsistent(under);
        const left_ = await redis.cli("KEYS", `postmq:{${under.instanceName}}:[mc]:*`);
        assert.equal(left_.trim(), "");
      },
      { redis },
    ));

  it("does not import what is not yet due", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        const { scheduling, fence } = await lead(under.store);
        const [message] = await scheduling.importMessages({
          fence,
          from: "incoming",
          maxMessages: 1,
          maxRecipients: 10,
        });
        await scheduling.recordOutcomes(id, [
          { recipient: 0, kind: "deferred", status, reason: "x" },
        ]);
        const dueMs = under.store.clock.nowMs() + 3_600_000;
        const generation = message?.generation ?? 0;
        await scheduling.settle(fence, [
          { id, generation, action: "defer", dueMs, countAttempt: true },
        ]);
        const due = await scheduling.importMessages({
          fence,
          from: "deferred",
          maxMessages: 9,
          maxRecipients: 9,
        });
        assert.deepEqual(due, []);
      },
      { redis },
    ));

  it("Q5, Q6 queues a report and marks it no longer owed in one act", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        const { scheduling, fence } = await lead(under.store);
        const [message] = await scheduling.importMessages({
          fence,
          from: "incoming",
          maxMessages: 1,
          maxRecipients: 10,
        });
        const generation = message?.generation ?? 0;
        const failed = enhancedStatus("5.1.1");
        await scheduling.recordOutcomes(id, [
          { recipient: 0, kind: "failed", status: failed, reason: "no" },
        ]);
        assert.deepEqual(await scheduling.settle(fence, [{ id, generation, action: "remove" }]), [
          "unfinished",
        ]);
        const report = { id, generation, action: "report", kind: "failure" } as const;
        assert.deepEqual(await scheduling.settle(fence, [report]), ["done"]);
        const reporting = under.store.reporting();
        const opened = await reporting.open(id);
        assert.ok(typeof opened === "object");
        assert.equal(opened.recipients[0]?.state.kind, "failed");
        const reportId = reporting.newId();
        const writer = reporting.openContent(reportId);
        await writer.write(Buffer.from("report"));
        const newMessage = {
          id: reportId,
          queue: "incoming",
          envelope: { sender: "", origin: "bounce" },
          recipients: [{ address: "from@sender.example" }],
          content: await writer.finish(),
        } as const;
        assert.equal(await reporting.queue(opened, [newMessage]), "queued");
        assert.equal(
          await reporting.queue(opened, [{ ...newMessage, id: reporting.newId() }]),
          "stale",
        );
        assert.equal(
          (await under.store.looking().list("incoming", { limit: 9 })).messages.length,
          1,
        );
        const { events } = await scheduling.readEvents(1000);
        assert.deepEqual(events, [{ kind: "reported", id }]);
        assert.deepEqual(await scheduling.settle(fence, [{ id, generation, action: "remove" }]), [
          "done",
        ]);
        await assertConsistent(under);
      },
      { redis },
    ));
});
