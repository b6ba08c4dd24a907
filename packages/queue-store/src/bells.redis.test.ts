import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startRedis, waitFor } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { parseQueueId, panic } from "@postmq/vocabulary";
import { Bells } from "./bells.ts";
import { connect } from "./redis-connection.ts";

const id = parseQueueId("4cTEST1") ?? panic("test id");
const lookEveryMs = 50;
const recoveredAfterMs = 100;

describe("doorbells", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  /** Bells of an instance of their own, and what they say. */
  function open(name: string) {
    const notices: string[] = [];
    const connection = connect(redis.url, "patient", name, () => undefined);
    const note = (level: string, text: string) => notices.push(`${level} ${text}`);
    const bells = new Bells(connection, `postmq:{${name}}`, note, recoveredAfterMs);
    return {
      bells,
      notices,
      [Symbol.asyncDispose]: async () => {
        await bells[Symbol.asyncDispose]();
        connection.disconnect();
      },
    };
  }

  it("an idle listener is not taken for a stuck one", async () => {
    await using opened = open("idle");
    const options = { concurrency: 1, lookEveryMs };
    const listener = await opened.bells.listen("incoming", options, async () => undefined);
    const startMs = performance.now();
    let longestMs = 0;
    let lookedMs = startMs;
    await waitFor(() => {
      const nowMs = performance.now();
      // When this process stood still, so did the listener.
      if (nowMs - lookedMs < 5 * lookEveryMs) longestMs = Math.max(longestMs, listener.silentMs());
      lookedMs = nowMs;
      return nowMs - startMs > 60 * lookEveryMs;
    });
    assert.ok(longestMs < 40 * lookEveryMs, `silent for ${longestMs} ms`);
    await listener.close();
  });

  it("a listener that takes no ring while rings wait is silent, until it takes one", async () => {
    await using opened = open("stuck");
    const { bells } = opened;
    const release = Promise.withResolvers<undefined>();
    const options = { concurrency: 1, lookEveryMs };
    const listener = await bells.listen("incoming", options, () => release.promise);
    await bells.ring("incoming", id);
    await waitFor(() => listener.silentMs() < lookEveryMs);
    await bells.ring("incoming", id);
    await waitFor(() => listener.silentMs() > 10 * lookEveryMs);
    release.resolve(undefined);
    await waitFor(() => listener.silentMs() < 5 * lookEveryMs);
    await listener.close();
  });

  it("P9 tells once that a full Redis takes no rings, and once that it takes them again", async () => {
    await using opened = open("full");
    const { bells, notices } = opened;
    await bells.makeQueues();
    await redis.cli("CONFIG", "SET", "maxmemory", "1");
    try {
      for (let n = 0; n < 3; n += 1)
        assert.equal(await bells.tryRing(bells.ring("incoming", id)), false);
    } finally {
      await redis.cli("CONFIG", "SET", "maxmemory", "0");
    }
    await waitFor(async () => {
      assert.equal(await bells.tryRing(bells.ring("incoming", id)), true);
      return notices.length > 1;
    });
    assert.equal(notices.length, 2);
    assert.match(notices[0] ?? "", /^warning rings are lost.*OOM/);
    assert.match(notices[1] ?? "", /^info Redis takes rings again/);
  });

  it("P9 a listener whose every fetch is refused by a full Redis does not run in circles, and goes on later", async () => {
    await using opened = open("refused");
    const { bells } = opened;
    await bells.makeQueues();
    await bells.ring("incoming", id);
    await redis.cli("CONFIG", "SET", "maxmemory", "1");
    let taken = 0;
    const listener = await bells.listen("incoming", { concurrency: 1 }, async () => {
      taken += 1;
    });
    const refusals = () => opened.notices.filter((text) => text.includes("OOM")).length;
    const startMs = performance.now();
    await waitFor(() => refusals() >= 2);
    await waitFor(() => performance.now() - startMs > 1500);
    assert.ok(refusals() < 20, `${refusals()} refused fetches`);
    await redis.cli("CONFIG", "SET", "maxmemory", "0");
    await waitFor(() => taken === 1);
    await listener.close();
  });

  it("does not take a bug for a lost ring", async () => {
    await using opened = open("bug");
    const ring = Promise.reject(new TypeError("a bug"));
    await assert.rejects(opened.bells.tryRing(ring), TypeError);
  });
});
