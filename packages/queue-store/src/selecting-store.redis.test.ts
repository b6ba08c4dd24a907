import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { CandidateIndex, Selecting, Store } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { stored } from "./store.test-support.ts";
import type { Wanted } from "./store.test-support.ts";

describe("selecting candidates", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withSelecting = (test: (store: Store, selecting: Selecting) => Promise<void>) =>
    withStore(({ store }) => test(store, store.selecting()), { redis });

  it("finds messages by queue, sender, sender's domain and recipients' domain", () =>
    withSelecting(async (store, selecting) => {
      const intake = store.intake();
      const keep = (wanted: Wanted) => stored(intake, { queue: "hold", ...wanted });
      const a = await keep({ sender: "Joe@One.example", recipients: ["x@far.example"] });
      const b = await keep({ sender: "joe@one.example", recipients: ["x@near.example"] });
      const c = await keep({ sender: "", recipients: ["x@far.example", "y@FAR.example"] });
      const incoming = await stored(intake, { sender: "Joe@one.example" });
      const ids = (index: CandidateIndex, queue: MessageQueue = "hold") =>
        all(selecting, queue, index);
      assert.deepEqual(await ids({ by: "queue" }), [a, b, c]);
      assert.deepEqual(await ids({ by: "sender", sender: "Joe@ONE.example" }), [a]);
      assert.deepEqual(await ids({ by: "sender", sender: "Joe@one.example" }, "incoming"), [
        incoming,
      ]);
      assert.deepEqual(await ids({ by: "sender", sender: "" }), [c]);
      assert.deepEqual(await ids({ by: "senderDomain", domain: "one.example" }), [a, b]);
      assert.deepEqual(await ids({ by: "domain", domain: "far.example" }), [a, c]);
      assert.deepEqual(await ids({ by: "domain", domain: "nowhere.example" }), []);
      const count = (index: CandidateIndex) => selecting.countCandidates("hold", index);
      assert.equal(await count({ by: "queue" }), 3);
      assert.equal(await count({ by: "domain", domain: "far.example" }), 2);
      // What was looked at for it, other queues' entries too.
      const bySender = { by: "sender", sender: "Joe@one.example" } as const;
      const page = await selecting.candidates({ queue: "hold", index: bySender, limit: 9 });
      assert.deepEqual([page.messages.length, page.seen], [1, 2]);
    }));

  it("tells of Redis's trouble as of the store's", () =>
    withStore(
      async ({ store, instanceName }) => {
        await redis.cli("SET", `postmq:{${instanceName}}:q:hold`, "rubbish");
        const counting = store.selecting().countCandidates("hold", { by: "queue" });
        await assert.rejects(counting, { code: "PMQ_STORE_NO_REPLY" });
      },
      { redis },
    ));

  it("finds a message of more than 1 000 domains by any of them", () =>
    withSelecting(async (store, selecting) => {
      const recipients = Array.from({ length: 1200 }, (_, i) => `a@d${i}.example`);
      const large = await stored(store.intake(), { queue: "hold", recipients });
      const small = await stored(store.intake(), { queue: "hold", recipients: ["a@d7.example"] });
      const of = (domain: string) => all(selecting, "hold", { by: "domain", domain });
      assert.deepEqual(await of("d7.example"), [small, large]);
      assert.deepEqual(await of("d1199.example"), [large]);
      assert.deepEqual(await of("d1200.example"), []);
      const index = { by: "domain", domain: "d1200.example" } as const;
      const page = await selecting.candidates({ queue: "hold", index, limit: 9, cursor: "1 " });
      assert.deepEqual(page, { messages: [], seen: 1 });
    }));

  it("never reads what is outside the ages, both bounds included", () =>
    withSelecting(async (store, selecting) => {
      const kept: QueueId[] = [];
      for (const arrivalMs of [1000, 2000, 3000]) kept.push(await arrived(store, arrivalMs));
      const bounds = { arrivedFromMs: 2000, arrivedToMs: 2000 };
      const page = await selecting.candidates({
        queue: "hold",
        index: { by: "queue" },
        ...bounds,
        limit: 10,
      });
      assert.deepEqual(
        page.messages.map(({ id }) => id),
        [kept[1]],
      );
      assert.equal(await selecting.countCandidates("hold", { by: "queue" }, bounds), 1);
    }));

  it("pages through equal arrivals and past what leaves, each seen once", () =>
    withSelecting(async (store, selecting) => {
      const kept = await Promise.all(Array.from({ length: 25 }, () => arrived(store, 5000)));
      const seen: QueueId[] = [];
      for (let cursor: string | undefined = ""; cursor !== undefined;) {
        const page = await selecting.candidates({
          queue: "hold",
          index: { by: "queue" },
          limit: 4,
          ...(cursor === "" ? {} : { cursor }),
        });
        seen.push(...page.messages.map(({ id }) => id));
        await store.acting().act("delete", seen.slice(-2));
        cursor = page.cursor;
      }
      assert.deepEqual(seen.toSorted(), kept.toSorted());
    }));

  it("takes no cursor that no page gave", () =>
    withSelecting(async (_store, selecting) => {
      for (const cursor of ["", "x", "1 ", "0 (1 A", "0 +inf A", "0 1 A B", "9 1 A"]) {
        const options = { queue: "hold", index: { by: "queue" }, limit: 1, cursor } as const;
        await assert.rejects(selecting.candidates(options), { code: "PMQ_USAGE" }, cursor);
      }
    }));

  it("reads messages by id, and recipients beyond those of a listing", () =>
    withSelecting(async (store, selecting) => {
      const recipients = Array.from({ length: 2500 }, (_, i) => `a${i}@example.com`);
      const id = await stored(store.intake(), { queue: "hold", recipients });
      const gone = store.intake().newId();
      const [message, ...others] = await selecting.messages([gone, id]);
      assert.deepEqual([message?.id, message?.recipients.length, others.length], [id, 1000, 0]);
      const rest: string[] = [];
      for await (const some of selecting.undoneRecipients(id, 1000))
        rest.push(...some.map(({ address }) => address));
      assert.deepEqual(rest, recipients.slice(1000));
      assert.deepEqual(await Array.fromAsync(selecting.undoneRecipients(gone, 0)), []);
    }));
});

async function all(
  selecting: Selecting,
  queue: MessageQueue,
  index: CandidateIndex,
): Promise<readonly QueueId[]> {
  const found: QueueId[] = [];
  let cursor: string | undefined;
  do {
    const page = await selecting.candidates({
      queue,
      index,
      limit: 2,
      ...(cursor === undefined ? {} : { cursor }),
    });
    found.push(...page.messages.map(({ id }) => id));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

async function arrived(store: Store, arrivalMs: number): Promise<QueueId> {
  const intake = store.intake();
  const id = intake.newId();
  const writer = intake.openContent(id);
  await intake.commit({
    id,
    queue: "hold",
    envelope: { sender: "a@b.example", origin: "smtp" },
    recipients: [{ address: "to@example.com" }],
    content: await writer.finish(),
    arrivalMs,
  });
  return id;
}
