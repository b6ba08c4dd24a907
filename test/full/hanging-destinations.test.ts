/**
 * Fault 25: a destination that hangs, at each step of the dialogue in turn, under the time limits that are the default,
 * beside others that get mail as fast as it goes.
 *
 * The rate of the others is measured beside it and without it, in turns, by the processor time that the system could have
 * had. What hung is delivered when it is let go; nobody gets anything twice.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { startPostmq, waitFor } from "@postmq/testing";
import type { PostmqSystem, SmtpStage } from "@postmq/testing";

import { bestRate, describeRate, measureRate, medianOf } from "../support/delivery-rate.ts";
import type { Rate } from "../support/delivery-rate.ts";
import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { GatedSink } from "../support/gated-sink.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";
import { quantile } from "../support/small-mail.ts";
import { SteadyStream } from "../support/steady-stream.ts";

const steps = ["greeting", "ehlo", "mail", "rcpt", "data", "dot", "quit"] as const;
const otherDomains = 20;
const messagesEach = 20;
const windows = 3;
const windowSeconds = 1.5;
/** Of the lower of the rates before and after it: in the median of all steps, and at each, where a few seconds tell less. */
const leastShare = 0.9;
const leastShareAtStep = 0.6;

describe("fault 25: a destination that hangs", () => {
  it("leaves the others at least 90 % of their rate, whatever the step, and gets its mail once when it wakes up", async (context) => {
    await using stack = new AsyncDisposableStack();
    const hanging = await Promise.all(steps.map((step) => startHanging(stack, step)));
    const sinks = await startSinks(stack, otherDomains);
    const ports = new Map([
      ...portsOf(sinks),
      ...hanging.map(({ domain, sink }): [string, number] => [domain, sink.server.port]),
    ]);
    const system = stack.use(
      await startPostmq({ parameters: { transport_maps: transportMaps(ports) } }),
    );
    const { smtpPort } = system;
    const stream = new SteadyStream({ smtpPort, sinks, sessions: 6, mostUnderWay: 300 });
    const pids = [...system.runs.map(({ pid }) => pid), system.redis.pid, process.pid];
    const measure = () => measureRate(stream, { pids, windows, windowSeconds });
    await stream.count(4 * windowSeconds);
    const without: Rate[] = [await measure()];
    const beside: Rate[] = [];
    for (const each of hanging) {
      await flood(smtpPort, addressesAt(each.domain, messagesEach));
      await waitFor(() => each.sink.held > 0, { describe: each.domain });
      const enough = leastShare * (without.at(-1)?.perProcessorSecond ?? 0);
      beside.push(await bestRate(measure, (rate) => rate.perProcessorSecond >= enough));
      await letGo(each, system);
      without.push(await measure());
    }
    await stream.stop();
    await waitUntilDrained(system.redis);

    const perProcessorSecond = without.map((rate) => rate.perProcessorSecond);
    const shares = beside.map((rate, at) => {
      const [before = 0, after = 0] = perProcessorSecond.slice(at, at + 2);
      return rate.perProcessorSecond / Math.min(before, after);
    });
    context.diagnostic(
      `messages/s (and by second of processor time that the system could have had) for ${otherDomains} others: ` +
        `${describeRate(medianOf(without))} without it, ${describeRate(medianOf(beside))} beside it; of the lower of ` +
        `the rates before and after: ${steps.map((step, at) => `${step} ${percent(shares[at])}`).join(", ")}`,
    );
    const recipients = hanging.flatMap(({ domain }) => addressesAt(domain, messagesEach));
    const servers = [...hanging.map(({ sink }) => sink.server), ...sinks.values()];
    assertEachOnce([...recipients, ...stream.recipients], countCopies(servers));
    const middle = quantile(
      shares.toSorted((a, b) => a - b),
      0.5,
    );
    assert.ok(middle >= leastShare, `${percent(middle)} in the median`);
    assert.ok(shares.every((share) => share >= leastShareAtStep));
    assert.deepEqual(await system.stop(), []);
  });
});

function percent(share = 0): string {
  return `${Math.round(100 * share)} %`;
}

/** Lets it take what it kept waiting. */
async function letGo({ sink, domain }: Hanging, system: PostmqSystem): Promise<void> {
  sink.open();
  await waitFor(() => sink.server.messages.length >= messagesEach, {
    timeoutMs: 120_000,
    everyMs: 100,
    describe: () => `the mail to ${domain}\n${system.lastLines()}`,
  });
}

type Hanging = { readonly domain: string; readonly sink: GatedSink };

async function startHanging(stack: AsyncDisposableStack, step: SmtpStage): Promise<Hanging> {
  const sink = stack.use(await GatedSink.start());
  sink.holdAt(step);
  return { domain: `${step}.example.com`, sink };
}
