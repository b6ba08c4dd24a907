/**
 * A backlog for one dead host is moved aside while mail flows, and run later; and whoever moves it may die at any moment.
 *
 * Source: spec sendmail-queue.md §7; DESIGN §5; P2.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { checkInstance } from "@postmq/queue-store";
import { Child, FakeSmtpServer, run, seededRandom, startPostmq, waitFor } from "@postmq/testing";
import type { Finished, PostmqSystem } from "@postmq/testing";
import type { MessageQueue } from "@postmq/vocabulary";

import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { probeDepth, waitUntilDrained } from "../support/redis-probe.ts";
import { SteadyStream } from "../support/steady-stream.ts";

const backlog = 2000;
const deadDomain = "dead.example.com";
const aside = "omqueue";
/** Nothing that was deferred falls due by itself, however long a test takes. */
const patience = { minimal_backoff_time: "1h", maximal_backoff_time: "2h" };
const commands = join(import.meta.dirname, "..", "..", "packages", "commands", "src", "main.ts");

type Host = { readonly system: PostmqSystem; readonly dead: FakeSmtpServer };

/** A command that can be killed. */
function started(system: PostmqSystem, ...args: readonly string[]): Child {
  return new Child(process.execPath, [commands, ...args], { env: system.env });
}

/** `postmq run` to its end, which takes as long as the machine is slow. */
async function runInstance(system: PostmqSystem, ...options: readonly string[]): Promise<Finished> {
  const args = [commands, "run", "--instance", aside, ...options];
  return await run(process.execPath, args, { env: system.env, timeoutMs: 300_000 });
}

/** A system with a backlog in deferred for a host that refuses everything. */
async function withBacklog(
  stack: AsyncDisposableStack,
  others: ReadonlyMap<string, FakeSmtpServer>,
  recipients: readonly string[],
): Promise<Host> {
  const dead = stack.use(
    await FakeSmtpServer.start({
      keepsContent: false,
      decide: ({ stage }) => (stage === "rcpt" ? { reply: "450 4.2.1 later" } : undefined),
    }),
  );
  const ports = new Map([...portsOf(others), [deadDomain, dead.port]]);
  const system = stack.use(
    await startPostmq({ parameters: { ...patience, transport_maps: transportMaps(ports) } }),
  );
  await flood(system.smtpPort, recipients);
  await waitFor(async () => (await probeDepth(system.redis, "deferred")) === recipients.length, {
    timeoutMs: 120_000,
    describe: () => `the backlog in deferred\n${system.lastLines()}`,
  });
  return { system, dead };
}

async function depthIn(system: PostmqSystem, instance: string, queue: MessageQueue) {
  return Number(await system.redis.cli("ZCARD", `postmq:{${instance}}:q:${queue}`));
}

const lastLine = (text: string) => text.trimEnd().split("\n").at(-1);

async function assertSound(system: PostmqSystem): Promise<void> {
  for (const instance of ["default", aside]) {
    assert.deepEqual(await checkInstance(system.redis.url, instance), []);
  }
}

