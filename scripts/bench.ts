/**
 * `npm run bench`: what postmq does per second and what a message costs, with Postfix beside it in the same run.
 *
 * Load is smtp-source, the destination smtp-sink, both Postfix's. postmq runs as seven processes with a Redis of its
 * own (`appendfsync always`), Postfix as a private instance that syncs its queue files: the same promise. The runs
 * interleave, and each has a warm-up before (5 000 messages: a mail server runs for weeks, its compiler need not be in
 * the figures), since on a small machine rates swing by up to two between minutes. CPU per message repeats better;
 * to compare runs of postmq with each other, divide by what sink and source used meanwhile ("normalised"). Against
 * Postfix, compare the plain figures: its deliveries cost the sink more.
 *
 * Options: -n messages, -s sessions, --length bytes, --reps n, --warm-up n, --no-postfix, --profile DIR (a .cpuprofile
 * for each service), --once json (one round, printed as JSON).
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

import { openStore } from "@postmq/queue-store";
import {
  hasPostfixTools,
  postfixObstacle,
  PrivatePostfix,
  smtpSink,
  startPostmq,
  startRedis,
} from "@postmq/testing";
import { serviceNames } from "@postmq/vocabulary";

import { measure, medianRun } from "./bench/measured-run.ts";
import type { Measurement, Relay } from "./bench/measured-run.ts";
import { asJson, asTable } from "./bench/report.ts";
import type { Comparison } from "./bench/report.ts";

type Options = {
  readonly messages: number;
  readonly sessions: number;
  readonly lengthBytes: number;
  readonly rounds: number;
  readonly warmUp: number;
  readonly withPostfix: boolean;
  readonly profileDir: string | undefined;
  readonly asJson: boolean;
};

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      messages: { type: "string", short: "n", default: "5000" },
      sessions: { type: "string", short: "s", default: "20" },
      length: { type: "string", default: "4096" },
      reps: { type: "string", default: "3" },
      "warm-up": { type: "string", default: "5000" },
      "no-postfix": { type: "boolean", default: false },
      profile: { type: "string" },
      once: { type: "string" },
    },
  });
  if (values.once !== undefined && values.once !== "json") throw new Error("only --once json");
  return {
    messages: count(values.messages),
    sessions: count(values.sessions),
    lengthBytes: count(values.length),
    rounds: values.once === undefined ? count(values.reps) : 1,
    warmUp: count(values["warm-up"]),
    withPostfix: !values["no-postfix"],
    profileDir: values.profile === undefined ? undefined : resolve(values.profile),
    asJson: values.once === "json",
  };
}

function count(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`not a positive number: ${text}`);
  return number;
}

const redisArgs = ["--auto-aof-rewrite-min-size", "256mb"];

/** postmq as a relay, and everything that ends with it. */
async function startOurs(stack: AsyncDisposableStack, options: Options): Promise<Relay> {
  const sink = stack.use(await smtpSink());
  // As in npm start: Redis on a Unix socket, and no rewrite of its append-only file every few seconds.
  const directory = await mkdtemp(join(tmpdir(), "postmq-bench-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const socket = join(directory, "redis.sock");
  const redis = stack.use(await startRedis({ args: ["--unixsocket", socket, ...redisArgs] }));
  const redisUrl = `unix://${socket}`;
  const system = stack.use(
    await startPostmq({
      redis,
      redisUrl,
      // As Postfix's: reading them along would take CPU from everybody.
      logDirectory: directory,
      parameters: { relayhost: sink.relayhost },
      ...(options.profileDir === undefined
        ? {}
        : {
            nodeArgs: (name) => [
              "--cpu-prof",
              `--cpu-prof-dir=${options.profileDir}`,
              `--cpu-prof-name=${name}.cpuprofile`,
            ],
          }),
    }),
  );
  // Profiles are written at a clean exit; it comes before what was put on the stack earlier.
  stack.defer(async () => {
    await system.stop();
  });
  const store = stack.use(
    await openStore({
      redisUrl,
      instanceName: "default",
      processName: "bench",
      memoryHighWater: 1,
      heartbeatMs: 10_000,
      leaseMs: 8_000,
    }),
  );
  const looking = store.looking();
  const services = serviceNames.map((name) => [name, [system.service(name).pid]] as const);
  return {
    name: "postmq",
    port: system.smtpPort,
    sink,
    parts: new Map([...services, ["redis", [redis.pid]]]),
    queued: async () =>
      (await looking.depths()).reduce((total, { messages }) => total + messages, 0),
  };
}

async function startPostfix(stack: AsyncDisposableStack): Promise<Relay> {
  const sink = stack.use(await smtpSink());
  const directory = await mkdtemp(join(tmpdir(), "postmq-bench-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755);
  const postfix = stack.use(await PrivatePostfix.start(join(directory, "postfix"), sink.port));
  return {
    name: "Postfix",
    port: postfix.port,
    sink,
    parts: new Map([["postfix", [postfix.masterPid]]]),
    queued: () => postfix.queued(),
  };
}

async function compare(relays: readonly Relay[], options: Options): Promise<readonly Comparison[]> {
  const kinds = [true, false];
  const load = { ...options, keepsConnections: true };
  for (const relay of relays) await measure(relay, { ...load, messages: options.warmUp });
  const runs = new Map<string, Measurement[]>();
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const keepsConnections of kinds) {
      for (const relay of relays) {
        const measurement = await measure(relay, { ...load, keepsConnections });
        const name = `${relay.name} ${keepsConnections}`;
        runs.set(name, [...(runs.get(name) ?? []), measurement]);
        process.stderr.write(
          `round ${round}/${options.rounds} ${relay.name} ${loadName(keepsConnections)}: ` +
            `${measurement.endToEndPerSecond.toFixed(0)}/s, ` +
            `${measurement.totalCpuUs.toFixed(0)} us CPU a message\n`,
        );
      }
    }
  }
  return kinds.map((keepsConnections) => ({
    load: loadName(keepsConnections),
    relays: relays.map((relay) => ({
      name: relay.name,
      measurement: medianRun(runs.get(`${relay.name} ${keepsConnections}`) ?? []),
    })),
  }));
}

function loadName(keepsConnections: boolean): string {
  return keepsConnections ? "kept connections" : "one connection per message";
}

/** Rejects at Ctrl-C and SIGTERM, so that everything that was started is stopped: a Postfix outlives its starter. */
function interruption(): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (signal: NodeJS.Signals) => reject(new Error(`interrupted by ${signal}`));
    process.once("SIGINT", stop);
    process.once("SIGTERM", stop);
  });
}

async function main(): Promise<void> {
  const options = readOptions();
  if (!hasPostfixTools()) {
    throw new Error(
      "smtp-source and smtp-sink are missing: they come with Postfix (scripts/setup --peers)",
    );
  }
  await using stack = new AsyncDisposableStack();
  const obstacle = options.withPostfix ? postfixObstacle() : "left out by --no-postfix";
  if (obstacle !== undefined) process.stderr.write(`postmq only: ${obstacle}\n`);
  const ours = await startOurs(stack, options);
  const relays = obstacle === undefined ? [ours, await startPostfix(stack)] : [ours];
  const comparisons = await Promise.race([compare(relays, options), interruption()]);
  process.stdout.write(
    options.asJson
      ? `${JSON.stringify(asJson(comparisons, options))}\n`
      : `${options.messages} messages of ${options.lengthBytes} bytes, ${options.sessions} sessions, ` +
          `median of ${options.rounds}; ${cpus().length} cores, Node ${process.versions.node}\n\n` +
          asTable(comparisons),
  );
}

await main();
