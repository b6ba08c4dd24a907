import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { firstGood, startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";

import { compileReason } from "./reason-pattern.ts";
import { selectMessages, Selector } from "./select-messages.ts";
import { slowPattern, slowReasons } from "./slow-reasons.test-support.ts";

describe("selecting messages", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withCorrupt = (
    reasons: readonly string[],
    test: (under: StoreUnderTest) => Promise<void>,
  ): Promise<void> =>
    withStore(
      async (under) => {
        const key = (name: string) => `postmq:{${under.instanceName}}:${name}`;
        const ids = reasons.map((_, i) => `id${i}`);
        await redis.cli("ZADD", key("q:corrupt"), ...ids.flatMap((id) => ["5000", id]));
        await redis.cli("HSET", key("why"), ...ids.flatMap((id, i) => [id, reasons[i] ?? ""]));
        await test(under);
      },
      { redis },
    );

  it("can be ended after any page, also where nothing is found", () =>
    withCorrupt(
      Array.from({ length: 900 }, () => "no record"),
      async ({ store }) => {
        const pages = selectMessages(store.selecting(), { queues: ["corrupt"], reason: "nothing" });
        assert.deepEqual(await pages.next(), { done: false, value: [] });
        const rest = await Array.fromAsync(pages);
        assert.deepEqual(rest, [[], [], [], []]);
      },
    ));

  it("lets others have their turn while it looks at slow patterns", () => {
    const reasons = slowReasons(60);
    return withCorrupt(reasons, async ({ store }) => {
      const selection = { queues: ["corrupt"], reason: slowPattern } as const;
      const allAtOnce = () => {
        const pattern = compileReason(slowPattern);
        return longestStall(async () => {
          for (const each of reasons) pattern.test(each);
        });
      };
      const allAtOnceMs = Math.min(await allAtOnce(), await allAtOnce(), await allAtOnce());
      const longestInPageMs = async () => {
        const selector = new Selector(store.selecting(), selection);
        let seen = 0;
        const longestMs = await longestStall(async () => {
          ({ seen } = await selector.page("corrupt"));
        });
        assert.equal(seen, 60);
        return longestMs;
      };
      const stallMs = await firstGood(5, longestInPageMs, (ms) => ms < allAtOnceMs / 3);
      assert.ok(stallMs < allAtOnceMs / 3, `${stallMs} ms, all at once ${allAtOnceMs} ms`);
    });
  });
});

/** How long nothing else could run at a stretch. */
async function longestStall(work: () => Promise<void>): Promise<number> {
  let [longestMs, lastMs, isOver] = [0, performance.now(), false];
  const look = () => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
    if (!isOver) setImmediate(look);
  };
  look();
  await work();
  isOver = true;
  look();
  return longestMs;
}
