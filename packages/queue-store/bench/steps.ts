/**
 * What each step of a message's way costs Redis and this process: `node packages/queue-store/bench/steps.ts [messages] [domains] [no]`;
 * `no`: without timelines.
 *
 * CPU of Redis from INFO cpu, of this process from process.cpuUsage(); microseconds per message. Batches as they
 * come at load: about 50 messages a script.
 */
import { startRedis, withStore } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { RequestName } from "@postmq/vocabulary";
import { newMessage } from "../src/store.test-support.ts";

const total = Number(process.argv[2] ?? 5000);
const batch = 50;
const domains = Number(process.argv[3] ?? 50);

await using redis = await startRedis();

async function redisCpuUs(): Promise<number> {
  const info = await redis.cli("INFO", "cpu");
  const field = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return (field("used_cpu_user") + field("used_cpu_sys")) * 1e6;
}

async function step<Result>(name: string, run: () => Promise<Result>): Promise<Result> {
  const redisBefore = await redisCpuUs();
  const before = process.cpuUsage();
  const result = await run();
  const own = process.cpuUsage(before);
  const redisUs = ((await redisCpuUs()) - redisBefore) / total;
  const ownUs = (own.user + own.system) / total;
  process.stdout.write(
    `${name.padEnd(12)} Redis ${redisUs.toFixed(1).padStart(7)}  own ${ownUs.toFixed(1).padStart(7)} µs\n`,
  );
  return result;
}

await withStore(
  async ({ store }) => {
    const intake = store.intake();
    const content = Buffer.alloc(4096, "x");
    const messages = await Promise.all(
      Array.from({ length: total }, (_, i) =>
        newMessage(intake, { content, recipients: [`user${i}@d${i % domains}.example.com`] }),
      ),
    );
    await step("commit", async () => {
      for (let i = 0; i < total; i += batch) {
        await Promise.all(messages.slice(i, i + batch).map((message) => intake.commit(message)));
      }
    });
    const fence = (await store.leadership().acquire()) ?? "";
    const scheduling = store.scheduling();
    await scheduling.startEvents();
    const imported = await step("import", async () => {
      const all = [];
      for (let some = [undefined]; some.length > 0;) {
        const got = await scheduling.importMessages({
          fence,
          from: "incoming",
          maxMessages: batch,
          maxRecipients: 10,
        });
        all.push(...got);
        some = got.map(() => undefined);
      }
      return all;
    });
    const names = await step("dispatch", async () => {
      const all: RequestName[] = [];
      for (let i = 0; i < imported.length; i += batch) {
        const written = await scheduling.dispatch(
          fence,
          imported.slice(i, i + batch).map((message) => ({
            id: message.id,
            messageGeneration: message.generation,
            destination: { transport: "smtp", nexthop: "example.com" },
            recipients: [0],
          })),
        );
        all.push(...written.filter((name) => name !== undefined));
      }
      return all;
    });
    const worker = await store.delivering({ concurrency: 50 });
    const slices = Array.from({ length: Math.ceil(total / 10) }, (_, i) =>
      names.slice(i * 10, i * 10 + 10),
    );
    await step("claim of 10", async () => {
      for (const slice of slices) await worker.claim(slice);
    });
    const wide = Array.from({ length: Math.ceil(total / batch) }, (_, i) =>
      names.slice(i * batch, (i + 1) * batch),
    );
    await step("mark", async () => {
      for (const slice of wide) await Promise.all(slice.map((name) => worker.markDotSent(name)));
    });
    const status = enhancedStatus("2.0.0");
    await step("end", async () => {
      for (const slice of wide) {
        await Promise.all(
          slice.map((name) =>
            worker.end({
              name,
              end: "tried",
              outcomes: [{ recipient: 0, kind: "sent", status, reason: "250 2.0.0 Ok" }],
              feedback: { kind: "good" },
            }),
          ),
        );
      }
    });
    await step("settle", async () => {
      for (let i = 0; i < imported.length; i += batch) {
        const some = imported.slice(i, i + batch);
        await scheduling.settle(
          fence,
          some.map(({ id, generation }) => ({ id, generation, action: "remove" })),
        );
      }
    });
  },
  {
    redis,
    store: process.argv[4] === "no" ? {} : { timelines: { mostBytes: 2 ** 26, retentionMs: 6e8 } },
  },
);
