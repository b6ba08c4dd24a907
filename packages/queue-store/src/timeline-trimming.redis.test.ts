import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { assertConsistent, stored } from "./store.test-support.ts";

const kb = 1024;
const weekMs = 7 * 86_400_000;

/** Adds that many entries of 1 KB, each with an id of its own, from that moment on. */
const fill = `
  for i = 1, tonumber(ARGV[1]) do
    redis.call('XADD', KEYS[1], ARGV[2] .. '-' .. i, 'e', 'v\\tdeferred\\t' .. string.rep('x', 1000) .. '\\tid' .. i)
  end
  return 1`;

describe("trimming the timelines", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ appendfsync: "no" });
  });
  after(() => redis.stop());

  const key = ({ instanceName }: StoreUnderTest) => `postmq:{${instanceName}}:timeline`;
  const size = async (under: StoreUnderTest) =>
    Number(await under.redis.cli("MEMORY", "USAGE", key(under), "SAMPLES", "0"));
  const length = async (under: StoreUnderTest) => Number(await under.redis.cli("XLEN", key(under)));
  /** As the start of another daemon, once those that looked lately are forgotten. */
  const look = async (under: StoreUnderTest, mostBytes: number, retentionMs: number) => {
    await under.redis.cli("DEL", `${key(under)}:seen`);
    await using _daemon = await under.openAnother({ timelines: { mostBytes, retentionMs } });
  };

  it("takes the oldest away until all of them fit in event_memory, in steps", () =>
    withStore(
      async (under) => {
        await look(under, 1024 * kb, weekMs);
        const nowMs = Math.floor(under.store.clock.nowMs());
        await under.redis.cli("EVAL", fill, "1", key(under), "12000", String(nowMs + 1000));
        assert.ok((await size(under)) > 10_000 * kb);
        await look(under, 1024 * kb, weekMs);
        const left = await length(under);
        assert.ok((await size(under)) <= 1024 * kb);
        assert.ok(left > 500, `${left} are left`);
        const newest = await under.redis.cli("XREVRANGE", key(under), "+", "-", "COUNT", "1");
        assert.match(newest, /id12000/);
      },
      { redis },
    ));

  it("takes away what is older than event_retention", () =>
    withStore(
      async (under) => {
        const nowMs = Math.floor(under.store.clock.nowMs());
        await under.redis.cli("EVAL", fill, "1", key(under), "1000", String(nowMs - 7_200_000));
        await under.redis.cli("EVAL", fill, "1", key(under), "1000", String(nowMs));
        await look(under, 64 * 1024 * kb, 3_600_000);
        const left = await length(under);
        // The last node of the old ones may hold some new.
        assert.ok(left >= 1000 && left < 1100, `${left} are left`);
      },
      { redis },
    ));

  it("does away with them when event_memory is 0, and then nothing is written", () =>
    withStore(
      async (under) => {
        await look(under, 1024 * kb, weekMs);
        const id = await stored(under.store.intake());
        assert.equal((await under.store.timelines().timeline(id)).length, 1);
        await look(under, 0, weekMs);
        await stored(under.store.intake());
        assert.equal(await under.redis.cli("EXISTS", key(under)), "0");
        assert.deepEqual(await under.store.timelines().timeline(id), []);
      },
      { redis },
    ));

  it("goes on by itself while daemons run, and makes anew what somebody deleted", () =>
    withStore(
      async (under) => {
        const options = { timelines: { mostBytes: 64 * kb, retentionMs: weekMs } };
        await using _one = await under.openAnother(options);
        await using _other = await under.openAnother(options);
        await under.redis.cli("DEL", key(under));
        await waitFor(async () => (await under.redis.cli("EXISTS", key(under))) === "1");
      },
      { redis },
    ));

  it("P9 leaves them no more than an eighth of maxmemory", () =>
    withStore(
      async (under) => {
        await look(under, 64 * 1024 * kb, weekMs);
        const nowMs = String(Math.floor(under.store.clock.nowMs()) + 1000);
        await under.redis.cli("EVAL", fill, "1", key(under), "8000", nowMs);
        await under.redis.cli("CONFIG", "SET", "maxmemory", "40mb");
        await look(under, 64 * 1024 * kb, weekMs);
        await under.redis.cli("CONFIG", "SET", "maxmemory", "0");
        const bytes = await size(under);
        assert.ok(bytes > 4096 * kb && bytes <= 5 * 1024 * kb, `${bytes} bytes`);
      },
      { redis },
    ));

  it("P9 rubbish in its place fails no mail", () =>
    withStore(
      async (under) => {
        await under.redis.cli("SET", key(under), "rubbish");
        await look(under, 1024 * kb, weekMs);
        await stored(under.store.intake());
        await assertConsistent(under);
      },
      { redis },
    ));
});
