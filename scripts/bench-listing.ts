/**
 * What a listing and a check of a long queue cost: `node scripts/bench-listing.ts [messages]`.
 *
 * Fills deferred of a Redis of its own with messages of one recipient each, and runs `postqueue -p`, `postqueue -j`, lists of
 * selections and `postmq check` on it, their output into a pipe that nobody slows. Prints the rate, the peak of the command's memory,
 * processor time per message of the command and of Redis, and how often Redis was held for more than 10 ms.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { startRedis } from "@postmq/testing";

import { fillDeferred } from "../test/support/fill-deferred.ts";

const total = Number(process.argv[2] ?? 100_000);
const program = join(import.meta.dirname, "../packages/commands/src/main.ts");
const ticksPerSecond = 100;

await using redis = await startRedis({ appendfsync: "no" });

async function redisSeconds(): Promise<number> {
  const info = await redis.cli("INFO", "cpu");
  const field = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
  return field("used_cpu_user") + field("used_cpu_sys");
}

type Usage = { readonly peak: string; readonly seconds: number };

function usageOf(pid: number | undefined, last: Usage): Usage {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const [user = 0, system = 0] = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /, "")
      .split(" ")
      .slice(11, 13)
      .map(Number);
    const seconds = (user + system) / ticksPerSecond;
    return { peak: /^VmHWM:\s*(.*)$/m.exec(status)?.[1] ?? last.peak, seconds };
  } catch {
    // It has ended.
    return last;
  }
}

async function measure(...args: readonly string[]): Promise<void> {
  await redis.cli("SLOWLOG", "RESET");
  const redisBefore = await redisSeconds();
  const begun = performance.now();
  const child = spawn(process.execPath, [program, ...args], {
    env: { POSTMQ_REDIS_URL: redis.url },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let usage: Usage = { peak: "", seconds: 0 };
  const looking = setInterval(() => {
    usage = usageOf(child.pid, usage);
  }, 50);
  let bytes = 0;
  child.stdout.on("data", (part: Buffer) => {
    bytes += part.length;
  });
  await once(child, "exit");
  clearInterval(looking);
  const seconds = (performance.now() - begun) / 1000;
  const each = (spent: number) => `${((spent * 1e6) / total).toFixed(1)} µs`;
  process.stdout.write(
    `${args.join(" ").padEnd(36)} ${seconds.toFixed(1)} s: ${Math.round(total / seconds)} a second, ` +
      `${(bytes / 1e6).toFixed(1)} MB; peak ${usage.peak}; a message costs it ${each(usage.seconds)}, ` +
      `Redis ${each((await redisSeconds()) - redisBefore)}; ` +
      `${await redis.cli("SLOWLOG", "LEN")} commands over 10 ms\n`,
  );
}

await fillDeferred(redis, { messages: total, domains: 10_000, senders: 1000, contentBytes: 200 });
await redis.cli("CONFIG", "SET", "slowlog-log-slower-than", "10000", "slowlog-max-len", "100000");
await measure("postqueue", "-p");
await measure("postqueue", "-j");
await measure("list", "--sender", "user7@s7.example.net");
await measure("list", "--domain", "d7919.example.com");
await measure("list", "--older-than", "71h59m");
await measure("check");
