import assert from "node:assert/strict";
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { run, waitFor } from "@postmq/testing";
import { systemClock } from "@postmq/vocabulary";
import { endLeftRedis, prepareOwnRedis, spawnOwnRedis, untilRedisAnswers } from "./own-redis.ts";
import { parseScale, planProcesses } from "./service-plan.ts";
import { Supervisor } from "./supervisor.ts";

const fakeService = join(import.meta.dirname, "fake-service.test-support.ts");

/** A supervisor over fake services, all of which behave as told. */
function supervise(
  test: TestContext,
  options: {
    readonly behaviour?: string;
    readonly graceMs?: number;
    /** A Redis that is there already. */
    readonly redisUrl?: string;
  } = {},
) {
  const directory = mkdtempSync(join(tmpdir(), "postmq-start-"));
  const logFile = join(directory, "fake.log");
  const lines: string[] = [];
  const warnings: string[] = [];
  const supervisor = new Supervisor({
    planned: planProcesses(parseScale(["bounce=2"]), "127.0.0.1:9151"),
    entryOf: () => fakeService,
    env: {
      PATH: process.env["PATH"],
      FAKE_LOG: logFile,
      FAKE_BEHAVIOUR: options.behaviour ?? "",
      POSTMQ_METRICS_LISTEN_FILE: "/in/place/of/which/ours/is/set",
      ...(options.redisUrl === undefined ? {} : { POSTMQ_REDIS_URL: options.redisUrl }),
    },
    ...(options.redisUrl === undefined ? { ownRedisIn: directory } : {}),
    graceMs: options.graceMs ?? 10_000,
    clock: systemClock,
    say: (line) => lines.push(line),
    warn: (text) => warnings.push(text),
  });
  test.after(() => rmSync(directory, { recursive: true, force: true }));
  return { supervisor, directory, lines, warnings, events: () => readEvents(logFile) };
}

function readEvents(logFile: string) {
  const text = existsSync(logFile) ? readFileSync(logFile, "utf8") : "";
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => ({
      pid: Number(line.slice(0, line.indexOf(" "))),
      event: line.slice(line.indexOf(" ") + 1),
    }));
}

function pidsOf(events: ReturnType<typeof readEvents>): readonly number[] {
  return events.filter(({ event }) => event === "started").map(({ pid }) => pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // ESRCH: it is gone.
    return false;
  }
}

