/**
 * Fault 29: how many delivery slots a server holds whose answers drip in byte by byte, and for how long.
 *
 * The law. One delivery holds one slot and one connection. A command's deadline is not put off by bytes that drip in, so an
 * attempt is over by the sum of the deadlines of its commands, and by half of daemon_timeout whatever they are. A server
 * that misses deadlines gets no more deliveries than it was given at first (initial_destination_concurrency), each of them
 * for one deadline at most, and is dead then; one that just meets them gets destination_concurrency_limit at once.
 *
 * Slots are counted by the scheduler's own word and by the connections that the server sees; times by the server.
 *
 * Source: delivery.md §2, §4; S23, S26, S28, S35; faults.md 29.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TestContext } from "node:test";

import { FakeSmtpServer, SmtpClient, startPostmq, testMail, waitFor } from "@postmq/testing";
import type { PostmqSystem, SmtpStage } from "@postmq/testing";

import { Highest } from "../support/gauges.ts";
import { transportMaps } from "../support/many-destinations.ts";
import { probeDepth } from "../support/redis-probe.ts";
import { siteReport } from "../support/site-report.ts";

const steps = ["greeting", "ehlo", "mail", "rcpt", "data", "dot"] as const;
type Step = (typeof steps)[number];

const deadlineSeconds = 6;
const initialConcurrency = 5;
/** A busy machine is late with a timer, and the server hears of an end late. */
const slackMs = 5_000;

const deadline = `${deadlineSeconds}s`;
const deadlines = {
  smtp_helo_timeout: deadline,
  smtp_mail_timeout: deadline,
  smtp_rcpt_timeout: deadline,
  smtp_data_init_timeout: deadline,
  smtp_data_xfer_timeout: deadline,
  smtp_data_done_timeout: deadline,
};

type Site = {
  readonly domain: string;
  readonly sink: FakeSmtpServer;
  /** Places that its deliveries held at most, as the scheduler tells. */
  readonly held: Highest;
};

describe("fault 29: a server whose answers drip in", () => {
  it("29: holds what it was given at first for one deadline each, when it misses them, and nothing then", async (context) => {
    await using stack = new AsyncDisposableStack();
    const sinks = await startSinks(stack, steps, (step) => ({ drips: step, everyMs: 1_000 }));
    const { system, sites } = await start(stack, sinks);
    await send(system, sites, { messages: 3 * initialConcurrency, recipients: 1 });
    await waitFor(
      async () => {
        const reports = await Promise.all(sites.map((site) => report(system, site)));
        return reports.every(({ isDead, inFlight }) => isDead && inFlight === 0);
      },
      { timeoutMs: 90_000, everyMs: 100, describe: () => `all dead\n${system.lastLines()}` },
    );
    await stopLooking(sites);
    tell(context, sites);
    for (const { domain, sink, held } of sites) {
      assert.ok(held.value <= initialConcurrency, `${domain}: ${held.value} slots`);
      assert.ok(sink.totalConnections <= initialConcurrency, `${domain}: no further delivery`);
      const longestMs = Math.max(...heldMs(sink));
      assert.ok(longestMs <= deadlineSeconds * 1_000 + slackMs, `${domain}: ${longestMs} ms`);
    }
    // What is recorded of the last one, and of those that were not tried, comes a moment later.
    await waitFor(async () => (await probeDepth(system.redis, "active")) === 0, {
      describe: () => `nothing in active\n${system.lastLines()}`,
    });
  });

  it("29: holds destination_concurrency_limit slots when it just meets them, each for the sum of its deadlines", async (context) => {
    const limit = 7;
    await using stack = new AsyncDisposableStack();
    // All of its answers, each of them within a twelfth of the deadline: a busy machine must not make it miss one.
    const sinks = await startSinks(stack, ["all"], () => ({ drips: "all", wholeMs: 500 }));
    const { system, sites } = await start(stack, sinks, {
      default_destination_concurrency_limit: String(limit),
      smtp_connection_cache_on_demand: "no",
    });
    const messages = 8 * limit;
    await send(system, sites, { messages, recipients: 1 });
    await waitFor(() => sites.every(({ sink }) => sink.accepted.length === messages), {
      timeoutMs: 180_000,
      everyMs: 100,
      describe: () => `all mail\n${system.lastLines()}`,
    });
    await stopLooking(sites);
    tell(context, sites);
    for (const { sink, held } of sites) {
      assert.equal(sink.mostConnections, limit);
      assert.ok(held.value <= limit, `${held.value} slots`);
      const longestMs = Math.max(...heldMs(sink));
      assert.ok(longestMs <= steps.length * deadlineSeconds * 1_000, `${longestMs} ms`);
    }
    assert.doesNotMatch(system.logs, /status=(?!sent)/);
  });

  it("29 S35: holds a slot for half of daemon_timeout at most, however many answers it drips", async (context) => {
    const limitSeconds = 12;
    await using stack = new AsyncDisposableStack();
    const sinks = await startSinks(stack, ["rcpt"], () => ({ drips: "rcpt", wholeMs: 1_000 }));
    const { system, sites } = await start(stack, sinks, {
      daemon_timeout: `${2 * limitSeconds}s`,
    });
    const workerId = system.service("smtp-delivery").pid;
    await send(system, sites, { messages: initialConcurrency, recipients: 4 * limitSeconds });
    await waitFor(async () => (await probeDepth(system.redis, "deferred")) === initialConcurrency, {
      timeoutMs: 120_000,
      describe: () => `all mail to be deferred\n${system.lastLines()}`,
    });
    await stopLooking(sites);
    tell(context, sites);
    for (const { sink, held } of sites) {
      assert.ok(held.value <= initialConcurrency, `${held.value} slots`);
      assert.ok(sink.totalConnections <= initialConcurrency);
      const longestMs = Math.max(...heldMs(sink));
      assert.ok(longestMs <= limitSeconds * 1_000 + slackMs, `${longestMs} ms`);
      assert.ok(
        longestMs >= 2 * deadlineSeconds * 1_000 - slackMs,
        "a single command missed its deadline",
      );
    }
    // It is for the attempt to end in time: the watchdog would have ended the process.
    assert.equal(system.service("smtp-delivery").pid, workerId);
    assert.ok(system.service("smtp-delivery").isRunning);
  });
});

