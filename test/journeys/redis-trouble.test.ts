/** P1, P4, P5, P9; faults 11, 15, 17, 18 and 22: what Redis does to us, and what we owe all the same. */
import assert from "node:assert/strict";
import { appendFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  Ledger,
  ledgerReader,
  MailFlow,
  seededRandom,
  sendMail,
  startPostmq,
  startRedis,
  submitRaw,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem, RedisServer } from "@postmq/testing";

import { assertTemporary, settleAccount } from "../support/account.ts";
import { probeDepth } from "../support/redis-probe.ts";

const ballastBytes = 64 * 1024 * 1024;
/** How long Redis stays at its limit. */
const fullForMs = 5000;
const quick = {
  minimal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
};

describe("fault 11: Redis is killed and started again", () => {
  it("P4 P5 loses and repeats nothing, and no daemon restarts", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 300 } : undefined),
    });
    await using redis = await startRedis();
    await using system = await startPostmq({
      redis,
      parameters: {
        ...quick,
        relayhost: sink.relayhost,
        leader_lease_time: "3s",
        // Shorter than the outage: the heartbeats are gone when Redis is back, the workers are not.
        worker_heartbeat_time: "3s",
      },
    });
    const ledger = new Ledger();
    const flow = new MailFlow({
      ledger,
      random: seededRandom(11),
      smtpPort: system.smtpPort,
      submissionUrl: system.submissionUrl,
      sessions: 3,
    });
    for (const awayMs of [500, 5000]) {
      const before = sink.accepted.length;
      await waitFor(() => sink.accepted.length > before + 20);
      await redis.kill9();
      const downMs = performance.now();
      await waitFor(() => performance.now() - downMs > awayMs);
      await redis.restart();
    }
    const before = sink.accepted.length;
    await waitFor(() => sink.accepted.length > before + 20);
    await flow.stop();
    const report = await settleAccount({ ledger, sink, system });
    assert.ok(flow.refusals.length > 0, "nothing was refused while Redis was away");
    assertTemporary(flow.refusals);
    assert.deepEqual([...report.duplicates], []);
    assert.deepEqual(report.unknown, []);
    assert.ok(system.runs.every((run) => run.isRunning));
    assert.deepEqual(report.brokenInvariants, []);
    assert.deepEqual(await system.stop(), []);
  });
});

describe("fault 15: the end of the append-only file is torn", () => {
  it("starts again and delivers everything that was accepted", async () => {
    await using sink = await FakeSmtpServer.start();
    await using redis = await startRedis();
    const ledger = new Ledger();
    {
      await using intake = await startPostmq({ redis, services: ["smtpd", "pickup"] });
      for (let count = 0; count < 20; count += 1) {
        const mail = testMail();
        const isAccepted =
          count % 2 === 0
            ? (await sendMail(intake.smtpPort, mail)).code === 250
            : (await submitRaw(intake.submissionUrl, mail)).status === 202;
        assert.ok(isAccepted);
        ledger.accept(mail.id, mail.to[0] ?? "");
      }
      await redis.kill9();
    }
    const appendOnly = join(redis.dir, "appendonlydir");
    const files = await readdir(appendOnly);
    const last =
      files
        .filter((name) => name.endsWith(".incr.aof"))
        .toSorted()
        .at(-1) ?? "";
    await appendFile(join(appendOnly, last), "*3\r\n$3\r\nSET\r\n$5\r\nhalf-");
    await redis.restart();
    await using system = await startPostmq({ redis, parameters: { relayhost: sink.relayhost } });
    const report = await settleAccount({ ledger, sink, system });
    assert.equal(report.delivered, 20);
    assert.deepEqual([...report.duplicates], []);
    assert.deepEqual(await system.stop(), []);
  });
});

describe("fault 18: a Redis that throws keys away", () => {
  it("P9 is refused at start by every service, naming the policy, with exit 78", async () => {
    await using redis = await startRedis({ args: ["--maxmemory-policy", "allkeys-lru"] });
    for (const name of ["smtpd", "qmgr"] as const) {
      await assert.rejects(
        startPostmq({ redis, services: [name] }),
        /did not start[^]*allkeys-lru[^]*noeviction/,
      );
    }
  });
});

