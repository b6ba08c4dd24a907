/**
 * Faults 7 and 25 to 28 at each step of the dialogue: the server hangs there, the connection is cut there, or our worker is
 * killed there. The copies that arrive are counted.
 *
 * Each step has a destination of its own, so that all of them happen at the same time: one that speaks TLS, one that
 * asks for a login, one that has a kept connection of ours already (RSET). Only a message whose content the server had,
 * while we had no reply, may come twice.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  findBrokenInvariants,
  SmtpClient,
  smtpStages as steps,
  startPostmq,
  testCertificates,
  testIdOf,
  testMail,
  waitFor,
} from "@postmq/testing";
import type {
  Behaviour,
  FakeSmtpOptions,
  PostmqSystem,
  SmtpStage as Step,
  TestMail,
} from "@postmq/testing";

import { transportMaps } from "../support/many-destinations.ts";
import { probeDepth, probeRequests, waitUntilDrained } from "../support/redis-probe.ts";

const shortTimes = {
  minimal_backoff_time: "1s",
  maximal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
  worker_heartbeat_time: "3s",
};
const shortTimeouts = {
  smtp_helo_timeout: "5s",
  smtp_starttls_timeout: "5s",
  smtp_mail_timeout: "5s",
  smtp_rcpt_timeout: "5s",
  smtp_data_init_timeout: "5s",
  smtp_data_xfer_timeout: "5s",
  smtp_data_done_timeout: "5s",
  smtp_rset_timeout: "5s",
};

/** Copies that may arrive when the server is stopped at that step. */
function lawfulCopies(step: Step): number {
  return step === "dot" ? 2 : 1;
}

/** Steps whose trouble nobody hears of: a kept connection is replaced (D26), and after the reply to the dot all is said. */
const silentSteps: readonly Step[] = ["rset", "quit"];
const loudSteps = steps.filter((step) => !silentSteps.includes(step));

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
    assert.deepEqual(deferredSteps(system, stops), loudSteps);
    assert.doesNotMatch(system.logs, /status=bounced/);
  });

  it("29: a server whose answers drip in at each step: as one that hangs", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { dripMs: 1_000 }, shortTimeouts);
    await untilAllArrived(system, stops);
    context.diagnostic(describeCopies(stops));
    assertLawful(stops);
    // Nothing is answered to the first bytes of the content.
    const answered = loudSteps.filter((step) => step !== "body");
    assert.deepEqual(deferredSteps(system, stops), answered);
  });

  it("27, 28: a connection that is cut at each step: one copy, two after the dot", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { cut: "before" });
    await untilAllArrived(system, stops);
    context.diagnostic(describeCopies(stops));
    assertLawful(stops);
    assert.deepEqual(deferredSteps(system, stops), loudSteps);
    assert.doesNotMatch(system.logs, /status=bounced/);
  });

  it("7: a worker that is killed at each step: one copy, two after the dot", async (context) => {
    await using stack = new AsyncDisposableStack();
    const { system, stops } = await startStops(stack, { hangs: true });
    await waitFor(() => stops.every(({ isReached }) => isReached), {
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
      parameters: {
        ...shortTimes,
        ...parameters,
        ...sessionParameters(stops),
        transport_maps: transportMaps(ports),
      },
    }),
  );
  using client = await SmtpClient.open(system.smtpPort);
  await openKept(client, stops, system);
  for (const { mail } of stops) assert.equal((await client.deliver(mail)).code, 250);
  client.send("QUIT\r\n");
  return { system, stops };
}

/** So that each step is met at its destination: TLS there, a login there, a connection that is kept. */
function sessionParameters(stops: readonly Stop[]): Readonly<Record<string, string>> {
  const hops = (...wanted: readonly Step[]) =>
    stops.filter(({ step }) => wanted.includes(step)).map(({ sink }) => sink.relayhost);
  const inline = (names: readonly string[], value: string) =>
    `inline:{${names.map((name) => `{${name} = ${value}}`).join(", ")}}`;
  return {
    smtp_tls_policy_maps: inline(hops("starttls", "tls"), "encrypt"),
    smtp_sasl_auth_enable: "yes",
    smtp_sasl_password_maps: inline(hops("auth"), "user:secret"),
    smtp_sasl_security_options: "noanonymous",
    smtp_connection_cache_destinations: hops("rset").join(" "),
    smtp_connection_cache_time_limit: "60s",
  };
}

/** One message goes to where RSET is the step: its connection is idle when the next one comes. */
async function openKept(
  client: SmtpClient,
  stops: readonly Stop[],
  system: PostmqSystem,
): Promise<void> {
  const kept = stops.find(({ step }) => step === "rset");
  if (kept === undefined) return;
  assert.equal((await client.deliver(testMail({ to: kept.mail.to }))).code, 250);
  await waitFor(() => kept.sink.accepted.length === 1, {
    describe: () => `the first message of the kept connection\n${system.lastLines()}`,
  });
  await waitUntilDrained(system.redis);
}

async function startStop(
  stack: AsyncDisposableStack,
  step: Step,
  behaviour: Behaviour,
): Promise<Stop> {
  const sink = stack.use(await FakeSmtpServer.start(sinkOptions(step)));
  const mail = testMail({ to: [`r@${step}.example.com`] });
  const stop: Stop = { step, sink, mail, isReached: false };
  sink.decide = ({ stage, connection }) => {
    if (connection !== 1 || stage !== step) return undefined;
    stop.isReached = true;
    return behaviour;
  };
  return stop;
}

function sinkOptions(step: Step): FakeSmtpOptions {
  if (step === "starttls" || step === "tls") return { tls: testCertificates().make() };
  return step === "auth" ? { keywords: ["PIPELINING", "8BITMIME", "AUTH PLAIN"] } : {};
}

async function untilAllArrived(system: PostmqSystem, stops: readonly Stop[]): Promise<void> {
  const hasArrived = ({ sink, mail }: Stop) =>
    sink.accepted.some(({ content }) => testIdOf(content) === mail.id);
  await waitFor(() => stops.every(hasArrived), {
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
  for (const stop of stops) assert.equal(copiesOf(stop), lawfulCopies(stop.step), stop.step);
  assert.ok(
    stops.every(({ isReached }) => isReached),
    "every step is reached",
  );
}

function deferredSteps(system: PostmqSystem, stops: readonly Stop[]): readonly Step[] {
  return stops.filter(({ mail }) => isDeferred(system, mail)).map(({ step }) => step);
}

function isDeferred(system: PostmqSystem, mail: TestMail): boolean {
  return new RegExp(`to=<${mail.to[0]}>.*status=deferred`).test(system.logs);
}
