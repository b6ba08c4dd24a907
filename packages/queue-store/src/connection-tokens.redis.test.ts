import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { after, before, describe, it } from "node:test";
import { Redis } from "ioredis";
import type { ConnectionToken, ConnectionTokens, Store } from "@postmq/queue-store";
import { firstGood, seededRandom, startRedis, TcpProxy, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";

const heartbeatMs = 1_000;
const name = "smtp:example.com";
const never = new AbortController().signal;

async function tokensOf(store: Store): Promise<ConnectionTokens> {
  return (await store.delivering({ concurrency: 100 })).connections;
}

async function taken(tokens: ConnectionTokens, limit: number): Promise<ConnectionToken> {
  const token = await tokens.take({ name, limit, signal: never });
  assert.ok(token !== undefined, "no token came free");
  return token;
}

/** The hash of tokens in Redis. */
async function keyOf({ redis, instanceName }: StoreUnderTest): Promise<string> {
  return await redis.cli("KEYS", `postmq:{${instanceName}}:ct:*`);
}

/** Tokens held, over all workers. */
async function heldIn(under: StoreUnderTest): Promise<number> {
  const key = await keyOf(under);
  return key === "" ? 0 : Number(await under.redis.cli("HLEN", key));
}

/** Listens for who is told, by name of the worker, that a token is free. */
async function listenForWakings({ redis, instanceName }: StoreUnderTest) {
  const client = new Redis(redis.url);
  const workers: string[] = [];
  const channels = `postmq:{${instanceName}}:ask:`;
  client.on("pmessage", (_pattern: string, channel: string, text: string) => {
    if (text.startsWith("free ")) workers.push(channel.slice(channels.length));
  });
  // The braces of the name are no pattern's.
  await client.psubscribe(`${channels}*`);
  return { workers, [Symbol.dispose]: () => client.disconnect() };
}

describe("connection tokens", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    await redis[Symbol.asyncDispose]();
  });
  const onRedis = (test: (under: StoreUnderTest) => Promise<void>) => () =>
    withStore(test, { redis, store: { heartbeatMs } });

  it(
    "P7: are no more than the limit over all workers; who gets none is told so after some 3 s",
    onRedis(async (under) => {
      const one = await tokensOf(under.store);
      const other = await tokensOf(await under.openAnother());
      await taken(one, 2);
      await taken(other, 2);
      const startMs = performance.now();
      assert.equal(await other.take({ name, limit: 2, signal: never }), undefined);
      assert.ok(performance.now() - startMs > 2_500);
      assert.equal(await heldIn(under), 2);
      assert.equal(await under.redis.cli("KEYS", `postmq:{${under.instanceName}}:cw:*`), "");
    }),
  );

  it(
    "cost nothing without a limit",
    onRedis(async (under) => {
      const tokens = await tokensOf(under.store);
      using token = await taken(tokens, 0);
      assert.equal(token.name, name);
      assert.equal(await heldIn(under), 0);
    }),
  );

  it(
    "share scripts when many are taken or given back at once",
    onRedis(async (under) => {
      const tokens = await tokensOf(under.store);
      const scripts = async () => {
        const stats = await redis.cli("INFO", "commandstats");
        return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
      };
      await taken(tokens, 1_000);
      const before = await scripts();
      const startMs = performance.now();
      const held = await Promise.all(Array.from({ length: 100 }, () => taken(tokens, 1_000)));
      for (const token of held) token[Symbol.dispose]();
      await waitFor(async () => (await heldIn(under)) === 1);
      const beats = (performance.now() - startMs) / (heartbeatMs / 5);
      assert.ok((await scripts()) - before < 15 + beats);
    }),
  );

  it(
    "wake the one who waits longest when one is given back",
    onRedis(async (under) => {
      const one = await tokensOf(under.store);
      const { worker, connections: other } = await (
        await under.openAnother()
      ).delivering({ concurrency: 100 });
      using wakings = await listenForWakings(under);
      const waits = async (tokens: ConnectionTokens) => {
        const token = await tokens.take({ name, limit: 1, signal: never });
        token?.[Symbol.dispose]();
      };
      const waiting = async () => {
        const key = await under.redis.cli("KEYS", `postmq:{${under.instanceName}}:cw:*`);
        return key === "" ? 0 : Number(await under.redis.cli("ZCARD", key));
      };
      const round = async () => {
        const first = await taken(one, 1);
        const a = waits(other);
        await waitFor(async () => (await waiting()) === 1);
        const b = waits(one);
        await waitFor(async () => (await waiting()) === 2);
        wakings.workers.length = 0;
        first[Symbol.dispose]();
        // Disposing of it again gives back nobody else's.
        first[Symbol.dispose]();
        await Promise.all([a, b]);
        await waitFor(async () => (await heldIn(under)) === 0);
        return wakings.workers[0];
      };
      // On a busy machine one of the two may have had the token, or tired of waiting, by itself.
      assert.equal(await firstGood(5, round, (woken) => woken === worker), worker);
    }),
  );

  it(
    "ask those who hold some to close an idle connection, one after the other and then more of them",
    onRedis(async (under) => {
      const asked: string[] = [];
      const workers = await Promise.all(
        ["a", "b", "c"].map(async (who) => {
          const tokens = await tokensOf(await under.openAnother());
          const token = await taken(tokens, 3);
          tokens.onAsked = (wanted) => {
            asked.push(`${who} ${wanted}`);
            // Only one of them has an idle one.
            if (who === "b") token[Symbol.dispose]();
          };
          return token;
        }),
      );
      const tokens = await tokensOf(under.store);
      const startMs = performance.now();
      using mine = await taken(tokens, 3);
      const tookMs = performance.now() - startMs;
      assert.equal(mine.name, name);
      assert.ok(asked.includes(`b ${name}`));
      // One at once, two after 20 ms, all three after 60, and again after 140.
      assert.ok(asked.length <= 7 || tookMs > 100, asked.join());
      for (const token of workers) token[Symbol.dispose]();
    }),
  );

  it(
    "are told of as asked for while somebody waits, so that one that falls idle is closed",
    onRedis(async (under) => {
      const one = await tokensOf(under.store);
      const other = await tokensOf(await under.openAnother());
      const busy = await taken(one, 1);
      assert.equal(await one.isAskedFor(name), false);
      const waiting = taken(other, 1);
      await waitFor(() => one.isAskedFor(name));
      busy[Symbol.dispose]();
      using _token = await waiting;
      assert.equal(await one.isAskedFor(name), false);
    }),
  );

  it(
    "ask the asker too",
    onRedis(async (under) => {
      const tokens = await tokensOf(under.store);
      const idle = await taken(tokens, 1);
      tokens.onAsked = (wanted) => {
        assert.equal(wanted, name);
        idle[Symbol.dispose]();
      };
      await taken(tokens, 1);
    }),
  );

  it(
    "of one destination are nothing to another",
    onRedis(async (under) => {
      const tokens = await tokensOf(under.store);
      await taken(tokens, 1);
      const other = await tokens.take({ name: "smtp:example.net", limit: 1, signal: never });
      assert.equal(other?.name, "smtp:example.net");
    }),
  );

  it(
    "of a worker that died fall with its claims, not sooner",
    onRedis(async (under) => {
      const tokens = await tokensOf(under.store);
      (await taken(tokens, 1))[Symbol.dispose]();
      await taken(tokens, 2);
      const key = await keyOf(under);
      const prefix = `postmq:{${under.instanceName}}`;
      // One that the leader still lists, and one that it has forgotten.
      for (const [worker, limit] of [
        ["listed.1", 2],
        ["forgotten.1", 3],
      ] as const) {
        if (worker === "listed.1") await redis.cli("HSET", `${prefix}:workers`, worker, "1");
        await redis.cli("HSET", key, `${worker}/7`, "1", `${worker}/8`, "1");
        const startMs = performance.now();
        await taken(tokens, limit);
        const waitedMs = performance.now() - startMs;
        assert.ok(waitedMs >= heartbeatMs - 100, `${worker}: granted after ${waitedMs} ms`);
        assert.equal(await redis.cli("HEXISTS", key, `${worker}/7`), "0");
      }
      assert.equal(await redis.cli("HKEYS", `${prefix}:gone`), "listed.1");
    }),
  );

  it(
    "are no longer waited for once the signal fires, and one that comes too late goes back",
    onRedis(async (under) => {
      const tokens = await tokensOf(under.store);
      const stop = new AbortController();
      const late = tokens.take({ name, limit: 1, signal: stop.signal });
      stop.abort();
      assert.equal(await late, undefined);
      assert.equal(await tokens.take({ name, limit: 1, signal: stop.signal }), undefined);
      const held = await taken(tokens, 1);
      const drain = new AbortController();
      const waiting = tokens.take({ name, limit: 1, signal: drain.signal });
      await turn();
      drain.abort();
      assert.equal(await waiting, undefined);
      held[Symbol.dispose]();
      await waitFor(async () => (await heldIn(under)) === 0);
    }),
  );

  it(
    "all go when their process ends",
    onRedis(async (under) => {
      const other = await under.openAnother();
      const tokens = await tokensOf(other);
      await Promise.all([1, 2, 3].map(() => taken(tokens, 3)));
      assert.equal(await heldIn(under), 3);
      await other[Symbol.asyncDispose]();
      assert.equal(await heldIn(under), 0);
    }),
  );

  it("wait for Redis to come back, and so do those that are given back", async () => {
    await withStore(
      async (under) => {
        const one = await tokensOf(under.store);
        const other = await tokensOf(await under.openAnother());
        const held = await taken(one, 1);
        await under.redis.kill9();
        held[Symbol.dispose]();
        const waiting = taken(other, 1);
        await under.redis.restart();
        using token = await waiting;
        assert.equal(token.name, name);
        assert.equal(await heldIn(under), 1);
      },
      { store: { heartbeatMs: 10_000 } },
    );
  });

  it(
    "can be closed while they subscribe anew, after the connection was lost",
    onRedis(async (under) => {
      await using proxy = await TcpProxy.start(redis.port);
      const redisUrl = `redis://127.0.0.1:${proxy.port}`;
      const store = await under.openAnother({ redisUrl });
      await tokensOf(store);
      await waitFor(async () =>
        (await redis.cli("PUBSUB", "CHANNELS")).includes(under.instanceName),
      );
      let isAsking = false;
      void proxy.hangAt("subscribe").then(() => (isAsking = true));
      proxy.cut();
      await waitFor(() => isAsking, { describe: "a subscription" });
      // A subscription that fails unheard would end the process, and here the test.
      await store[Symbol.asyncDispose]();
      await waitFor(() => proxy.openConnections === 0);
      await turn();
    }),
  );

  it(
    "P7: are never more than the limit, in any order of events, and everybody is served in the end",
    onRedis(async (under) => {
      const seed = randomInt(2 ** 31);
      const random = seededRandom(seed);
      const limit = random.between(1, 7);
      let open = 0;
      let most = 0;
      let served = 0;
      const worker = async () => {
        const tokens = await tokensOf(await under.openAnother());
        // A worker's connections: in use, or idle and closed when asked.
        const idle: ConnectionToken[] = [];
        const close = (token: ConnectionToken) => {
          open -= 1;
          token[Symbol.dispose]();
        };
        tokens.onAsked = () => {
          const token = idle.shift();
          if (token !== undefined) close(token);
        };
        const lane = async () => {
          for (let jobs = random.between(10, 30); jobs > 0; jobs -= 1) {
            let token = idle.pop();
            if (token === undefined) {
              // Who has waited for 3 s in vain comes again, as a request that is put back does.
              while (token === undefined) token = await tokens.take({ name, limit, signal: never });
              open += 1;
              most = Math.max(most, open);
            }
            for (let turns = random.between(0, 20); turns > 0; turns -= 1) await turn();
            served += 1;
            if (random.next() < 0.5) close(token);
            else {
              idle.push(token);
              if (await tokens.isAskedFor(name)) tokens.onAsked(name);
            }
          }
        };
        await Promise.all([lane(), lane(), lane()]);
      };
      await Promise.all([worker(), worker(), worker(), worker()]);
      assert.ok(most <= limit, `seed ${seed}: ${most} open with a limit of ${limit}`);
      assert.ok(served >= 120, `seed ${seed}`);
    }),
  );
});
