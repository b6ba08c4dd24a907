/**
 * A queue that is exported comes back, in another Redis too; and whoever exports, deletes or imports may die at any moment.
 *
 * Source: docs/BACKUP.md; P2.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";

import { checkInstance } from "@postmq/queue-store";
import { Child, FakeSmtpServer, seededRandom, startPostmq, waitFor } from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { probeDepth } from "../support/redis-probe.ts";

/** Nothing that was deferred falls due by itself, however long a test takes. */
const patience = { minimal_backoff_time: "1h", maximal_backoff_time: "2h" };
const commands = join(import.meta.dirname, "..", "..", "packages", "commands", "src", "main.ts");

async function temporaryDirectory() {
  const path = await mkdtemp(join(tmpdir(), "postmq-backup-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function started(system: PostmqSystem, ...args: readonly string[]): Child {
  return new Child(process.execPath, [commands, ...args], { env: system.env });
}

async function assertSound(system: PostmqSystem): Promise<void> {
  assert.deepEqual(await checkInstance(system.redis.url, "default"), []);
}

/** A system whose mail is all in deferred, since its next hop refuses it. */
async function withDeferred(
  stack: AsyncDisposableStack,
  recipients: readonly string[],
): Promise<{ readonly system: PostmqSystem; readonly sink: FakeSmtpServer }> {
  const sink = stack.use(
    await FakeSmtpServer.start({
      keepsContent: false,
      decide: ({ stage }) => (stage === "rcpt" ? { reply: "450 4.2.1 later" } : undefined),
    }),
  );
  const parameters = { ...patience, relayhost: sink.relayhost };
  const system = stack.use(await startPostmq({ parameters }));
  await flood(system.smtpPort, recipients);
  await waitFor(async () => (await probeDepth(system.redis, "deferred")) === recipients.length, {
    timeoutMs: 120_000,
    describe: () => `the mail in deferred\n${system.lastLines()}`,
  });
  return { system, sink };
}

/** Ids in a file, of whole lines. */
async function idsIn(path: string): Promise<readonly string[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return [...text.matchAll(/^\{"id":"(\w+)".*\]\}$/gm)].map(([, id = ""]) => id);
}

async function idsInQueue(system: PostmqSystem): Promise<readonly string[]> {
  const reply = await system.redis.cli("ZRANGE", "postmq:{default}:q:deferred", "0", "-1");
  return reply.split("\n").filter(Boolean);
}

/** How many lines of the file an import that was broken off, or is under way, has done; 0: there is none. */
async function linesImported({ redis }: PostmqSystem): Promise<number> {
  const script = `local place = redis.call('KEYS', '*:place:import-*')[1]
    return place and redis.call('GET', place)`;
  return Number((await redis.cli("EVAL", script, "0")).split(" ")[0]);
}

/** Marks of moves, as they would stand after two minutes, which must not be waited for here. */
async function makeOld(system: PostmqSystem): Promise<number> {
  const key = "postmq:{default}:moving";
  const ids = (await system.redis.cli("ZRANGE", key, "0", "-1")).split("\n").filter(Boolean);
  for (const id of ids) await system.redis.cli("ZADD", key, "1", id);
  return ids.length;
}

describe("a backup", () => {
  it("of a queue, restored into a fresh Redis, is delivered, each message once, with its clocks", async () => {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryDirectory());
    const file = join(path, "backup");
    const recipients = addressesAt("dest.example.com", 300);
    const { system } = await withDeferred(stack, recipients);
    const exported = await system.command("postmq", ["export", "--output", file]);
    assert.equal(exported.stderr, "export: exported 300 messages\n");
    const before = (await system.command("mailq")).stdout;

    const sink = stack.use(await FakeSmtpServer.start({ keepsContent: false }));
    const parameters = { ...patience, relayhost: sink.relayhost };
    const fresh = stack.use(await startPostmq({ parameters, scale: { qmgr: 0 } }));
    const imported = await fresh.command("postmq", ["import", file]);
    assert.deepEqual([imported.code, imported.stdout], [0, "Imported: 300 messages\n"]);
    assert.equal((await fresh.command("mailq")).stdout, before);
    await assertSound(fresh);
    await fresh.add("qmgr");
    await fresh.ready();
    await fresh.command("postqueue", ["-f"]);
    await waitFor(() => sink.messages.length >= recipients.length, {
      timeoutMs: 120_000,
      describe: () => fresh.lastLines(),
    });
    await waitFor(async () => (await fresh.command("mailq")).stdout === "Mail queue is empty\n", {
      describe: () => fresh.lastLines(),
    });
    assertEachOnce(recipients, countCopies([sink]));
    await assertSound(fresh);
  });

  it("P2 that deletes leaves each message in the queue or in the file, whenever it is killed with -9", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryDirectory());
    const random = seededRandom(Math.floor(Math.random() * 2 ** 32));
    context.diagnostic(`seed ${random.seed}`);
    const recipients = addressesAt("dest.example.com", 1500);
    const { system, sink } = await withDeferred(stack, recipients);
    const all = (await idsInQueue(system)).toSorted();
    const measured = join(path, "measured");
    const beganMs = performance.now();
    const whole = await system.command("postmq", ["export", "--output", measured]);
    assert.equal(whole.code, 0);
    const wholeMs = performance.now() - beganMs;
    const file = join(path, "backup");
    const args = ["export", "--all", "--delete", "--output", file];
    let [diedOver, kills] = [0, 0];
    const again = () => (existsSync(file) ? [...args, "--append"] : args);
    for (; kills < 8; kills += 1) {
      const child = started(system, ...again());
      await pause(random.between(wholeMs / 3, wholeMs));
      await child.kill9();
      diedOver += await makeOld(system);
      await assertSound(system);
    }
    const last = await system.command("postmq", again());
    assert.equal(last.code, 0, last.stderr);
    assert.deepEqual(await idsInQueue(system), []);
    assert.deepEqual((await idsIn(file)).toSorted(), all);
    context.diagnostic(`${kills} kills, ${diedOver} messages stood as moving after one`);

    // Back again, by imports that are killed too, while what came back is delivered.
    sink.decide = () => undefined;
    await system.command("postqueue", ["-f"]);
    let end = "";
    for (let round = 0; end === ""; round += 1) {
      const before = await linesImported(system);
      const child = started(system, "import", file);
      // It has begun when it is further than the one before; it is killed somewhere on its way, some times.
      const goal = round < 6 ? before + random.between(1, 400) : Infinity;
      const isThere = async () => {
        const lines = await linesImported(system);
        return !child.isRunning || lines >= goal || lines < before;
      };
      await waitFor(isThere, { timeoutMs: 120_000, everyMs: 5, describe: () => child.stderr });
      await child.kill9();
      const { code } = await child.exited;
      assert.ok(code === null || code === 0, child.stderr);
      // One that came to its end must not be begun again: its messages are delivered and gone. It forgets its place
      // before it exits, and may be killed in between.
      const isOver = code === 0 || (await linesImported(system)) === 0;
      if (isOver) end = `${round} kills: ${child.stdout.trim()}`;
      await system.command("postqueue", ["-f"]);
    }
    context.diagnostic(end);
    await waitFor(
      async () => {
        await system.command("postqueue", ["-f"]);
        return (await system.command("mailq")).stdout === "Mail queue is empty\n";
      },
      { timeoutMs: 120_000, everyMs: 500, describe: () => system.lastLines() },
    );
    assertEachOnce(recipients, countCopies([sink]));
    await assertSound(system);
  });
});
