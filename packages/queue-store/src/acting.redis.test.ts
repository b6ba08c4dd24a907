/** What operators do to messages, from each queue and state (spec admin-tools.md §2). */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Act, ActAnswer, RequestResult, Store } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { MessageQueue, QueueId, RecipientOutcome, RequestName } from "@postmq/vocabulary";
import { assertConsistent, deferIncoming, dispatched, lead, stored } from "./store.test-support.ts";
import type { Led } from "./store.test-support.ts";

const remote = { host: "mx.example.com", address: "192.0.2.1", port: 25, reply: "550 no" };

function failed(recipient: number): RecipientOutcome {
  return { recipient, kind: "failed", status: enhancedStatus("5.1.1"), reason: "no", remote };
}

function owing(recipient: number): RecipientOutcome {
  const status = enhancedStatus("2.1.5");
  return { recipient, kind: "sent", status, reason: "Ok", remote, owesReport: "relayed" };
}

function sent(name: RequestName): RequestResult {
  const status = enhancedStatus("2.0.0");
  return {
    name,
    end: "tried",
    outcomes: [{ recipient: 0, kind: "sent", status, reason: "250 2.0.0 Ok" }],
    feedback: { kind: "good" },
  };
}

describe("an operator's act", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const within = (test: (under: StoreUnderTest) => Promise<void>) => withStore(test, { redis });
  const listed = (store: Store, id: QueueId) => store.looking().message(id);
  const queueOf = async (store: Store, id: QueueId) => (await listed(store, id))?.queue;
  const key = (under: StoreUnderTest, name: string) => `postmq:{${under.instanceName}}:${name}`;
  const field = (under: StoreUnderTest, id: QueueId, name: string) =>
    redis.cli("HGET", key(under, `m:${id}`), name);

  const act = async (store: Store, what: Act, id: QueueId): Promise<ActAnswer | undefined> =>
    (await store.acting().act(what, [id]))[0];

  /** A whole walk. @returns how many messages the act was carried out on */
  async function walk(store: Store, what: Act, queue: MessageQueue): Promise<number> {
    const acting = store.acting();
    let step = await acting.actOnQueue(what, queue);
    let { done } = step;
    while (step.next.cursor !== undefined) {
      step = await acting.actOnQueue(what, queue, step.next);
      done += step.done;
    }
    return done;
  }

  async function importAll({ scheduling, fence }: Led, from: "incoming" | "deferred" = "incoming") {
    return scheduling.importMessages({ fence, from, maxMessages: 99, maxRecipients: 9000 });
  }

  /** What cleanup would make of it: the same recipients, and those of which a report is owed. */
  async function clean(store: Store, id: QueueId): Promise<readonly string[]> {
    const cleaning = store.cleaning();
    const opened = await cleaning.open(id);
    assert.ok(typeof opened === "object", "not opened");
    const writer = cleaning.openContent(id);
    await writer.write(Buffer.from("Subject: anew\r\n\r\nbody\r\n"));
    const recipients = opened.recipients.map(({ state, address }) => {
      if (state.kind === "failed") return { address, failed: state };
      return state.kind === "sent" ? { address, sent: state } : { address };
    });
    const { envelope } = opened;
    const content = await writer.finish();
    const into = { queue: "incoming", envelope, recipients, content } as const;
    assert.equal(await cleaning.release(opened, into), "moved");
    return opened.recipients.map(({ address, state }) => `${address} ${state.kind}`);
  }

  it("takes an id that is named twice at once only once", () =>
    within(async (under) => {
      const { store } = under;
      for (const what of ["hold", "release", "expire", "requeue", "delete"] as const) {
        const id = await stored(store.intake());
        if (what === "release") await act(store, "hold", id);
        assert.deepEqual(await store.acting().act(what, [id, id]), ["done", "absent"], what);
        await assertConsistent(under);
      }
    }));

  describe("delete", () => {
    it("A1 leaves nothing behind, from each queue", () =>
      within(async (under) => {
        const { store } = under;
        const intake = store.intake();
        const led = await lead(store);
        const before = await stored(intake, { recipients: ["a@x.example", "b@x.example"] });
        await deferIncoming(store, led, { surplusOf: "smtp:x.example" });
        const active = await stored(intake);
        await dispatched(led);
        const incoming = await stored(intake, { recipients: ["a@x.example", "b@y.example"] });
        const maildrop = await stored(intake, { queue: "maildrop" });
        const hold = await stored(intake, { queue: "hold" });
        const ids = [before, active, incoming, maildrop, hold];
        assert.deepEqual(
          await store.acting().act("delete", ids),
          ids.map(() => "done"),
        );
        assert.deepEqual(
          await store.acting().act("delete", ids),
          ids.map(() => "absent"),
        );
        const left = (await redis.cli("KEYS", key(under, "*"))).split("\n");
        const kinds = left.map((name) => name.slice(key(under, "").length).split(":")[0]);
        const known = ["identity", "leader", "fence", "events", "eventno", "opening", "looking"];
        const bells = ["maildrop", "incoming", "active", "deferred", "hold", "corrupt", "bounce"];
        const others = kinds.filter(
          (kind = "") =>
            ![...known, ...bells].includes(kind) && !/^(tl|timeline|trace|w|flow)/.test(kind),
        );
        assert.deepEqual(others, [], left.join(" "));
        await assertConsistent(under);
      }));

    it("A1 wins over a delivery whose dot was not sent, and the leader hears of it", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const led = await lead(store);
        const [name] = await dispatched(led);
        assert.ok(name !== undefined);
        const worker = await store.delivering({ concurrency: 5 });
        await worker.claim([name]);
        assert.equal(await act(store, "delete", id), "done");
        assert.equal(await worker.markDotSent(name), false);
        await worker.end(sent(name));
        assert.equal(await listed(store, id), undefined);
        const { events } = await led.scheduling.readEvents(1000);
        assert.deepEqual(
          events.map(({ kind }) => kind),
          ["left", "ended"],
        );
        await assertConsistent(under);
      }));

    it("A1 a report that is being made of it is stale", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const { scheduling, fence } = await lead(store);
        const [message] = await importAll({ scheduling, fence });
        await scheduling.recordOutcomes(id, [failed(0)]);
        const { generation = 0 } = message ?? {};
        await scheduling.settle(fence, [{ id, generation, action: "report", kind: "failure" }]);
        const reporting = store.reporting();
        const report = await reporting.open(id);
        assert.ok(typeof report === "object");
        assert.equal(await act(store, "delete", id), "done");
        assert.equal(await reporting.queue(report, []), "stale");
        assert.equal(await redis.cli("ZCARD", key(under, "owed")), "0");
        assert.equal(await listed(store, id), undefined);
      }));

    it("takes rubbish out of corrupt, and what an index names in vain; other acts leave it alone", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake(), { queue: "hold" });
        await redis.cli("SET", key(under, `m:${id}`), "rubbish");
        assert.equal(await act(store, "release", id), "unreadable");
        assert.equal(await walk(store, "release", "hold"), 0);
        assert.equal(await redis.cli("TYPE", key(under, `m:${id}`)), "string");
        assert.equal(await act(store, "delete", id), "done");
        assert.equal(await redis.cli("EXISTS", key(under, `m:${id}`), key(under, `c:${id}`)), "0");
        const torn = await stored(store.intake());
        await redis.cli("HDEL", key(under, `m:${torn}`), "ds");
        const led = await lead(store);
        await importAll(led);
        assert.equal(await redis.cli("ZRANGE", key(under, "q:corrupt"), "0", "-1"), torn);
        const acting = store.acting();
        assert.deepEqual(await acting.act("delete", [torn]), ["absent"]);
        assert.deepEqual(await acting.act("requeue", [torn], { queues: ["corrupt"] }), [
          "unreadable",
        ]);
        assert.deepEqual(await acting.act("delete", [torn], { queues: ["corrupt"] }), ["done"]);
        assert.equal(await redis.cli("HLEN", key(under, "why")), "0");
        assert.equal(await redis.cli("ZCARD", key(under, "q:corrupt")), "0");
      }));

    it("leaves content that a second message shares", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        await redis.cli("HSET", key(under, `c:${id}`), "refs", "2");
        assert.equal(await act(store, "delete", id), "done");
        assert.equal(await redis.cli("HGET", key(under, `c:${id}`), "refs"), "1");
      }));
  });

  describe("hold and release", () => {
    it("A3 keep reasons, and the due time is the one it had", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        await deferIncoming(store, await lead(store), { dueMs: 4_000_000_000_000 });
        assert.equal(await act(store, "hold", id), "done");
        assert.equal(await queueOf(store, id), "hold");
        assert.equal(await redis.cli("ZCARD", key(under, "due")), "0");
        await assertConsistent(under);
        assert.equal(await act(store, "release", id), "done");
        const message = await listed(store, id);
        assert.equal(message?.queue, "deferred");
        assert.equal(message?.dueMs, 4_000_000_000_000);
        assert.equal(message?.recipients[0]?.state.kind, "deferred");
        await assertConsistent(under);
      }));

    it("what never was in deferred is due at once after its release", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake(), { queue: "hold" });
        assert.equal(await act(store, "release", id), "done");
        assert.equal((await importAll(await lead(store), "deferred")).length, 1);
        await assertConsistent(under);
      }));

    it("A1 a delivery that has begun goes on in hold, what nobody claimed is not dialled", () =>
      within(async (under) => {
        const { store } = under;
        const intake = store.intake();
        const begun = await stored(intake);
        const queued = await stored(intake);
        const led = await lead(store);
        const names = await dispatched(led);
        const [first, second] = [begun, queued].map((id) => names.find((name) => name.id === id));
        assert.ok(first !== undefined && second !== undefined);
        const worker = await store.delivering({ concurrency: 5 });
        await worker.claim([first]);
        assert.deepEqual(await store.acting().act("hold", [begun, queued]), ["done", "done"]);
        assert.deepEqual(await worker.claim([second]), ["stale"]);
        assert.equal(await worker.markDotSent(first), true);
        await assertConsistent(under);
        await worker.end(sent(first));
        assert.equal((await listed(store, begun))?.undoneRecipients, 0);
        assert.equal(await queueOf(store, begun), "hold");
        await assertConsistent(under);
        // Released, nothing of it is left to do: it goes.
        await act(store, "release", begun);
        const [message] = await importAll(led, "deferred");
        assert.ok(message !== undefined);
        const settled = { id: begun, generation: message.generation, action: "remove" } as const;
        assert.deepEqual(await led.scheduling.settle(led.fence, [settled]), ["done"]);
      }));

    it("Q6 a report that was owed is stale in hold, and owed again after the release", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const { scheduling, fence } = await lead(store);
        const [message] = await importAll({ scheduling, fence });
        await scheduling.recordOutcomes(id, [failed(0)]);
        const { generation = 0 } = message ?? {};
        await scheduling.settle(fence, [{ id, generation, action: "report", kind: "failure" }]);
        const report = await store.reporting().open(id);
        assert.ok(typeof report === "object");
        assert.equal(await act(store, "hold", id), "done");
        assert.equal(await store.reporting().queue(report, []), "stale");
        assert.equal(await redis.cli("ZCARD", key(under, "owed")), "0");
        await act(store, "release", id);
        const [again] = await importAll({ scheduling, fence }, "deferred");
        assert.equal(again?.unreportedRecipients, 1);
        const other = await under.openAnother({ processName: "other" });
        const settled = { id, generation: again.generation, action: "report" } as const;
        await scheduling.settle(fence, [{ ...settled, kind: "failure" }]);
        assert.equal(typeof (await other.reporting().open(id)), "object");
      }));

    it("S31 surplus that is held waits for no room any more", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const led = await lead(store);
        await deferIncoming(store, led, { surplusOf: "smtp:x.example" });
        await act(store, "hold", id);
        const recalled = await led.scheduling.recall(led.fence, "smtp:x.example", 10);
        assert.deepEqual(recalled, { found: 0, left: 0 });
        assert.equal((await listed(store, id))?.isSurplus, false);
      }));

    it("hold takes nothing from maildrop: what is there is not cleaned", () =>
      within(async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const acting = under.store.acting();
        assert.deepEqual(await acting.act("hold", [id], { queues: ["maildrop"] }), ["absent"]);
      }));
  });

  describe("requeue", () => {
    it("A4 has it cleaned anew under its id, created now, for undone recipients only, with new numbers", () =>
      within(async (under) => {
        const { store } = under;
        const recipients = ["sent@x.example", "left@x.example"];
        const id = await stored(store.intake(), { recipients });
        const led = await lead(store);
        const [name] = await dispatched(led);
        assert.ok(name !== undefined);
        const worker = await store.delivering({ concurrency: 5 });
        await worker.claim([name]);
        await worker.markDotSent(name);
        await worker.end(sent(name));
        await redis.cli("HSET", key(under, `m:${id}`), "wd", "1", "x", "1", "ct", "5");
        assert.equal(await act(store, "requeue", id), "done");
        const message = await listed(store, id);
        assert.equal(message?.queue, "maildrop");
        assert.ok(message.createdMs > 5);
        assert.equal(message.isForceExpired, false);
        await assertConsistent(under);
        assert.deepEqual(await clean(store, id), ["left@x.example todo"]);
        await assertConsistent(under);
        const [anew] = await importAll(led);
        assert.deepEqual(
          anew?.recipients.map(({ number, address }) => `${number} ${address}`),
          ["2 left@x.example"],
        );
        assert.equal(anew?.wasWarned, true);
      }));

    it("A1 a late 250 of the delivery before marks no new recipient, and no dot follows the requeue", () =>
      within(async (under) => {
        const { store } = under;
        const ids = [await stored(store.intake()), await stored(store.intake())];
        const led = await lead(store);
        const names = await dispatched(led);
        const worker = await store.delivering({ concurrency: 5 });
        await worker.claim(names);
        const [started, waiting] = names;
        assert.ok(started !== undefined && waiting !== undefined);
        await worker.markDotSent(started);
        for (const id of ids) assert.equal(await act(store, "requeue", id), "done");
        assert.equal(await worker.markDotSent(waiting), false);
        for (const id of ids) await clean(store, id);
        await worker.end(sent(started));
        assert.equal((await listed(store, started.id))?.undoneRecipients, 1);
        await assertConsistent(under);
      }));

    it("A4 recipients that failed, or whose success report is owed, are reported after it", () =>
      within(async (under) => {
        const { store } = under;
        const recipients = ["failed@x.example", "sent@x.example", "left@y.example"];
        const id = await stored(store.intake(), { recipients });
        const led = await lead(store);
        await importAll(led);
        await led.scheduling.recordOutcomes(id, [failed(0), owing(1)]);
        assert.equal(await act(store, "requeue", id), "done");
        assert.deepEqual(await clean(store, id), [
          "failed@x.example failed",
          "sent@x.example sent",
          "left@y.example todo",
        ]);
        await assertConsistent(under);
        const { scheduling, fence } = led;
        const [anew] = await importAll(led);
        assert.ok(anew !== undefined);
        assert.equal(anew.unreportedRecipients, 1);
        assert.equal(anew.unreportedSuccesses, 1);
        const about = { id, generation: anew.generation, action: "report" } as const;
        for (const kind of ["failure", "success"] as const) {
          assert.deepEqual(await scheduling.settle(fence, [{ ...about, kind }]), ["done"]);
          const report = await store.reporting().open(id);
          assert.ok(typeof report === "object");
          const [told] = report.recipients;
          assert.equal(told?.address, kind === "failure" ? recipients[0] : recipients[1]);
          assert.ok(told !== undefined && "remote" in told.state);
          assert.deepEqual(told.state.remote, remote);
          assert.equal(await store.reporting().queue(report, []), "queued");
        }
        await assertConsistent(under);
      }));

    it("A4 the same of a message of thousands, whose numbers go beyond the record", () =>
      within(async (under) => {
        const { store } = under;
        const recipients = Array.from({ length: 2500 }, (_, i) => `u${i}@d${i % 3}.example`);
        const id = await stored(store.intake(), { recipients });
        const led = await lead(store);
        await importAll(led);
        await led.scheduling.recordOutcomes(id, [failed(0), owing(1700), failed(2400)]);
        for (let round = 0; round < 2; round += 1) {
          assert.equal(await act(store, "requeue", id), "done");
          assert.equal((await clean(store, id)).length, 2500);
          const message = await listed(store, id);
          assert.equal(message?.undoneRecipients, 2497);
          await assertConsistent(under);
          const [anew] = await importAll(led);
          assert.equal(anew?.undoneRecipients, 2497);
          assert.equal(anew.unreportedRecipients, 2);
          assert.equal(anew.unreportedSuccesses, 1);
          assert.equal(anew.recipients.length, 2497);
        }
      }));

    it("A4 of a finished message nobody is left, and it may be requeued from corrupt", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const led = await lead(store);
        const [message] = await importAll(led);
        await led.scheduling.recordOutcomes(id, [{ ...failed(0), kind: "deferred" }]);
        const about = { id, generation: message?.generation ?? 0 };
        const { scheduling, fence } = led;
        await scheduling.settle(fence, [{ ...about, action: "report", kind: "expired" }]);
        const report = await store.reporting().open(id);
        assert.ok(typeof report === "object");
        await store.reporting().queue(report, []);
        await scheduling.settle(fence, [{ ...about, action: "corrupt", reason: "a test" }]);
        const acting = store.acting();
        assert.deepEqual(await acting.act("requeue", [id], { queues: ["corrupt"] }), ["done"]);
        assert.equal(await redis.cli("HLEN", key(under, "why")), "0");
        const opened = await store.cleaning().open(id);
        assert.ok(typeof opened === "object");
        assert.deepEqual(opened.recipients, []);
        await assertConsistent(under);
      }));

    it("rings maildrop, behind mail that comes in", () =>
      within(async (under) => {
        const { store } = under;
        const held = await stored(store.intake(), { queue: "hold" });
        await act(store, "requeue", held);
        const fresh = await stored(store.intake(), { queue: "maildrop" });
        const heard: QueueId[] = [];
        // Both rings are there before anybody listens.
        await waitFor(
          async () =>
            (await redis.cli("LLEN", key(under, "maildrop:wait"))) !== "0" &&
            (await redis.cli("ZCARD", key(under, "maildrop:prioritized"))) !== "0",
        );
        const listener = await store.listen("maildrop", { concurrency: 1 }, async ({ ids }) => {
          heard.push(...ids);
        });
        await waitFor(() => heard.length === 2);
        await listener.close();
        assert.deepEqual(heard, [fresh, held]);
      }));
  });

  describe("expire and retry", () => {
    it("expire marks it where it is; in active it counts from the next import", () =>
      within(async (under) => {
        const { store } = under;
        const intake = store.intake();
        const held = await stored(intake, { queue: "hold" });
        const active = await stored(intake);
        const led = await lead(store);
        await importAll(led);
        const drop = await stored(intake, { queue: "maildrop" });
        const answers = await store.acting().act("expire", [held, active, drop]);
        assert.deepEqual(answers, ["done", "done", "absent"]);
        assert.equal(await queueOf(store, active), "active");
        assert.equal((await listed(store, held))?.isForceExpired, true);
        await led.scheduling.reopenActive(led.fence);
        assert.equal((await importAll(led))[0]?.isForceExpired, true);
      }));

    it("retry has what is deferred tried now, throttles stay", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const led = await lead(store);
        await deferIncoming(store, led, { surplusOf: "smtp:x.example" });
        assert.equal(await act(store, "retry", id), "done");
        await assertConsistent(under);
        const [message] = await importAll(led);
        assert.equal(message?.isUnthrottling, false);
        assert.equal(message.surplusOf, undefined);
      }));
  });

  describe("on a whole queue", () => {
    it("is carried out in steps, on all that was there when it began, and on nothing else", () =>
      within(async (under) => {
        const { store } = under;
        const intake = store.intake();
        const many = 1200;
        await Promise.all(
          Array.from({ length: many }, (_, i) =>
            stored(intake, { queue: "hold", recipients: [`a@d${i % 50}.example`] }),
          ),
        );
        const acting = store.acting();
        const first = await acting.actOnQueue("release", "hold");
        assert.ok(first.next.cursor !== undefined && first.done < many);
        await waitFor(() => store.clock.nowMs() > first.next.begunMs + 2);
        const late = await stored(intake, { queue: "hold" });
        let { done } = first;
        for (let step = first; step.next.cursor !== undefined;) {
          step = await acting.actOnQueue("release", "hold", step.next);
          done += step.done;
        }
        assert.equal(done, many);
        assert.equal(await queueOf(store, late), "hold");
        await assertConsistent(under);
        assert.equal(await walk(store, "delete", "deferred"), many);
        await assertConsistent(under);
      }));

    it("A2 a delete takes all of its queue, and no reason of a message elsewhere", () =>
      within(async (under) => {
        const { store } = under;
        const led = await lead(store);
        const deferred = await stored(store.intake());
        const held = await stored(store.intake());
        await deferIncoming(store, led, { dueMs: 4_000_000_000_000 });
        assert.equal(await act(store, "hold", held), "done");
        const before = (await listed(store, held))?.recipients;
        assert.equal(before?.[0]?.state.kind, "deferred");
        const incoming = await stored(store.intake());
        assert.equal(await walk(store, "delete", "deferred"), 1);
        const left = await Promise.all([deferred, held, incoming].map((id) => queueOf(store, id)));
        assert.deepEqual(left, [undefined, "hold", "incoming"]);
        assert.deepEqual((await listed(store, held))?.recipients, before);
        await assertConsistent(under);
      }));

    it("by two operators at once acts on each message once", () =>
      within(async (under) => {
        const { store } = under;
        const intake = store.intake();
        await Promise.all(Array.from({ length: 800 }, () => stored(intake)));
        const other = await under.openAnother();
        const [mine, theirs] = await Promise.all([
          walk(store, "hold", "incoming"),
          walk(other, "hold", "incoming"),
        ]);
        assert.equal(mine + theirs, 800);
        await assertConsistent(under);
      }));

    it("requeues all of it, each rung for once", () =>
      within(async (under) => {
        const { store } = under;
        const intake = store.intake();
        const ids = await Promise.all(
          Array.from({ length: 700 }, () => stored(intake, { queue: "hold" })),
        );
        assert.equal(await walk(store, "requeue", "hold"), 700);
        const heard: QueueId[] = [];
        const listener = await store.listen("maildrop", { concurrency: 1 }, async (bell) => {
          heard.push(...bell.ids);
        });
        await waitFor(() => heard.length >= 700);
        await listener.close();
        assert.deepEqual(heard.toSorted(), ids.toSorted());
        await assertConsistent(under);
      }));

    it("leaves alone by id what entered its queue after the moment asked for", () =>
      within(async (under) => {
        const { store } = under;
        const id = await stored(store.intake());
        const begunMs = Number(await field(under, id, "qe")) - 1;
        const acting = store.acting();
        assert.deepEqual(await acting.act("delete", [id], { begunMs }), ["absent"]);
        assert.deepEqual(await acting.act("delete", [id], { begunMs: begunMs + 1 }), ["done"]);
      }));
  });
});