describe("fault 17: Redis is nearly full, then full", () => {
  it("P9 intake answers 452 4.3.1 and 503, deliveries go on, and mail is taken again afterwards", async () => {
    await using sink = await FakeSmtpServer.start();
    await using redis = await startRedis();
    // In proportion to it, what daemons hold at one time is as little as on a server of a usual size.
    await redis.cli("SETRANGE", "ballast", String(ballastBytes), "x");
    await using system = await startPostmq({
      redis,
      parameters: { ...quick, relayhost: sink.relayhost },
    });
    system.service("qmgr").freeze();
    const ledger = new Ledger();
    await takeInTen(system, ledger);
    await setMaxMemory(redis, 1 / 0.87);
    const refused = await waitFor(
      async () => {
        const reply = await sendMail(system.smtpPort, testMail({ to: ["full@dest.example.com"] }));
        return reply.code !== 250 && reply;
      },
      { describe: "a refusal at the high-water mark" },
    );
    assert.match(refused.text, /^452 4\.3\.1 /);
    // Each process looks at Redis once a second.
    const http = await waitFor(
      async () => {
        const answer = await submitRaw(system.submissionUrl, testMail());
        return answer.status !== 202 && answer;
      },
      { describe: "pickup to see the high-water mark" },
    );
    assert.equal(http.status, 503);
    assert.ok(http.headers.has("retry-after"));
    assert.match(http.contentType, /^application\/problem\+json/);
    system.service("qmgr").thaw();
    await ledger.settle({
      refresh: ledgerReader(ledger, sink),
      describe: () => system.lastLines(),
    });
    await redis.cli("CONFIG", "SET", "maxmemory", "0");
    await waitFor(async () => (await sendMail(system.smtpPort, testMail())).code === 250, {
      describe: "mail to be taken again",
    });
    assert.deepEqual(await system.stop(), []);
  });

  it("loses nothing at the limit itself, does not run in circles, and goes on when memory is added", async () => {
    await using sink = await FakeSmtpServer.start();
    await using redis = await startRedis();
    await using system = await startPostmq({
      redis,
      // A frozen leader keeps its term, however long it takes to hand in; and the end of a lease would come too late.
      parameters: { ...quick, relayhost: sink.relayhost, leader_lease_time: "300s" },
    });
    system.service("qmgr").freeze();
    const ledger = new Ledger();
    await takeInTen(system, ledger);
    await setMaxMemory(redis, 0.5);
    system.service("qmgr").thaw();
    const commandsBefore = await countCommands(redis);
    const fenceBefore = await redis.cli("GET", "postmq:{default}:fence");
    const startMs = performance.now();
    await waitFor(() => performance.now() - startMs > fullForMs);
    const commands = (await countCommands(redis)) - commandsBefore;
    const perSecond = commands / ((performance.now() - startMs) / 1000);
    assert.ok(perSecond < 1000, `${Math.round(perSecond)} commands a second at the limit`);
    assert.equal(await redis.cli("GET", "postmq:{default}:fence"), fenceBefore, "a term ended");
    await redis.cli("CONFIG", "SET", "maxmemory", "0");
    const report = await settleAccount({ ledger, sink, system });
    assert.equal(report.delivered, 10);
    assert.deepEqual([...report.duplicates], []);
    assert.ok(system.runs.every((run) => run.isRunning));
    assert.deepEqual(await system.stop(), []);
  });
});

async function takeInTen(system: PostmqSystem, ledger: Ledger): Promise<void> {
  for (let count = 0; count < 10; count += 1) {
    const mail = testMail();
    assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    ledger.accept(mail.id, mail.to[0] ?? "");
  }
}

/** Sets maxmemory to so many times what is in use. */
async function setMaxMemory(redis: RedisServer, times: number): Promise<void> {
  const used = Number(/used_memory:(\d+)/.exec(await redis.cli("INFO", "memory"))?.[1]);
  await redis.cli("CONFIG", "SET", "maxmemory", String(Math.ceil(used * times)));
}

async function countCommands(redis: RedisServer): Promise<number> {
  return Number(
    /total_commands_processed:(\d+)/.exec(await redis.cli("INFO", "stats"))?.[1] ?? Number.NaN,
  );
}

describe("fault 22: the data of Redis is gone", () => {
  it("readiness goes red, and nothing is acknowledged into the empty store", async () => {
    await using system = await startPostmq({ services: ["smtpd", "pickup", "cleanup"] });
    assert.equal((await sendMail(system.smtpPort, testMail())).code, 250);
    await system.redis.cli("FLUSHALL");
    await waitFor(
      async () => (await fetch(`${system.metricsUrl("smtpd")}/readyz`)).status === 503,
      { describe: "readiness to go red" },
    );
    const reply = await sendMail(system.smtpPort, testMail());
    assert.match(reply.text, /^4\d\d 4\.3\.\d /);
    assert.equal((await submitRaw(system.submissionUrl, testMail())).status, 503);
    assert.equal(await probeDepth(system.redis, "incoming"), 0);
    const live = await fetch(`${system.metricsUrl("smtpd")}/livez`);
    assert.equal(live.status, 200);
  });
});
