/** Fault 45: delivery processes from one to eight and back while mail flows, one of them killed, without any setting. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { startPostmq, waitFor } from "@postmq/testing";

import { countCopies } from "../support/flood.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { probeRequests, probeWorkers, waitUntilDrained } from "../support/redis-probe.ts";
import { SteadyStream } from "../support/steady-stream.ts";

const most = 8;
const concurrency = 10;
const phaseSeconds = 8;

describe("fault 45: workers from 1 to 8 and back", () => {
  it("are used as they come and missed by nobody as they go; a killed one's claims come back", async (context) => {
    await using stack = new AsyncDisposableStack();
    const sinks = await startSinks(stack, 12);
    for (const sink of sinks.values()) {
      sink.decide = ({ stage }) =>
        stage === "data" || stage === "dot" ? { delayMs: 300 } : undefined;
    }
    const system = stack.use(
      await startPostmq({
        parameters: {
          transport_maps: transportMaps(portsOf(sinks)),
          smtp_delivery_concurrency: String(concurrency),
          // For what the killed worker had sent the dot of: whether it arrived nobody knows, so it rests, and is tried again.
          minimal_backoff_time: "1s",
          queue_run_delay: "1s",
        },
      }),
    );
    const stream = new SteadyStream({
      smtpPort: system.smtpPort,
      sinks,
      sessions: 4,
      mostUnderWay: 400,
    });
    const rates: string[] = [];
    const measure = async (workers: number) => {
      const changedMs = Date.now();
      await waitFor(
        async () => (await probeWorkers(system.redis)).capacity === workers * concurrency,
        { everyMs: 100, describe: () => `capacity\n${system.lastLines()}` },
      );
      const followedMs = Date.now() - changedMs;
      const rate = (await stream.count(phaseSeconds)) / phaseSeconds;
      const { capacity, liveWorkers } = await probeWorkers(system.redis);
      assert.deepEqual([capacity, liveWorkers], [workers * concurrency, workers]);
      rates.push(`${workers}: ${Math.round(rate)}/s (capacity ${capacity} after ${followedMs} ms)`);
      return rate;
    };

    const alone = await measure(1);
    for (let index = 1; index < most; index += 1) await system.add("smtp-delivery");
    await system.ready();
    const together = await measure(most);

    const victim = system.service("smtp-delivery", most - 1);
    const claims = await waitFor(
      async () => {
        victim.freeze();
        const held = (await probeRequests(system.redis)).filter(({ worker }) =>
          worker.includes(`-${victim.pid}.`),
        );
        const dotSent = held.filter(({ state }) => state === "dotSent");
        if (dotSent.length > 0 && dotSent.length < held.length) return { held, dotSent };
        victim.thaw();
        return undefined;
      },
      // It must run between two looks to get on.
      { everyMs: 200, describe: "claims on both sides of the dot" },
    );
    await victim.kill9();
    await measure(most - 1);

    const leaving = Array.from({ length: most - 2 }, (_, n) =>
      system.service("smtp-delivery", n + 1),
    );
    const exits = await Promise.all(leaving.map((worker) => worker.terminate()));
    const aloneAgain = await measure(1);
    await stream.stop();
    await waitUntilDrained(system.redis);

    const copies = countCopies([...sinks.values()]);
    const lost = stream.recipients.filter((recipient) => !copies.has(recipient));
    const repeated = stream.recipients.filter((recipient) => (copies.get(recipient) ?? 0) > 1);
    const mayRepeat = new Set(claims.dotSent.flatMap(({ recipients }) => recipients));
    context.diagnostic(`messages/s by workers: ${rates.join(", ")}`);
    context.diagnostic(
      `${stream.recipients.length} sent, ${lost.length} lost; the killed worker held ` +
        `${claims.held.length} requests, ${claims.dotSent.length} of them after the dot; ${repeated.length} doubled`,
    );
    assert.deepEqual(lost, []);
    assert.deepEqual(
      repeated.filter((recipient) => !mayRepeat.has(recipient)),
      [],
    );
    assert.deepEqual(new Set(exits.map(({ code }) => code)), new Set([0]));
    assert.ok(together > 1.5 * alone, `${together} with ${most}, ${alone} alone`);
    assert.ok(aloneAgain > 0.5 * alone, `${aloneAgain} and before ${alone}`);
    assert.deepEqual(await system.stop(), []);
  });
});