describe("Supervisor", () => {
  it("says where each process listens, then that all are ready, and ends cleanly", async (test) => {
    const { supervisor, lines, warnings, events } = supervise(test);
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    assert.equal(lines.length, 17);
    assert.equal(lines.at(-1), "ready");
    assert.ok(lines.includes("listening smtpd 127.0.0.1:1"));
    assert.ok(lines.includes("listening smtpd/metrics 127.0.0.1:9152"));
    assert.ok(lines.includes("listening bounce/2/metrics 127.0.0.1:9160"));
    supervisor.end();
    assert.equal(await status, 0);
    assert.deepEqual(warnings, []);
    assert.deepEqual(pidsOf(events()).filter(isAlive), []);
  });

  it("stops Redis last, when every service has drained into it", async (test) => {
    const { supervisor, lines, events, directory } = supervise(test);
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    supervisor.end();
    await status;
    const drained = events().filter(({ event }) => event.startsWith("drained"));
    assert.deepEqual(new Set(drained.map(({ event }) => event)), new Set(["drained with redis"]));
    assert.equal(drained.length, 8);
    assert.equal(existsSync(prepareOwnRedis(directory).socketPath), false);
  });

  it("starts a process again that dies, and Redis too", async (test) => {
    const { supervisor, lines, warnings, events, directory } = supervise(test);
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    const [victim = 0] = pidsOf(events());
    process.kill(victim, "SIGKILL");
    process.kill(redisPid(directory), "SIGKILL");
    await waitFor(() => pidsOf(events()).length === 9, { describe: "a ninth process" });
    await untilRedisAnswers(prepareOwnRedis(directory), AbortSignal.timeout(10_000));
    supervisor.end();
    assert.equal(await status, 0);
    assert.equal(lines.filter((line) => line === "ready").length, 1);
    assert.equal(warnings.length, 2);
    assert.ok(warnings.some((text) => text.endsWith(`pid ${victim} killed by SIGKILL`)));
    assert.ok(warnings.some((text) => /^process redis pid \d+ killed by SIGKILL$/.test(text)));
  });

  it("kills a process that does not drain in time, and still ends with 0", async (test) => {
    const { supervisor, lines, warnings, events } = supervise(test, {
      behaviour: "does not drain",
      graceMs: 500,
    });
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    supervisor.end();
    assert.equal(await status, 0);
    assert.ok(warnings.includes("process qmgr did not end within 0.5 s: killed"));
    assert.deepEqual(pidsOf(events()).filter(isAlive), []);
  });

  it("gives up when a service refuses its configuration at start", async (test) => {
    const { supervisor, lines, warnings } = supervise(test, {
      behaviour: "refuses its configuration",
    });
    assert.equal(await supervisor.run(), 78);
    assert.deepEqual(lines, []);
    assert.ok(warnings.some((text) => text.endsWith("exit status 78")));
  });

  it("runs no Redis of its own when another is named, which outlives it", async (test) => {
    const elsewhere = mkdtempSync(join(tmpdir(), "postmq-start-"));
    test.after(() => rmSync(elsewhere, { recursive: true, force: true }));
    const place = prepareOwnRedis(elsewhere);
    spawnOwnRedis(place);
    await untilRedisAnswers(place, AbortSignal.timeout(10_000));
    const { supervisor, lines, events, directory } = supervise(test, {
      redisUrl: `unix://${place.socketPath}`,
    });
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    supervisor.end();
    assert.equal(await status, 0);
    assert.equal(existsSync(join(directory, "redis")), false);
    assert.ok(events().some(({ event }) => event === "drained with redis"));
    assert.equal(await endLeftRedis(place, 10_000), true);
  });

  it("ends while Redis is still coming up when it is told to", async (test) => {
    const { supervisor, lines, events } = supervise(test);
    const status = supervisor.run();
    supervisor.end();
    assert.equal(await status, 0);
    assert.deepEqual([lines, events()], [[], []]);
  });

  it("ends a Redis that an earlier start left on its data", async (test) => {
    const { supervisor, lines, warnings, directory } = supervise(test);
    const place = prepareOwnRedis(directory);
    const left = spawnOwnRedis(place);
    await untilRedisAnswers(place, AbortSignal.timeout(10_000));
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    assert.equal(left.exitCode, 0);
    assert.deepEqual(warnings, ["ended a Redis that an earlier start had left running"]);
    supervisor.end();
    assert.equal(await status, 0);
    assert.equal(await endLeftRedis(place, 1_000), false);
  });

  it("has Redis write its append-only file anew when a power cut tore it within a script", async (test) => {
    const { supervisor, lines, warnings, directory } = supervise(test);
    const place = prepareOwnRedis(directory);
    const cli = async (...args: readonly string[]) =>
      (await run("redis-cli", ["-s", place.socketPath, ...args])).stdout.trim();
    spawnOwnRedis(place);
    await untilRedisAnswers(place, AbortSignal.timeout(10_000));
    await cli("SET", "whole", "1");
    await cli("EVAL", "for i = 1, 3 do redis.call('SET', 'half' .. i, i) end", "0");
    await endLeftRedis(place, 10_000);
    const [file = ""] = globSync(join(place.directory, "appendonlydir", "*.incr.aof"));
    // In the middle of the script's last command.
    truncateSync(file, readFileSync(file).lastIndexOf("half3"));
    const status = supervisor.run();
    await waitFor(() => lines.includes("ready"), { describe: "ready" });
    assert.deepEqual(warnings, [
      "Redis found its append-only file torn at the end, and wrote it anew",
    ]);
    assert.equal(await cli("SET", "later", "1"), "OK");
    supervisor.end();
    assert.equal(await status, 0);
    // The second start is the one that would carry out half of the script.
    spawnOwnRedis(place);
    await untilRedisAnswers(place, AbortSignal.timeout(10_000));
    const keys = (await cli("KEYS", "*")).split("\n");
    assert.equal(await endLeftRedis(place, 10_000), true);
    assert.deepEqual(keys.toSorted(), ["later", "whole"]);
  });
});

function redisPid(directory: string): number {
  return Number(readFileSync(join(directory, "redis", "redis.pid"), "utf8"));
}
