import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Operations, TakenOperation } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { Redis } from "ioredis";

/** Longer than anybody waits here. */
const holdMs = 600_000;

describe("operations", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const withOperations = (test: (operations: Operations, under: StoreUnderTest) => Promise<void>) =>
    withStore((under) => test(under.store.operations(), under), { redis });

  const take = async (operations: Operations): Promise<TakenOperation> =>
    (await operations.take(holdMs)) ?? assert.fail("there is nothing to take");

  it("are kept as they were created, run, saved and ended", () =>
    withOperations(async (operations, { instanceName }) => {
      assert.equal(await operations.create({ id: "a1", task: '{"do":"it"}' }), "created");
      assert.equal(await operations.create({ id: "a1", task: "again" }), "created");
      const created = await operations.read("a1");
      assert.partialDeepStrictEqual(created, {
        state: "running",
        task: '{"do":"it"}',
        progress: "",
        takes: 0,
      });
      const taken = await take(operations);
      assert.equal(taken.id, "a1");
      assert.equal(await operations.save(taken, { progress: "half", holdMs }), "saved");
      const end = { progress: "all", holdMs, end: "done" } as const;
      assert.equal(await operations.save(taken, end), "saved");
      assert.equal(await operations.save(taken, end), "saved", "an answer was lost");
      assert.equal(await operations.save(taken, { progress: "late", holdMs }), "lost");
      assert.partialDeepStrictEqual(await operations.read("a1"), {
        state: "done",
        progress: "all",
      });
      assert.equal(await operations.take(holdMs), undefined);
      assert.equal(await operations.cancel("a1"), false);
      const client = new Redis(redis.url);
      const ttl = await client.pttl(`postmq:{${instanceName}}:op:a1`);
      assert.ok(ttl > 6 * 86_400_000, "it is forgotten after a week");
      client.disconnect();
    }));

  it("are held by one at a time, and taken by another when that one was silent too long", () =>
    withOperations(async (operations, { openAnother }) => {
      const others = (await openAnother()).operations();
      await operations.create({ id: "a1", task: "x" });
      const first = await take(operations);
      assert.equal(await others.take(holdMs), undefined);
      await operations.save(first, { progress: "mine", holdMs: 300 });
      let second: TakenOperation | undefined;
      await waitFor(async () => {
        second = await others.take(holdMs);
        return second !== undefined;
      });
      assert.ok(second !== undefined);
      assert.partialDeepStrictEqual(second, {
        id: "a1",
        progress: "mine",
        takes: 2,
        takesInVain: 1,
      });
      assert.equal(await operations.save(first, { progress: "old", holdMs }), "lost");
      assert.equal(await operations.save(first, { progress: "", holdMs, end: "done" }), "lost");
      assert.partialDeepStrictEqual(await operations.read("a1"), {
        progress: "mine",
        state: "running",
      });
      assert.equal(await others.save(second, { progress: "new", holdMs }), "saved");
    }));

  it("are never had by two that ask at once", () =>
    withOperations(async (operations, { openAnother }) => {
      const others = (await openAnother()).operations();
      for (const id of ["a", "b", "c"]) await operations.create({ id, task: "x" });
      const taken = await Promise.all(
        Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? operations : others).take(holdMs)),
      );
      const ids = taken.flatMap((each) => (each === undefined ? [] : [each.id]));
      assert.deepEqual(ids.toSorted(), ["a", "b", "c"]);
    }));

  it("given back are had at once by another", () =>
    withOperations(async (operations, { openAnother }) => {
      await operations.create({ id: "a1", task: "x" });
      const first = await take(operations);
      assert.equal(await operations.save(first, { progress: "half", holdMs: 0 }), "saved");
      assert.equal(await operations.save(first, { progress: "late", holdMs }), "lost");
      const second = await take((await openAnother()).operations());
      assert.equal(second.progress, "half");
    }));

  it("that are to be cancelled say so at the next save, or to who takes them", () =>
    withOperations(async (operations) => {
      await operations.create({ id: "a1", task: "x" });
      const taken = await take(operations);
      assert.equal(await operations.cancel("a1"), true);
      assert.equal(await operations.cancel("a1"), true);
      assert.equal(await operations.save(taken, { progress: "p", holdMs: 0 }), "cancelling");
      const again = await take(operations);
      assert.equal(again.state, "cancelling");
      assert.equal(
        await operations.save(again, { progress: "p", holdMs, end: "cancelled" }),
        "saved",
      );
      assert.equal((await operations.read("a1"))?.state, "cancelled");
      assert.equal(await operations.cancel("nosuch"), false);
      assert.equal(await operations.cancel("../m:x"), false);
      assert.equal(await operations.read("{x}:*"), undefined);
    }));

  it("tell of Redis's trouble as of the store's", () =>
    withOperations(async (operations, { instanceName }) => {
      for (const name of ["op:a1", "ops"]) {
        await redis.cli("SET", `postmq:{${instanceName}}:${name}`, "rubbish");
      }
      const trouble = { code: "PMQ_STORE_NO_REPLY" };
      await assert.rejects(operations.read("a1"), trouble);
      await assert.rejects(operations.listOperations({ limit: 1 }), trouble);
    }));

  it("fault 19: are not created or cancelled later, when Redis is back", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        const operations = store.operations();
        await operations.create({ id: "a1", task: "x" });
        await own.kill9();
        const trouble = { code: /^PMQ_STORE_(UNREACHABLE|NO_REPLY)$/ };
        await assert.rejects(operations.create({ id: "a2", task: "x" }), trouble);
        await assert.rejects(operations.cancel("a1"), trouble);
        await own.restart();
        const { operations: kept } = await operations.listOperations({ limit: 9 });
        assert.deepEqual(
          kept.map(({ id, state }) => [id, state]),
          [["a1", "running"]],
        );
        assert.equal(await operations.create({ id: "a3", task: "x" }), "created");
      },
      { redis: own },
    );
  });

  it("are listed the newest first, page by page, and passed over when they are gone", () =>
    withOperations(async (operations, { instanceName }) => {
      const ids = Array.from({ length: 7 }, (_, n) => `0${n}-x`);
      for (const id of ids) await operations.create({ id, task: "x" });
      const client = new Redis(redis.url);
      await client.del(`postmq:{${instanceName}}:op:03-x`);
      client.disconnect();
      const seen: string[] = [];
      for (let cursor: string | undefined = ""; cursor !== undefined;) {
        const page = await operations.listOperations({
          limit: 3,
          ...(cursor === "" ? {} : { cursor }),
        });
        seen.push(...page.operations.map(({ id }) => id));
        ({ cursor } = page);
      }
      assert.deepEqual(seen, ids.filter((id) => id !== "03-x").toReversed());
      assert.equal((await take(operations)).id, "00-x");
    }));

  it("are refused when 100 have not ended; ended ones give way to new ones", () =>
    withOperations(async (operations) => {
      const id = (n: number) => `n${String(n).padStart(4, "0")}`;
      const create = (from: number, count: number) =>
        Promise.all(
          Array.from({ length: count }, (_, n) =>
            operations.create({ id: id(from + n), task: "x" }),
          ),
        );
      assert.ok((await create(0, 100)).every((answer) => answer === "created"));
      assert.equal(await operations.create({ id: id(100), task: "x" }), "many");
      assert.equal(await operations.read(id(100)), undefined);
      for (let n = 100; n < 620; n += 20) {
        const taken = await Promise.all(Array.from({ length: 20 }, () => take(operations)));
        const end = { progress: "", holdMs, end: "done" } as const;
        await Promise.all(taken.map((each) => operations.save(each, end)));
        assert.ok((await create(n, 20)).every((answer) => answer === "created"));
      }
      const { operations: listed } = await operations.listOperations({ limit: 1_000 });
      assert.equal(listed.length, 500);
      assert.equal(listed[0]?.id, id(619));
    }));
});
