/**
 * Fault 44: a destination with 20 000 messages that does not take them.
 *
 * It accepts connections and says nothing, beside thirty others that get mail as fast as it goes. The rate of the
 * others is measured without it, beside it, and again when it has recovered and got all its mail; each time by the
 * processor time that the system could have had, since the machine may be busy with other things as well. Or it refuses
 * connections, and is dead at once.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer, freePort, startPostmq, waitFor } from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { deliveryLines, isSuspended } from "../support/delivery-log.ts";
import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { bestRate, describeRate, measureRate } from "../support/delivery-rate.ts";
import type { Rate } from "../support/delivery-rate.ts";
import { GatedSink } from "../support/gated-sink.ts";
import { Highest, readMetric } from "../support/gauges.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { probeDepth, waitUntilDrained } from "../support/redis-probe.ts";
import { siteReport } from "../support/site-report.ts";
import { assertPrompt, describeDelays, SmallMail } from "../support/small-mail.ts";
import { SteadyStream } from "../support/steady-stream.ts";

const silentMessages = 20_000;
const otherDomains = 30;
const activeLimit = 5000;
const share = activeLimit / 5;
const phaseWindows = 5;
const windowSeconds = 3;
const silentDomain = "silent.example.com";

/** Messages in active that have requests for it. */
async function heldFor(system: PostmqSystem, nexthop: string): Promise<number> {
  const { waiting, inFlight } = await siteReport(system, nexthop);
  return waiting + inFlight;
}

/** By more than the tenth that may be. */
function isSlower(rate: Rate, other: Rate): boolean {
  return rate.perProcessorSecond < 0.9 * other.perProcessorSecond;
}

describe("fault 44: a destination that hangs, with 20 000 messages", () => {
  it("S31 leaves the others at least 90 % of their rate, holds a fifth of active, and gets its mail in the end", async (context) => {
    await using stack = new AsyncDisposableStack();
    const silent = stack.use(await GatedSink.start());
    silent.holdAt("greeting");
    const sinks = await startSinks(stack, otherDomains);
    const ports = new Map([...portsOf(sinks), [silentDomain, silent.server.port]]);
    const system = stack.use(
      await startPostmq({
        parameters: {
          transport_maps: transportMaps(ports),
          qmgr_message_active_limit: String(activeLimit),
          qmgr_message_recipient_limit: String(activeLimit),
          // Longer than this takes: it shall hang, and not be found dead.
          smtp_helo_timeout: "1h",
        },
      }),
    );
    const nexthop = silent.server.relayhost;
    const stream = new SteadyStream({
      smtpPort: system.smtpPort,
      sinks,
      sessions: 6,
      mostUnderWay: 300,
    });
    const pids = [...system.runs.map(({ pid }) => pid), system.redis.pid, process.pid];
    const measure = () => measureRate(stream, { pids, windows: phaseWindows, windowSeconds });
    // From the first phase on, since looking costs something too.
    const held = new Highest(() => heldFor(system, nexthop));
    const active = new Highest(() =>
      readMetric(system.metricsUrl("qmgr"), "postmq_qmgr_active_messages"),
    );
    await stream.count(3 * windowSeconds);
    const before = await measure();
    stream.isPaused = true;

    const recipients = addressesAt(silentDomain, silentMessages);
    const floodedMs = Date.now();
    await flood(system.smtpPort, recipients);
    await waitFor(
      async () => (await probeDepth(system.redis, "deferred")) >= silentMessages - share,
      {
        timeoutMs: 120_000,
        everyMs: 200,
        describe: () => `the surplus to be in deferred\n${system.lastLines()}`,
      },
    );
    const floodMs = Date.now() - floodedMs;
    stream.isPaused = false;
    await stream.count(windowSeconds);
    const beside = await bestRate(measure, (rate) => !isSlower(rate, before));
    const inDeferred = await probeDepth(system.redis, "deferred");
    assert.equal(silent.server.messages.length, 0);

    const openedMs = Date.now();
    silent.open();
    await waitFor(() => silent.server.messages.length >= silentMessages, {
      timeoutMs: 240_000,
      everyMs: 100,
      describe: () =>
        `${silent.server.messages.length} of ${silentMessages}\n${system.lastLines()}`,
    });
    const recoveryMs = Date.now() - openedMs;
    const lowerOf = (one: Rate, other: Rate) =>
      one.perProcessorSecond < other.perProcessorSecond ? one : other;
    let after = await measure();
    if (isSlower(beside, lowerOf(before, after))) after = lowerOf(after, await measure());
    const [mostHeld, mostActive] = await Promise.all([held.stop(), active.stop()]);
    await stream.stop();
    await waitUntilDrained(system.redis);

    const lower = lowerOf(before, after);
    const least = lower.perProcessorSecond;
    context.diagnostic(
      `messages/s (and by second of processor time that the system could have had) for ${otherDomains} others: ` +
        `${describeRate(before)} without it, ${describeRate(beside)} beside it, ${describeRate(after)} after it; ` +
        `${Math.round((100 * beside.perProcessorSecond) / least)} % of the lower`,
    );
    context.diagnostic(
      `${silentMessages} handed in and sorted in ${floodMs} ms; ${inDeferred} wait in deferred; ` +
        `at most ${mostHeld} of it in active (share ${share}), ${mostActive} of all (limit ${activeLimit}); ` +
        `all arrived ${recoveryMs} ms after it recovered`,
    );
    const copies = countCopies([silent.server, ...sinks.values()]);
    assertEachOnce([...recipients, ...stream.recipients], copies);
    assert.ok(mostHeld <= share * 1.1, `${mostHeld} of ${share}`);
    assert.ok(!isSlower(beside, lower), `${describeRate(beside)} beside it`);
    assert.deepEqual(await system.stop(), []);
  });
});

