/**
 * What operators do with very many messages in the queue, while mail flows: steps are short, indexes agree, memory is
 * bounded. `npm run bench:million` tells the rates; here is what must hold on any machine.
 *
 * How long a step holds Redis is measured by the processor time of Redis's main thread while nobody else uses it: the
 * clock, and so the SLOWLOG, also counts how long a busy machine let Redis wait.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { checkInstance, openStore } from "@postmq/queue-store";
import type { Act, Store, WalkStep } from "@postmq/queue-store";
import { FakeSmtpServer, startPostmq, startRedis, waitFor } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { MessageQueue } from "@postmq/vocabulary";

import { fillDeferred } from "../support/fill-deferred.ts";
import { transportMaps } from "../support/many-destinations.ts";
import { RedisWatch } from "../support/redis-watch.ts";
import { SteadyStream } from "../support/steady-stream.ts";

const messages = 40_000;
const domains = 4000;
const contentBytes = 500;
const mostBytes = 2560;
const longStepMs = 20;
/** Bounds of a step (queue-store's acting-store.ts): messages read, and messages and their domains acted on. */
const mostSeen = 500;
const mostWork = 1500;
/** Its 2 ms, and the index changes behind them, which take a few times that where messages have many domains. */
const mostStepCpuMs = 15;
const domain = "flows.example.com";

type Walked = { readonly done: number; readonly steps: number; readonly mostSeen: number };

/** @param measured awaited around each step */
async function walk(
  store: Store,
  act: Act,
  queue: MessageQueue,
  measured = (step: () => Promise<WalkStep>) => step(),
): Promise<Walked> {
  const acting = store.acting();
  let next: WalkStep["next"] | undefined;
  let walked: Walked = { done: 0, steps: 0, mostSeen: 0 };
  do {
    const step = await measured(() => acting.actOnQueue(act, queue, next));
    walked = {
      done: walked.done + step.done,
      steps: walked.steps + 1,
      mostSeen: Math.max(walked.mostSeen, step.seen),
    };
    next = step.next;
  } while (next.cursor !== undefined);
  return walked;
}

/** Processor time that the main thread of Redis has taken so far. */
async function redisCpuMs(redis: RedisServer): Promise<number> {
  const info = await redis.cli("INFO", "cpu");
  const field = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return (field("used_cpu_user_main_thread") + field("used_cpu_sys_main_thread")) * 1000;
}

/** Messages in hold, each to one recipient in each of the domains. */
async function fillHold(store: Store, count: number, domainsEach: number): Promise<void> {
  const intake = store.intake();
  for (let n = 0; n < count; n += 1) {
    const id = intake.newId();
    const writer = intake.openContent(id);
    await writer.write(Buffer.from("Subject: held\r\n\r\nOne line.\r\n"));
    const recipients = Array.from({ length: domainsEach }, (_, i) => ({
      address: `u@d${(n * 17 + i) % domains}.example.com`,
    }));
    const envelope = { sender: `u${n % 50}@s.example.net`, origin: "smtp" } as const;
    const content = await writer.finish();
    await intake.commit({ id, queue: "hold", envelope, recipients, content });
  }
}

