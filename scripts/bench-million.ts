/**
 * `npm run bench:million`: what operators do with very many messages in the queue costs, and what mail that flows
 * meanwhile feels of it.
 *
 * Redis is one of its own (`appendfsync always`). Deferred is filled with messages for 10 000 domains, from 1 000
 * senders. First everything is measured idle, then with the whole system running and mail flowing as fast as it goes.
 * How long Redis was held is what its SLOWLOG says, and a PING each millisecond on a connection of its own.
 *
 * Options: -n messages (1 000 000), --flow-seconds of each measurement with mail flowing (10), --idle (only that).
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";

import { openStore } from "@postmq/queue-store";
import type { Act, Store, WalkStep } from "@postmq/queue-store";
import { smtpSink, startPostmq, startRedis, startSmtpSource } from "@postmq/testing";
import type { RedisServer, SmtpSink } from "@postmq/testing";
import type { MessageQueue } from "@postmq/vocabulary";

import { RedisWatch } from "../test/support/redis-watch.ts";
import { fillDeferred } from "../test/support/fill-deferred.ts";

const { values } = parseArgs({
  options: {
    n: { type: "string", short: "n", default: "1000000" },
    "flow-seconds": { type: "string", default: "10" },
    idle: { type: "boolean", default: false },
  },
});
const messages = Number(values.n);
const flowSeconds = Number(values["flow-seconds"]);
const contentBytes = 1000;

function tell(what: string, value: string, aim = ""): void {
  process.stdout.write(`${what.padEnd(58)} ${value.padStart(22)}  ${aim}\n`);
}

function perSecond(count: number, ms: number): string {
  return `${Math.round((count * 1000) / ms)}/s`;
}

async function timed<Result>(run: () => Promise<Result>): Promise<{ ms: number; result: Result }> {
  const start = performance.now();
  const result = await run();
  return { ms: performance.now() - start, result };
}

async function walk(
  store: Store,
  act: Act,
  queue: MessageQueue,
): Promise<{ done: number; steps: number }> {
  const acting = store.acting();
  let step: WalkStep = await acting.actOnQueue(act, queue);
  let [done, steps] = [step.done, 1];
  while (step.next.cursor !== undefined) {
    step = await acting.actOnQueue(act, queue, step.next);
    done += step.done;
    steps += 1;
  }
  return { done, steps };
}

async function act(
  parts: { store: Store; watch: RedisWatch; sink?: SmtpSink },
  what: Act,
  queue: MessageQueue,
  aim: string,
): Promise<void> {
  await parts.watch.begin();
  const before = parts.sink?.messages ?? 0;
  const { ms, result } = await timed(() => walk(parts.store, what, queue));
  const flowed = (parts.sink?.messages ?? 0) - before;
  const cpuUs = ((await parts.watch.cpuSeconds()) * 1e6) / Math.max(1, result.done);
  const held = await parts.watch.end();
  tell(
    `${what} ALL ${queue}${parts.sink === undefined ? ", idle" : ", mail flowing"}`,
    perSecond(result.done, ms),
    `${aim}; Redis ${cpuUs.toFixed(1)} us each; ${(result.done / result.steps).toFixed(0)} a step; ${held}${parts.sink === undefined ? "" : `; deliveries ${perSecond(flowed, ms)}`}`,
  );
}

async function deliveries(sink: SmtpSink, watch: RedisWatch): Promise<string> {
  await watch.begin();
  const before = sink.messages;
  await delay(flowSeconds * 1000);
  return `${perSecond(sink.messages - before, flowSeconds * 1000)}  ${await watch.end()}`;
}

async function memory(redis: RedisServer): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.cli("INFO", "memory"))?.[1]);
}

async function lookOn(store: Store, watch: RedisWatch): Promise<void> {
  const looking = store.looking();
  const minutes = [5, 10, 20, 40, 80, 160, 320, 640, 1280];
  const ageLimitsMs = minutes.map((minute) => minute * 60_000);
  for (const by of ["recipient", "sender"] as const) {
    await watch.begin();
    const { ms, result } = await timed(() =>
      looking.qshape({ queues: ["deferred"], by, ageLimitsMs, nowMs: store.clock.nowMs() }),
    );
    const counted = result.reduce((sum, { counts }) => sum + counts.reduce((a, b) => a + b, 0), 0);
    tell(
      `qshape deferred by ${by} (${result.length} domains, ${counted})`,
      `${ms.toFixed(0)} ms`,
      `< 1 s; Redis ${((await watch.cpuSeconds()) * 1000).toFixed(0)} ms; ${await watch.end()}`,
    );
  }
  const page = await timed(() => looking.list("deferred", { limit: 1000 }));
  tell("first 1 000 of mailq", `${page.ms.toFixed(0)} ms`, "< 1 s");
  const depths = await timed(() => looking.depths());
  tell("depths", `${depths.ms.toFixed(0)} ms`);
}

const redis = await startRedis({ args: ["--slowlog-log-slower-than", "10000"] });
await using stack = new AsyncDisposableStack();
stack.use(redis);
const store = stack.use(
  await openStore({
    redisUrl: redis.url,
    instanceName: "default",
    processName: "bench",
    memoryHighWater: 1,
    heartbeatMs: 10_000,
    leaseMs: 8_000,
  }),
);
const watch = stack.use(await RedisWatch.open(redis));
const empty = await memory(redis);
const filling = await timed(() =>
  fillDeferred(redis, { messages, domains: 10_000, senders: 1000, contentBytes }),
);
tell(`filled with ${messages}`, perSecond(messages, filling.ms));
const each = ((await memory(redis)) - empty) / messages - contentBytes;
tell("memory per message beside its content", `${Math.round(each)} bytes`, "<= 2560");
await lookOn(store, watch);
await act({ store, watch }, "hold", "deferred", ">= 45 000");
await act({ store, watch }, "release", "hold", ">= 45 000");
await act({ store, watch }, "expire", "deferred", "");

if (!values.idle) {
  const sink = stack.use(await smtpSink());
  const system = stack.use(
    await startPostmq({
      redis,
      logDirectory: redis.dir,
      parameters: { relayhost: sink.relayhost },
    }),
  );
  const flow = () =>
    startSmtpSource({
      port: system.smtpPort,
      messages: 10_000_000,
      sessions: 20,
      keepsConnections: true,
    });
  const source = flow();
  stack.defer(() => source.kill9());
  await delay(5000);
  tell("deliveries, all of it in deferred", await deliveries(sink, watch));
  const parts = { store, watch, sink };
  await act(parts, "hold", "deferred", ">= 30 000");
  tell("deliveries, all of it in hold", await deliveries(sink, watch));
  await act(parts, "release", "hold", ">= 30 000");
  await act(parts, "requeue", "deferred", "");
  tell("deliveries while what was requeued is cleaned", await deliveries(sink, watch));
  const { messages: dropped } = (await store.looking().depths()).find(
    ({ queue }) => queue === "maildrop",
  ) ?? { messages: 0 };
  const before = performance.now();
  await delay(flowSeconds * 1000);
  const { messages: left } = (await store.looking().depths()).find(
    ({ queue }) => queue === "maildrop",
  ) ?? { messages: 0 };
  tell(
    "requeued messages cleaned, mail flowing",
    perSecond(dropped - left, performance.now() - before),
  );
  await act(parts, "delete", "maildrop", ">= 15 000");
  await delay(3000);
  tell("deliveries, queue empty", await deliveries(sink, watch));
  await source.kill9();
} else {
  await act({ store, watch }, "requeue", "deferred", "");
  await act({ store, watch }, "delete", "maildrop", ">= 15 000");
}