/** Which answers drip, and how: a byte every so often, or so that the whole takes so long. */
type Drip = { readonly drips: Step | "all" } & (
  | { readonly everyMs: number }
  | { readonly wholeMs: number }
);

/** One server for each name, at a domain of that name. */
async function startSinks<Name extends string>(
  stack: AsyncDisposableStack,
  names: readonly Name[],
  dripOf: (name: Name) => Drip,
): Promise<ReadonlyMap<string, FakeSmtpServer>> {
  const entries = names.map(async (name): Promise<[string, FakeSmtpServer]> => {
    const drip = dripOf(name);
    const sink = await FakeSmtpServer.start({
      keywords: ["PIPELINING"],
      keepsContent: false,
      decide: ({ stage }) =>
        drip.drips === stage || drip.drips === "all" ? { dripMs: paceOf(drip, stage) } : undefined,
    });
    return [`${name}.example.com`, stack.use(sink)];
  });
  return new Map(await Promise.all(entries));
}

function paceOf(drip: Drip, stage: SmtpStage): number {
  if ("everyMs" in drip) return drip.everyMs;
  // Of the server's usual answers, the greeting and that to EHLO are the longer ones.
  const bytes = stage === "greeting" || stage === "ehlo" || stage === "data" ? 40 : 20;
  return drip.wholeMs / bytes;
}

async function start(
  stack: AsyncDisposableStack,
  sinks: ReadonlyMap<string, FakeSmtpServer>,
  parameters: Readonly<Record<string, string>> = {},
): Promise<{ readonly system: PostmqSystem; readonly sites: readonly Site[] }> {
  const ports = new Map([...sinks].map(([domain, sink]) => [domain, sink.port]));
  const system = stack.use(
    await startPostmq({
      services: ["smtpd", "qmgr", "smtp-delivery", "showq"],
      parameters: {
        ...deadlines,
        initial_destination_concurrency: String(initialConcurrency),
        transport_maps: transportMaps(ports),
        ...parameters,
      },
    }),
  );
  const sites = [...sinks].map(([domain, sink]) => {
    const held = new Highest(async () => (await siteReport(system, sink.relayhost)).inFlight);
    return { domain, sink, held };
  });
  return { system, sites };
}

async function report(system: PostmqSystem, { sink }: Site) {
  return await siteReport(system, sink.relayhost);
}

async function send(
  system: PostmqSystem,
  sites: readonly Site[],
  counts: { readonly messages: number; readonly recipients: number },
): Promise<void> {
  using client = await SmtpClient.open(system.smtpPort);
  for (const { domain } of sites) {
    for (let at = 0; at < counts.messages; at += 1) {
      const to = Array.from({ length: counts.recipients }, (_, n) => `r${at}-${n}@${domain}`);
      assert.equal((await client.deliver(testMail({ to }))).code, 250);
    }
  }
  client.send("QUIT\r\n");
}

/** How long each connection was there. */
function heldMs(sink: FakeSmtpServer): readonly number[] {
  return sink.connectionTimes.map(({ openedMs, closedMs = Date.now() }) => closedMs - openedMs);
}

async function stopLooking(sites: readonly Site[]): Promise<void> {
  await Promise.all(sites.map(({ held }) => held.stop()));
}

function tell(context: TestContext, sites: readonly Site[]): void {
  for (const { domain, sink, held } of sites) {
    const times = heldMs(sink);
    context.diagnostic(
      `${domain}: ${held.value} slots and ${sink.mostConnections} connections at most, ${times.length} in all, ` +
        `each for ${Math.min(...times)} to ${Math.max(...times)} ms`,
    );
  }
}