describe("a backlog for a dead host", () => {
  it("is moved aside while mail flows, and `postmq run` delivers it later, watched with -v", async (context) => {
    await using stack = new AsyncDisposableStack();
    const sinks = await startSinks(stack, 5);
    const recipients = addressesAt(deadDomain, backlog);
    const { system, dead } = await withBacklog(stack, sinks, recipients);
    const stream = new SteadyStream({
      smtpPort: system.smtpPort,
      sinks,
      sessions: 3,
      mostUnderWay: 100,
    });
    stack.defer(() => stream.stop());
    const flows = (since: number) =>
      waitFor(() => stream.arrived > since + 100, {
        describe: () => `mail to flow\n${system.lastLines()}`,
      });
    await flows(0);
    let arrivedBefore = stream.arrived;
    const beganMs = performance.now();
    const moved = await system.command("postmq", ["aside", "--to", aside, "--domain", deadDomain]);
    const asideMs = performance.now() - beganMs;
    const besideAside = stream.arrived - arrivedBefore;
    assert.deepEqual(moved, {
      code: 0,
      signal: null,
      stdout: `Moved: ${backlog} messages\n`,
      stderr: "",
    });
    assert.equal(await depthIn(system, aside, "deferred"), backlog);
    const left = await system.redis.cli("HGET", "postmq:{default}:dc:deferred", deadDomain);
    assert.equal(left, "");
    const listed = await system.command("postmq", ["aside", "--list"]);
    assert.equal(listed.stdout, `${aside}: ${backlog} messages (deferred ${backlog})\n`);

    // The host is back. Mail of the main queue flows on beside the run.
    dead.decide = () => undefined;
    arrivedBefore = stream.arrived;
    const ranMs = performance.now();
    const ran = await runInstance(system, "-v");
    const runMs = performance.now() - ranMs;
    const besideRun = stream.arrived - arrivedBefore;
    assert.equal(ran.code, 0, ran.stderr);
    // Warnings of its services may come before.
    assert.equal(lastLine(ran.stderr), `run: instance ${aside}: empty`);
    assert.equal((ran.stdout.match(/ status=sent /g) ?? []).length, backlog);
    assertEachOnce(recipients, countCopies([dead]));
    assert.ok(besideAside > 0, "no mail flowed beside aside");
    assert.ok(besideRun > 0, "no mail flowed beside run");
    await flows(stream.arrived);
    await stream.stop();
    await waitUntilDrained(system.redis);
    assertEachOnce(stream.recipients, countCopies([...sinks.values()]));
    const removed = await system.command("postmq", ["aside", "--remove", aside]);
    assert.equal(removed.code, 0, removed.stderr);
    assert.equal((await system.command("postmq", ["aside", "--list"])).stdout, "");
    await assertSound(system);
    assert.deepEqual(await system.stop(), []);
    context.diagnostic(
      `${backlog} aside in ${Math.round(asideMs)} ms, run in ${Math.round(runMs)} ms; ${besideAside} and ${besideRun} arrived beside`,
    );
  });

  it("run --once ends when everything was tried, a second run is refused, and SIGTERM drains", async () => {
    await using stack = new AsyncDisposableStack();
    const recipients = addressesAt(deadDomain, 40);
    const { system, dead } = await withBacklog(stack, new Map(), recipients);
    await system.command("postmq", ["aside", "--to", aside, "--all"]);
    const once = await runInstance(system, "--once", "-v");
    assert.equal(once.code, 0, once.stderr);
    assert.equal(lastLine(once.stderr), `run: instance ${aside}: left: 40 in deferred`);
    assert.equal((once.stdout.match(/ status=deferred /g) ?? []).length, 40);
    assert.equal(dead.messages.length, 0);
    const waiting = started(system, "run", "--instance", aside);
    const leads = async () =>
      (await system.redis.cli("EXISTS", `postmq:{${aside}}:leader`)).trim() === "1";
    await waitFor(leads, { describe: () => waiting.stderr });
    const second = await system.command("postmq", ["run", "--instance", aside]);
    assert.equal(second.code, 69);
    assert.match(second.stderr, /^run: fatal: already running/);
    assert.deepEqual(await waiting.terminate(), { code: 75, signal: null });
    assert.equal(await leads(), false);
    // Wherever its own run had brought them by then.
    const depths = await Promise.all(
      (["incoming", "active", "deferred"] as const).map((queue) => depthIn(system, aside, queue)),
    );
    assert.equal(
      depths.reduce((sum, depth) => sum + depth),
      40,
    );
    const back = await system.command("postmq", ["aside", "--back", aside]);
    assert.equal(back.stdout, "Moved: 40 messages\n");
    await waitFor(async () => (await depthIn(system, "default", "deferred")) === 40, {
      timeoutMs: 120_000,
      describe: () => `all in deferred again\n${system.lastLines()}`,
    });
    await assertSound(system);
  });

  it("P2 is in one queue system whenever the one who moves it is killed with -9, and all of it is moved in the end", async (context) => {
    await using stack = new AsyncDisposableStack();
    const random = seededRandom(Math.floor(Math.random() * 2 ** 32));
    context.diagnostic(`seed ${random.seed}`);
    const recipients = addressesAt(deadDomain, 1000);
    const { system, dead } = await withBacklog(stack, new Map(), recipients);
    const [there, back] = [
      ["--to", aside, "--all"],
      ["--back", aside],
    ] as const;
    const whole = await system.command("postmq", ["aside", ...there]);
    assert.equal(whole.stdout, "Moved: 1000 messages\n");
    let [diedOver, under] = [0, 0];
    for (let round = 0; round < 12; round += 1) {
      const way = round % 2 === 0 ? back : there;
      const goal = way === back ? "default" : aside;
      const before = await depthIn(system, goal, "deferred");
      const child = started(system, "aside", ...way);
      const hasBegun = async () =>
        (await depthIn(system, goal, "deferred")) > before || !child.isRunning;
      await waitFor(hasBegun, { everyMs: 2, describe: () => child.stderr });
      await pause(random.between(0, 100));
      if (child.isRunning) under += 1;
      await child.kill9();
      await assertSound(system);
      for (const instance of ["default", aside]) diedOver += await makeOld(system, instance);
    }
    for (const way of [back, there]) {
      const moved = await system.command("postmq", ["aside", ...way]);
      assert.equal(moved.code, 0, moved.stderr);
    }
    context.diagnostic(`${under} killed at work, ${diedOver} messages stood as moving then`);
    await assertSound(system);
    assert.equal(await depthIn(system, aside, "deferred"), recipients.length);
    for (const instance of ["default", aside]) {
      const left = await system.redis.cli("ZCARD", `postmq:{${instance}}:moving`);
      assert.equal(left.trim(), "0");
    }
    dead.decide = () => undefined;
    const ran = await runInstance(system);
    assert.equal(ran.code, 0, ran.stderr);
    assertEachOnce(recipients, countCopies([dead]));
  });
});

/** Marks of moves as they would stand after two minutes, which must not be waited for here. @returns how many */
async function makeOld(system: PostmqSystem, instance: string): Promise<number> {
  const key = `postmq:{${instance}}:moving`;
  const ids = (await system.redis.cli("ZRANGE", key, "0", "-1")).split("\n").filter(Boolean);
  for (const id of ids) await system.redis.cli("ZADD", key, "1", id);
  return ids.length;
}
