/** P1, fault 13: the power goes. What was answered is on disk. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  Ledger,
  MailFlow,
  seededRandom,
  startPostmq,
  waitFor,
} from "@postmq/testing";

import { settleAccount } from "../support/account.ts";
import { hasStrace, startTracedRedis } from "../support/traced-redis.ts";

const cuts = 6;

async function directoryOf(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "postmq-power-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

describe("fault 13: a power cut", { skip: !hasStrace() && "strace is not installed" }, () => {
  it("P1 loses nothing that was answered, and repeats at most what was in flight", async (context) => {
    await using stack = new AsyncDisposableStack();
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 300 } : undefined),
    });
    const traced = await startTracedRedis(await directoryOf(stack), "always");
    await using redis = traced.redis;
    await using system = await startPostmq({
      redis,
      parameters: { relayhost: sink.relayhost, minimal_backoff_time: "1s", queue_run_delay: "1s" },
    });
    const ledger = new Ledger();
    const flow = new MailFlow({
      ledger,
      random: seededRandom(13),
      smtpPort: system.smtpPort,
      submissionUrl: system.submissionUrl,
      pauseMs: 20,
      mayGoOn: () => ledger.accepted - sink.messages.length < 200,
    });
    const random = seededRandom(15);
    let mayRepeat = 0;
    let lostBytes = 0;
    for (let cut = 0; cut < cuts; cut += 1) {
      const before = sink.accepted.length;
      await waitFor(() => sink.accepted.length > before + 100);
      await delay(random.between(0, 50));
      mayRepeat += sink.messages.filter(({ answeredMs }) => answeredMs === undefined).length;
      lostBytes += await traced.cutPower();
      await redis.restart();
    }
    const before = sink.accepted.length;
    await waitFor(() => sink.accepted.length > before + 50);
    await flow.stop();
    const report = await settleAccount({ ledger, sink, system });
    context.diagnostic(
      `${report.accepted} accepted, ${report.delivered} delivered, ${report.duplicates.size} doubled; ` +
        `${cuts} cuts, ${mayRepeat} in flight at them, ${lostBytes} unsynced bytes cut`,
    );
    assert.ok(report.duplicates.size <= mayRepeat, `${report.duplicates.size} of ${mayRepeat}`);
    assert.deepEqual(report.unknown, []);
    assert.deepEqual(report.brokenInvariants, []);
    assert.deepEqual(await system.stop(), []);
  });

  it("loses accepted mail with appendfsync no: the cut is a real one", async () => {
    await using stack = new AsyncDisposableStack();
    await using sink = await FakeSmtpServer.start();
    const traced = await startTracedRedis(await directoryOf(stack), "no");
    await using redis = traced.redis;
    const ledger = new Ledger();
    {
      await using intake = await startPostmq({
        redis,
        services: ["smtpd"],
        parameters: { relayhost: sink.relayhost },
      });
      await using flow = new MailFlow({
        ledger,
        random: seededRandom(14),
        smtpPort: intake.smtpPort,
      });
      await waitFor(() => ledger.accepted > 100);
      await flow.stop();
    }
    assert.ok((await traced.cutPower()) > 0);
    await redis.restart();
    assert.equal(await redis.cli("--scan", "--pattern", "postmq:*:m:*"), "");
  });
});
