import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { on, once } from "node:events";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "node:test";
import { Child, freePort, startRedis, waitFor } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

const entry = fileURLToPath(new URL("fake-service.test-support.ts", import.meta.url));

type Report = { readonly type: string; readonly listener?: string; readonly address?: string };

class FakeService {
  readonly child: Child;
  readonly reports: Report[] = [];
  readonly metricsPort: number;

  constructor(metricsPort: number, env: Readonly<Record<string, string>>) {
    this.metricsPort = metricsPort;
    this.child = new Child(process.execPath, [entry], {
      env: {
        POSTMQ_METRICS_LISTEN: `127.0.0.1:${metricsPort}`,
        POSTMQ_SMTPD_LISTEN: "127.0.0.1:0",
        ...env,
      },
      onMessage: (message) => this.reports.push(message as Report),
    });
  }

  async get(path: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.metricsPort}${path}`);
      return { status: response.status, text: await response.text() };
    } catch {
      return undefined; // Not listening yet: the caller waits.
    }
  }

  isReady(): boolean {
    return this.reports.some(({ type }) => type === "ready");
  }

  async whenReady(): Promise<void> {
    await waitFor(() => this.isReady(), {
      describe: () => `ready:\n${this.child.stdout}${this.child.stderr}`,
    });
  }
}

describe("runService", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(async () => {
    await redis[Symbol.asyncDispose]();
  });

  async function start(env: Readonly<Record<string, string>> = {}): Promise<FakeService> {
    return new FakeService(await freePort(), { POSTMQ_REDIS_URL: redis.url, ...env });
  }

  it("tells its listeners, its health and its metrics; P10 drains at SIGTERM and ends with 0", async () => {
    const service = await start({ FAKE: "slow-drain" });
    await service.whenReady();
    const listeners = service.reports.filter(({ type }) => type === "listening");
    assert.deepEqual(
      listeners.map(({ listener }) => listener),
      ["smtp", "metrics"],
    );
    assert.match(listeners[0]?.address ?? "", /^127\.0\.0\.1:[1-9]\d*$/);
    assert.deepEqual(await service.get("/livez"), { status: 200, text: "ok\n" });
    assert.deepEqual(await service.get("/readyz"), { status: 200, text: "ok\n" });
    assert.equal((await service.get("/else"))?.status, 404);
    const metrics = (await service.get("/metrics"))?.text ?? "";
    assert.match(metrics, /postmq_ready\{service="smtpd"\} 1/);
    assert.match(metrics, /postmq_redis_durability\{mode="always",service="smtpd"\} 1/);
    const exit = await service.child.terminate();
    assert.deepEqual(exit, { code: 0, signal: null }, service.child.stdout + service.child.stderr);
    assert.match(service.child.stdout, /draining\n.*drained\n/);
  });

  it("waits for a Redis that is not there yet: alive, not ready, one warning; then ends at SIGTERM", async () => {
    const service = await start({
      POSTMQ_REDIS_URL: `redis://:canary@127.0.0.1:${await freePort()}`,
    });
    await waitFor(() => service.get("/livez"));
    assert.deepEqual(await service.get("/readyz"), {
      status: 503,
      text: "the store is not connected\n",
    });
    assert.equal(service.isReady(), false);
    await waitFor(() => service.child.stdout.includes("(trying again)"), {
      describe: "a warning in the log",
    });
    const exit = await service.child.terminate();
    assert.deepEqual(exit, { code: 0, signal: null }, service.child.stdout + service.child.stderr);
    assert.doesNotMatch(service.child.stdout + service.child.stderr, /canary/);
  });

  it("starts by itself once Redis has come, and is not ready while Redis is away", async () => {
    await using late = await startRedis();
    await late.kill9();
    const service = await start({ POSTMQ_REDIS_URL: late.url });
    await waitFor(() => service.get("/livez"));
    await late.restart();
    await service.whenReady();
    await late.kill9();
    await waitFor(async () => (await service.get("/readyz"))?.status === 503);
    assert.equal((await service.get("/livez"))?.status, 200);
    await late.restart();
    await waitFor(async () => (await service.get("/readyz"))?.status === 200);
    await service.child.terminate();
  });

  it("P9 ends with 78 naming the cause when Redis would drop mail", async () => {
    await using unfit = await startRedis({ args: ["--maxmemory-policy", "allkeys-lru"] });
    const service = await start({ POSTMQ_REDIS_URL: unfit.url });
    const exit = await service.child.exited;
    assert.equal(exit.code, 78);
    assert.match(service.child.stderr, /fatal: .*noeviction/);
  });

  it("ends with 78 naming parameter, value and bound of a wrong configuration", async () => {
    const service = await start({ POSTMQ_SMTPD_TIMEOUT: "soon" });
    assert.equal((await service.child.exited).code, 78);
    assert.match(service.child.stderr, /fatal: parameter smtpd_timeout = "soon": a time is/);
  });

  it("ends with 71 when an address is taken, naming it and its parameter", async () => {
    const service = await start();
    await service.whenReady();
    for (const [listener, parameter] of [
      ["smtp", "smtpd_listen"],
      ["metrics", "metrics_listen"],
    ]) {
      const taken = service.reports.find((report) => report.listener === listener)?.address ?? "";
      const second = await start({ [`POSTMQ_${parameter?.toUpperCase()}`]: taken });
      assert.equal((await second.child.exited).code, 71);
      assert.match(second.child.stderr, new RegExp(`${parameter} = ${taken}: .*EADDRINUSE`));
    }
    await service.child.terminate();
  });

  it("ends with 70 at an uncaught error, which is logged without secrets", async () => {
    const service = await start({ FAKE: "throw" });
    assert.equal((await service.child.exited).code, 70);
    assert.match(service.child.stdout, /error: Error: a bug at redis:\/\/\*\*\*@h\?/);
    assert.doesNotMatch(service.child.stdout + service.child.stderr, /canary/);
  });

  it("P10 drains and ends when the supervisor that started it is gone", async () => {
    const orphan = fork(entry, [], {
      env: {
        PATH: process.env.PATH,
        POSTMQ_REDIS_URL: redis.url,
        POSTMQ_METRICS_LISTEN: "",
        POSTMQ_SMTPD_LISTEN: "127.0.0.1:0",
      },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    for await (const [message] of on(orphan, "message")) {
      if ((message as Report).type === "ready") break;
    }
    orphan.disconnect();
    assert.deepEqual(await once(orphan, "exit"), [0, null]);
  });

  it("says why the service is not ready", async () => {
    const service = await start({ FAKE: "unready" });
    await service.whenReady();
    assert.deepEqual(await service.get("/readyz"), { status: 503, text: "not today\n" });
    await service.child.terminate();
  });
});
