import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { CandidateIndex, Selecting, Store } from "@postmq/queue-store";
import { seededRandom, startRedis, withStore } from "@postmq/testing";
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

  it("pages through 20 000 of one arrival at the cost of each page, whoever leaves", () =>
    withStore(
      async ({ store, instanceName }) => {
        const key = `postmq:{${instanceName}}:q:hold`;
        const names = Array.from({ length: 20_000 }, (_, i) => `id${i}`);
        for (let at = 0; at < names.length; at += 1000) {
          await redis.cli("ZADD", key, ...names.slice(at, at + 1000).flatMap((id) => ["5000", id]));
        }
        const selecting = store.selecting();
        let [seen, pages, cursor] = [0, 0, "0 "];
        await redis.cli("CONFIG", "RESETSTAT");
        for (; cursor !== ""; pages += 1) {
          const index = { by: "queue" } as const;
          const page = await selecting.candidates({ queue: "hold", index, limit: 100, cursor });
          seen += page.seen;
          cursor = page.cursor ?? "";
          const last = cursor.split(" ")[2];
          if (pages % 2 === 0 && last !== undefined) await redis.cli("ZREM", key, last);
        }
        assert.equal(seen, 20_000);
        const calls = await callsOf(redis, "z");
        assert.ok(calls < 25 * pages, `${calls} commands for ${pages} pages`);
      },
      { redis },
    ));

  it("gives what stays once and in order, whatever comes and goes between two pages (random runs)", () =>
    withStore(
      async ({ store, instanceName }) => {
        const prefix = `postmq:{${instanceName}}`;
        const selecting = store.selecting();
        const random = seededRandom(Number(process.env["SEED"] ?? Date.now() % 1e6));
        for (let run = 0; run < 4; run += 1) {
          // Those of corrupt need no records.
          const scores = new Map<string, number>();
          const add = async (count: number) => {
            const added = Array.from({ length: count }, () => ({
              id: Array.from({ length: random.between(1, 3) }, () => random.pick(letters)).join(""),
              score: random.pick([5000, 5000, 6000, 7000.5]),
            })).filter(({ id }) => !scores.has(id));
            if (added.length === 0) return;
            for (const { id, score } of added) scores.set(id, score);
            const known = [...new Set(added.map(({ id }) => id))];
            const pairs = known.flatMap((id) => [String(scores.get(id)), id]);
            await redis.cli("ZADD", `${prefix}:q:corrupt`, ...pairs);
            await redis.cli("HSET", `${prefix}:why`, ...known.flatMap((id) => [id, "x"]));
          };
          await add(150);
          const stayed = new Set(scores.keys());
          const seen: string[] = [];
          for (let cursor: string | undefined = "0 "; cursor !== undefined;) {
            const index = { by: "queue" } as const;
            const limit = random.between(1, 12);
            const page = await selecting.candidates({ queue: "corrupt", index, limit, cursor });
            seen.push(...page.messages.map(({ id }) => id));
            ({ cursor } = page);
            // Often the very one that the cursor names.
            const gone = [...seen.slice(-1), ...[...stayed].filter(() => random.next() < 0.02)];
            if (random.next() < 0.5) {
              await redis.cli("ZREM", `${prefix}:q:corrupt`, ...gone, "nobody");
              for (const id of gone) stayed.delete(id);
            }
            if (random.next() < 0.3) await add(5);
          }
          const ordered = seen.toSorted(
            (a, b) =>
              (scores.get(a) ?? 0) - (scores.get(b) ?? 0) ||
              Buffer.compare(Buffer.from(a), Buffer.from(b)),
          );
          const about = `seed ${random.seed}, run ${run}`;
          assert.deepEqual(seen, ordered, about);
          assert.equal(new Set(seen).size, seen.length, about);
          assert.deepEqual(new Set(seen).intersection(stayed), stayed, about);
          await redis.cli("DEL", `${prefix}:q:corrupt`, `${prefix}:why`);
        }
      },
      { redis },
    ));

  it("goes on at its place though the message there came back with a later arrival", () =>
    withStore(
      async ({ store, instanceName }) => {
        const prefix = `postmq:{${instanceName}}`;
        const ids = ["a", "b", "c", "d"];
        const key = `${prefix}:q:corrupt`;
        await redis.cli("ZADD", key, ...ids.flatMap((id) => ["5000", id]));
        await redis.cli("HSET", `${prefix}:why`, ...ids.flatMap((id) => [id, "x"]));
        const page = (cursor: string) => {
          const index = { by: "queue" } as const;
          return store.selecting().candidates({ queue: "corrupt", index, limit: 2, cursor });
        };
        const first = await page("0 ");
        await redis.cli("ZADD", key, "9000", "b");
        const second = await page(first.cursor ?? "");
        const third = await page(second.cursor ?? "");
        const seen = [first, second, third].map(({ messages }) => messages.map(({ id }) => id));
        assert.deepEqual(seen, [["a", "b"], ["c", "d"], ["b"]]);
        assert.equal(third.cursor, undefined);
      },
      { redis },
    ));

  it("ends a page early where messages have many recipients, and passes over none", () =>
    withSelecting(async (store, selecting) => {
      const kept: QueueId[] = [];
      for (let i = 0; i < 15; i += 1) {
        // Of more than 1 000 domains: these stand in an index of their own.
        const recipients = Array.from({ length: 1100 }, (_, n) => `a@d${n}.example`);
        kept.push(await stored(store.intake(), { queue: "hold", recipients }));
        await stored(store.intake(), { queue: "hold", recipients: ["a@other.example"] });
      }
      for (const index of [{ by: "queue" }, { by: "domain", domain: "d7.example" }] as const) {
        const seen: QueueId[] = [];
        for (let cursor: string | undefined = "0 "; cursor !== undefined;) {
          const page = await selecting.candidates({ queue: "hold", index, limit: 200, cursor });
          const recipients = page.messages.flatMap((message) => message.recipients);
          assert.ok(recipients.length < 13_000, `${recipients.length} recipients in a page`);
          seen.push(...page.messages.map(({ id }) => id));
          ({ cursor } = page);
        }
        assert.equal(new Set(seen).size, seen.length);
        assert.equal(seen.length, index.by === "queue" ? 30 : 15);
        assert.deepEqual(new Set(seen).intersection(new Set(kept)).size, 15);
      }
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

const letters = ["a", "B", "b", "Z", "z", "0", "_"] as const;

/** Commands carried out since the figures were set to nothing, those of scripts too, whose names begin like that. */
async function callsOf(redis: RedisServer, start: string): Promise<number> {
  const lines = (await redis.cli("INFO", "commandstats")).matchAll(
    /^cmdstat_(\w+).*?calls=(\d+)/gm,
  );
  let calls = 0;
  for (const [, name = "", count] of lines) if (name.startsWith(start)) calls += Number(count);
  return calls;
}

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