describe("fault 44: a destination that refuses connections, with 20 000 messages", () => {
  it("S28 is asked a few times only, delays no other mail, and gets its mail after a flush", async (context) => {
    await using stack = new AsyncDisposableStack();
    const [[other, otherSink] = ["", undefined]] = [...(await startSinks(stack, 1))];
    assert.ok(otherSink !== undefined);
    const closedPort = await freePort();
    const ports = new Map([
      [other, otherSink.port],
      [silentDomain, closedPort],
    ]);
    const system = stack.use(
      await startPostmq({
        parameters: {
          transport_maps: transportMaps(ports),
          // Nothing is due again before the flush.
          minimal_backoff_time: "1h",
          maximal_backoff_time: "2h",
        },
      }),
    );
    const recipients = addressesAt(silentDomain, silentMessages);
    const small = new SmallMail({
      smtpPort: system.smtpPort,
      sink: otherSink,
      domain: other,
      everyMs: 50,
    });
    const floodedMs = Date.now();
    await flood(system.smtpPort, recipients);
    await waitFor(async () => (await probeDepth(system.redis, "deferred")) >= silentMessages, {
      timeoutMs: 120_000,
      everyMs: 200,
      describe: () => `all to be deferred\n${system.lastLines()}`,
    });
    const floodMs = Date.now() - floodedMs;
    const delays = small.delaysMs(floodedMs);
    const lines = deliveryLines(system.logs, silentDomain);
    const asked = lines.filter((line) => !isSuspended(line)).length;

    const recovered = stack.use(
      await FakeSmtpServer.start({ port: closedPort, keepsContent: false }),
    );
    const flushedMs = Date.now();
    const flush = await system.command("postqueue", ["-f"]);
    assert.equal(flush.code, 0, flush.stderr);
    await waitFor(() => recovered.messages.length >= silentMessages, {
      timeoutMs: 120_000,
      everyMs: 100,
      describe: () => `${recovered.messages.length} of ${silentMessages}\n${system.lastLines()}`,
    });
    const recoveryMs = Date.now() - flushedMs;
    await small.stop();
    await waitUntilDrained(system.redis);
    context.diagnostic(
      `${silentMessages} handed in and deferred in ${floodMs} ms, ${asked} of them after an attempt; ` +
        `all arrived ${recoveryMs} ms after it recovered and postqueue -f`,
    );
    context.diagnostic(`small mail meanwhile: ${describeDelays(delays)}`);
    assertEachOnce([...recipients, ...small.recipients], countCopies([recovered, otherSink]));
    assert.ok(asked <= 20, `${asked} attempts`);
    assertPrompt(delays);
    assert.deepEqual(await system.stop(), []);
  });
});
