import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { Store } from "@postmq/queue-store";
import { FakeSmtpServer, startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StageEvent, StoreUnderTest } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(async () => {
  await redis[Symbol.asyncDispose]();
});

const onRedis = (test: (under: StoreUnderTest) => Promise<void>) => () =>
  withStore(test, { redis });

/** A worker with a store's tokens. */
async function worker(store: Store, limit: number, env: Readonly<Record<string, string>> = {}) {
  const { connections } = await store.delivering({ concurrency: 100 });
  return await startWorker(
    { POSTMQ_DEFAULT_DESTINATION_CONCURRENCY_LIMIT: String(limit), ...env },
    { connections },
  );
}

describe("connections of several workers", () => {
  it(
    "P7: are never more than the limit, idle ones included, though each worker wants more",
    onRedis(async (under) => {
      const limit = 3;
      await using server = await FakeSmtpServer.start({
        decide: ({ stage }) => (stage === "dot" ? { delayMs: 5 } : undefined),
      });
      const workers = await Promise.all(
        [1, 2, 3].map(async () => await worker(await under.openAnother(), limit)),
      );
      for (let round = 0; round < 3; round += 1) {
        const sent = 24 * round;
        let left = Array.from({ length: 24 }, (_, at) => sent + at);
        while (left.length > 0) {
          await Promise.all(
            left.map(async (number) =>
              workers[number % 3]?.serve(request(number, server.relayhost)),
            ),
          );
          // One that finds no place for 3 s is put back, on a slow machine.
          const arrived = new Set(server.messages.flatMap(({ recipients }) => recipients));
          left = left.filter((number) => !arrived.has(`user${number}@example.net`));
        }
        assert.equal(server.messages.length, sent + 24);
      }
      assert.ok(server.mostConnections <= limit, `${server.mostConnections} were open at once`);
      assert.ok(workers.some((each) => each.worker.cache.size > 0));
      for (const each of workers) await each[Symbol.asyncDispose]();
    }),
  );

  it(
    "P7: one that is idle is closed for a worker that has none",
    onRedis(async (under) => {
      await using server = await FakeSmtpServer.start();
      await using one = await worker(under.store, 1, {
        POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s",
      });
      await using other = await worker(await under.openAnother(), 1);
      await one.serve(request(1, server.relayhost));
      assert.equal(one.worker.cache.size, 1);
      await other.serve(request(2, server.relayhost));
      assert.equal(server.messages.length, 2);
      assert.equal(server.mostConnections, 1);
      assert.equal(one.worker.cache.size, 0);
    }),
  );

  it(
    "an attempt that goes on to another server has one at a time if there is only one place",
    onRedis(async (under) => {
      const greylists = ({ stage, recipient }: StageEvent) =>
        stage === "rcpt" && recipient.startsWith("grey")
          ? { reply: "450 4.2.0 greylisted" }
          : undefined;
      await using first = await FakeSmtpServer.start({ decide: greylists });
      await using second = await FakeSmtpServer.start();
      await using test = await worker(under.store, 1);
      let most = 0;
      second.decide = ({ stage }) => {
        if (stage === "greeting") most = first.openConnections;
        return undefined;
      };
      const to = ["grey@example.net", "white@example.net"];
      await test.serve(request(1, `${first.relayhost}, ${second.relayhost}`, { to }));
      assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0", "1 sent 2.0.0"]);
      assert.equal(most, 0);
    }),
  );

  it(
    "S16: two workers that each want the recipient whom the other has just served don't wait for each other",
    onRedis(async (under) => {
      await using server = await FakeSmtpServer.start();
      const perRecipient = {
        POSTMQ_DEFAULT_DESTINATION_RECIPIENT_LIMIT: "1",
        POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s",
      };
      await using one = await worker(under.store, 1, perRecipient);
      await using other = await worker(await under.openAnother(), 1, perRecipient);
      const to = (address: string, number: number) =>
        request(number, server.relayhost, { to: [address] });
      await Promise.all([one.serve(to("a@x.example", 1)), other.serve(to("b@x.example", 2))]);
      const startMs = performance.now();
      await Promise.all([one.serve(to("b@x.example", 3)), other.serve(to("a@x.example", 4))]);
      // Less than the 3 s after which one that waits is put back.
      assert.ok(performance.now() - startMs < 2_900);
      assert.equal(server.messages.length, 4);
      assert.equal(server.totalConnections, 2);
    }),
  );

  it(
    "D25: the first server's connection is kept while another is tried, if there is room",
    onRedis(async (under) => {
      await using first = await FakeSmtpServer.start({
        decide: ({ stage }) => (stage === "rcpt" ? { reply: "450 4.2.0 greylisted" } : undefined),
      });
      await using second = await FakeSmtpServer.start();
      await using test = await worker(under.store, 2, {
        POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s",
      });
      await test.serve(request(1, `${first.relayhost}, ${second.relayhost}`));
      assert.equal(second.messages.length, 1);
      assert.equal(first.openConnections, 1);
    }),
  );

  it(
    "P10: a worker that drains does not wait for a place",
    onRedis(async (under) => {
      const over = Promise.withResolvers<void>();
      await using server = await FakeSmtpServer.start({
        decide: async ({ stage }) => {
          // Who does wait gets the place in the end, and delivers.
          if (stage === "dot") await Promise.race([over.promise, sleep(20_000)]);
          return undefined;
        },
      });
      await using one = await worker(under.store, 1);
      const other = await worker(await under.openAnother(), 1);
      const running = one.serve(request(1, server.relayhost));
      await waitFor(() => server.messages.length === 1);
      const waiting = other.serve(request(2, server.relayhost));
      await waitFor(() => other.delivering.calls.length === 1);
      other.draining.abort();
      await waiting;
      over.resolve();
      assert.equal(other.delivering.onlyEnd.end, "putBack");
      await running;
      assert.equal(server.mostConnections, 1);
      await other[Symbol.asyncDispose]();
    }),
  );
});
