/**
 * Faults 7 and 25 to 28 at each step of the dialogue: the server hangs there, the connection is cut there, or our worker is
 * killed there. The copies that arrive are counted.
 *
 * Each step has a destination of its own, so that all of them happen at the same time. Only a message whose content the
 * server had, while we had no reply, may come twice.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  findBrokenInvariants,
  SmtpClient,
  startPostmq,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { Behaviour, PostmqSystem, SmtpStage, TestMail } from "@postmq/testing";

import { transportMaps } from "../support/many-destinations.ts";
import { probeDepth, probeRequests, waitUntilDrained } from "../support/redis-probe.ts";

const steps = ["greeting", "ehlo", "mail", "rcpt", "data", "body", "dot", "quit"] as const;
type Step = (typeof steps)[number];

const shortTimes = {
  minimal_backoff_time: "1s",
  maximal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
  worker_heartbeat_time: "3s",
};
const shortTimeouts = {
  smtp_helo_timeout: "5s",
  smtp_mail_timeout: "5s",
  smtp_rcpt_timeout: "5s",
  smtp_data_init_timeout: "5s",
  smtp_data_xfer_timeout: "5s",
  smtp_data_done_timeout: "5s",
};

/** Copies that may arrive when the server is stopped at that step. */
const lawfulCopies: Readonly<Record<Step, number>> = {
  greeting: 1,
  ehlo: 1,
  mail: 1,
  rcpt: 1,
  data: 1,
  body: 1,
  dot: 2,
  quit: 1,
};

type Stop = {
  readonly step: Step;
  readonly sink: FakeSmtpServer;
  readonly mail: TestMail;
  /** The first connection has come to the step. */
  isReached: boolean;
};

describe("no path sends twice without cause", () => {
  it("25: a server that hangs at each step: one copy, two after the dot", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { hangs: true }, shortTimeouts);
    await untilAllArrived(system, stops);
    context.diagnostic(describeCopies(stops));
    assertLawful(stops);
    const deferred = stops.filter(({ mail }) => isDeferred(system, mail)).map(({ step }) => step);
    assert.deepEqual(deferred, steps.slice(0, -1));
    assert.doesNotMatch(system.logs, /status=bounced/);
  });

  it("29: a server whose answers drip in at each step: as one that hangs", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { dripMs: 1_000 }, shortTimeouts);
    await untilAllArrived(system, stops);
    context.diagnostic(describeCopies(stops));
    assertLawful(stops);
    const deferred = stops.filter(({ mail }) => isDeferred(system, mail)).map(({ step }) => step);
    // Nothing is answered to the first bytes of the content.
    assert.deepEqual(deferred, ["greeting", "ehlo", "mail", "rcpt", "data", "dot"]);
  });

  it("27, 28: a connection that is cut at each step: one copy, two after the dot", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { cut: "before" });
    await untilAllArrived(system, stops);
    context.diagnostic(describeCopies(stops));
    assertLawful(stops);
    const deferred = stops.filter(({ mail }) => isDeferred(system, mail)).map(({ step }) => step);
    assert.deepEqual(deferred, steps.slice(0, -1));
    assert.doesNotMatch(system.logs, /status=bounced/);
  });

  it("7: a worker that is killed at each step: one copy, two after the dot", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { hangs: true });
    await waitFor(() => stops.every(({ isReached }) => isReached), {
      timeoutMs: 30_000,
      describe: () =>
        stops
          .filter((stop) => !stop.isReached)
          .map(({ step }) => step)
          .join(),
    });
    // At QUIT the outcome is on its way to Redis; what dies there is dead before or after that.
    await waitFor(async () => {
      const open = (await probeRequests(system.redis)).flatMap((request) => request.recipients);
      return !open.includes("r@quit.example.com");
    });
    await system.service("smtp-delivery").kill9();
    await system.restart("smtp-delivery");
    await untilAllArrived(system, stops);
    context.diagnostic(describeCopies(stops));
    assertLawful(stops);
    assert.equal(await probeDepth(system.redis, "corrupt"), 0);
  });
});

/** A destination for each step, whose first connection is stopped there, and one message to each. */
async function startStops(
  stack: AsyncDisposableStack,
  behaviour: Behaviour,
  parameters: Readonly<Record<string, string>> = {},
): Promise<{ readonly system: PostmqSystem; readonly stops: readonly Stop[] }> {
  const stops = await Promise.all(steps.map((step) => startStop(stack, step, behaviour)));
  const ports = new Map(stops.map(({ step, sink }) => [`${step}.example.com`, sink.port]));
  const system = stack.use(
    await startPostmq({
      services: ["smtpd", "qmgr", "smtp-delivery", "bounce", "cleanup"],
      parameters: { ...shortTimes, ...parameters, transport_maps: transportMaps(ports) },
    }),
  );
  using client = await SmtpClient.open(system.smtpPort);
  for (const { mail } of stops) assert.equal((await client.deliver(mail)).code, 250);
  client.send("QUIT\r\n");
  return { system, stops };
}

async function startStop(
  stack: AsyncDisposableStack,
  step: Step,
  behaviour: Behaviour,
): Promise<Stop> {
  const sink = stack.use(await FakeSmtpServer.start());
  const mail = testMail({ to: [`r@${step}.example.com`] });
  const stop: Stop = { step, sink, mail, isReached: false };
  sink.decide = ({ stage, connection }) => {
    if (connection !== 1 || stage !== (step satisfies SmtpStage)) return undefined;
    stop.isReached = true;
    return behaviour;
  };
  return stop;
}

async function untilAllArrived(system: PostmqSystem, stops: readonly Stop[]): Promise<void> {
  await waitFor(() => stops.every(({ sink }) => sink.accepted.length > 0), {
    timeoutMs: 60_000,
    everyMs: 50,
    describe: () => `${describeCopies(stops)}\n${system.lastLines()}`,
  });
  await waitUntilDrained(system.redis);
  assert.deepEqual(await findBrokenInvariants(system.redis), []);
}

/** Contents that the server had whole, answered or not. */
function copiesOf({ sink, mail }: Stop): number {
  return sink.messages.filter(({ content }) => testIdOf(content) === mail.id).length;
}

function describeCopies(stops: readonly Stop[]): string {
  return stops.map((stop) => `${stop.step} ${copiesOf(stop)}`).join(", ");
}

function assertLawful(stops: readonly Stop[]): void {
  for (const stop of stops) assert.equal(copiesOf(stop), lawfulCopies[stop.step], stop.step);
}

function isDeferred(system: PostmqSystem, mail: TestMail): boolean {
  return new RegExp(`to=<${mail.to[0]}>.*status=deferred`).test(system.logs);
}