describe("very many messages", () => {
  it("are held, released and deleted in steps while mail flows, and every index agrees", async (t) => {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(
      await startRedis({
        args: ["--slowlog-log-slower-than", String(longStepMs * 1000), "--slowlog-max-len", "5000"],
      }),
    );
    const used = async () =>
      Number(/used_memory:(\d+)/.exec(await redis.cli("INFO", "memory"))?.[1]);
    const empty = await used();
    await fillDeferred(redis, { messages, domains, senders: 500, contentBytes });
    const each = ((await used()) - empty) / messages - contentBytes;
    assert.ok(each <= mostBytes, `${Math.round(each)} bytes a message beside its content`);
    const sink = stack.use(await FakeSmtpServer.start());
    const parameters = { transport_maps: transportMaps(new Map([[domain, sink.port]])) };
    const system = stack.use(await startPostmq({ redis, parameters }));
    const store = stack.use(
      await openStore({
        redisUrl: redis.url,
        instanceName: "default",
        processName: "test",
        memoryHighWater: 1,
        heartbeatMs: 10_000,
        leaseMs: 8_000,
      }),
    );
    const watch = stack.use(await RedisWatch.open(redis));
    const stream = new SteadyStream({
      smtpPort: system.smtpPort,
      sinks: new Map([[domain, sink]]),
      sessions: 4,
      mostUnderWay: 40,
    });
    stack.defer(() => stream.stop());
    await waitFor(() => stream.arrived > 20, { describe: "mail to flow" });
    let arrivedMeanwhile = 0;
    const acts = [
      ["hold", "deferred"],
      ["release", "hold"],
      ["expire", "deferred"],
      ["hold", "deferred"],
      ["delete", "hold"],
    ] as const;
    for (const [act, queue] of acts) {
      const before = stream.arrived;
      await watch.begin();
      const beganMs = performance.now();
      const { done, steps, ...walked } = await walk(store, act, queue);
      const tookMs = Math.round(performance.now() - beganMs);
      const arrived = stream.arrived - before;
      const slow = (await watch.slowestMs(".acting")).length;
      t.diagnostic(
        `${act}: ${steps} steps in ${tookMs} ms, ${slow} over ${longStepMs} ms; ${arrived} mails arrived meanwhile`,
      );
      assert.equal(done, messages, `${act} ${queue}`);
      assert.ok(walked.mostSeen <= mostSeen, `${act}: ${walked.mostSeen} messages in a step`);
      arrivedMeanwhile += arrived;
      if (act !== "release") continue;
      const ageLimitsMs = [5, 60, 600].map((minutes) => minutes * 60_000);
      const nowMs = store.clock.nowMs();
      const rows = await store
        .looking()
        .qshape({ queues: ["deferred"], by: "recipient", ageLimitsMs, nowMs });
      const counted = rows.flatMap(({ counts }) => counts).reduce((sum, count) => sum + count, 0);
      assert.equal(counted, messages);
      assert.equal(rows.length, domains);
    }
    assert.ok(arrivedMeanwhile > 0, "no mail flowed meanwhile");
    await stream.stop();
    await waitFor(
      async () => (await store.looking().depths()).every((depth) => depth.messages === 0),
      {
        timeoutMs: 120_000,
        describe: () => `the queue to be empty\n${system.lastLines()}`,
      },
    );
    assert.deepEqual(await checkInstance(redis.url, "default"), []);
    assert.equal(
      new Set(sink.messages.map((message) => message.recipients[0])).size,
      stream.recipients.length,
    );
  });

  it("of many domains each are acted on in steps that hold Redis for some milliseconds", async (t) => {
    await using redis = await startRedis();
    const [few, domainsEach, mostMeasured] = [1200, 20, 40];
    await using store = await openStore({
      redisUrl: redis.url,
      instanceName: "default",
      processName: "test",
      memoryHighWater: 1,
      heartbeatMs: 10_000,
      leaseMs: 8_000,
    });
    await fillHold(store, few, domainsEach);
    const acts = [
      ["release", "hold"],
      ["hold", "deferred"],
      ["delete", "hold"],
    ] as const;
    for (const [act, queue] of acts) {
      const cpuMs: number[] = [];
      const { done, steps, ...walked } = await walk(store, act, queue, async (step) => {
        // Asking takes longer than a step.
        if (cpuMs.length === mostMeasured) return await step();
        const before = await redisCpuMs(redis);
        const stepped = await step();
        cpuMs.push((await redisCpuMs(redis)) - before);
        return stepped;
      });
      const sorted = cpuMs.toSorted((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)] ?? Infinity;
      t.diagnostic(
        `${act}: ${steps} steps, ${median.toFixed(1)} ms of Redis each, at most ${sorted.at(-1)?.toFixed(1)}`,
      );
      assert.equal(done, few, `${act} ${queue}`);
      const work = walked.mostSeen * (1 + domainsEach);
      assert.ok(work <= mostWork + domainsEach, `${act}: ${walked.mostSeen} messages in a step`);
      assert.ok(median <= mostStepCpuMs, `${act}: a step holds Redis for ${median} ms`);
    }
    assert.deepEqual(await checkInstance(redis.url, "default"), []);
  });

  it("agree with their records half way through a hold, when the operator died", async () => {
    await using redis = await startRedis();
    const few = 5000;
    await fillDeferred(redis, { messages: few, domains: 300, senders: 50, contentBytes: 100 });
    const store = await openStore({
      redisUrl: redis.url,
      instanceName: "default",
      processName: "test",
      memoryHighWater: 1,
      heartbeatMs: 10_000,
      leaseMs: 8_000,
    });
    await using _closing = store;
    assert.deepEqual(await checkInstance(redis.url, "default"), []);
    const acting = store.acting();
    const first = await acting.actOnQueue("hold", "deferred");
    const second = await acting.actOnQueue("hold", "deferred", first.next);
    assert.deepEqual(await checkInstance(redis.url, "default"), []);
    // Started again, it does what is left.
    const { done } = await walk(store, "hold", "deferred");
    assert.equal(first.done + second.done + done, few);
    assert.deepEqual(await checkInstance(redis.url, "default"), []);
  });
});
