/**
 * What happens to mail for one destination, played the same way before any mail system.
 *
 * A scene hands in mail, plays the destination through its sink, and gives back what it saw; it asserts nothing about
 * the scheduler, so that a difference shows in the table with both sides. Where it says how many sessions run at
 * once, the sink holds each of them until the scene has counted.
 */
import { setTimeout as delay } from "node:timers/promises";

import { waitFor } from "@postmq/testing";

import { isSuspended, suspensionReason } from "../support/delivery-log.ts";
import type { DeliveryLine } from "../support/delivery-log.ts";
import { GatedSink } from "../support/gated-sink.ts";
import { handIn, handInOne, readDeliveries } from "../support/mail-systems.ts";
import type { MailSystem } from "../support/mail-systems.ts";

export type Scene = {
  readonly system: MailSystem;
  readonly sink: GatedSink;
  readonly domain: string;
};

const refusal = { reply: "421 4.3.2 no service now" };
/** How long a number must stay as it is before a scene believes that nothing more comes. */
const quietMs = 600;
const patienceMs = 120_000;
/** How long a scene waits for as many sessions as it expects, before it counts what there is. */
const heldWithinMs = 15_000;

/** Mail waits for a good destination; the deliveries end one by one. */
export async function playGrowth(scene: Scene): Promise<{
  /** Deliveries at once: at first, then after each success. */
  readonly parallel: readonly number[];
  readonly mostParallel: number;
  /** Open at once, idle ones included. */
  readonly mostConnections: number;
  readonly delivered: number;
}> {
  const { sink } = scene;
  const messages = 200;
  sink.holdAt("dot");
  await handIn(scene.system, scene.domain, messages);
  const parallel = [await heldAround(sink, 5)];
  for (let success = 1; success <= 7; success += 1) {
    sink.letGo();
    parallel.push(await heldAround(sink, Math.min(10, 5 + success)));
  }
  await waitFor(
    () => {
      sink.letGo();
      return sink.server.accepted.length >= messages;
    },
    { timeoutMs: patienceMs, everyMs: 10, describe: () => describeSink(scene) },
  );
  return {
    parallel,
    mostParallel: sink.mostHeld,
    mostConnections: sink.server.mostConnections,
    delivered: acceptedRecipients(sink).size,
  };
}

/** Mail waits for a destination that answers each connection with 421; later it takes mail again. */
export async function playDeathAndRecovery(scene: Scene): Promise<{
  /** Connections open at once: at first, then after each refusal up to the last before death. */
  readonly parallel: readonly number[];
  readonly failuresUntilDead: number;
  readonly attempts: number;
  readonly suspended: number;
  readonly reasons: readonly string[];
  /** From death to the next connection. */
  readonly deadMs: number;
  /** Deliveries at once after it: at first, then after one success. */
  readonly parallelAfter: readonly number[];
  readonly delivered: number;
}> {
  const { sink } = scene;
  const messages = 24;
  sink.holdAt("greeting");
  await handIn(scene.system, scene.domain, messages);
  const parallel = [await heldAround(sink, 5)];
  let lines: readonly DeliveryLine[] = [];
  while (!lines.some(isSuspended) && parallel.length <= 8) {
    const failures = parallel.length;
    sink.letGo(refusal);
    await waitForDeliveries(scene, (lines) => lines.length >= failures);
    parallel.push(await heldAround(sink, 5 - failures));
    lines = await readDeliveries(scene.system, scene.domain);
  }
  const deadAtMs = Date.now() - quietMs;
  sink.open(refusal);
  sink.holdAt("dot");
  lines = await waitForDeliveries(scene, (lines) => deferredRecipients(lines) >= messages);
  const attempts = sink.server.totalConnections;
  const suspended = suspendedAtFirst(lines);
  await waitFor(() => sink.server.totalConnections > attempts, {
    timeoutMs: patienceMs,
    describe: () => `a connection after the dead time\n${describeSink(scene)}`,
  });
  const deadMs = Date.now() - deadAtMs;
  const parallelAfter = [await heldAround(sink, 5)];
  sink.letGo();
  parallelAfter.push(await heldAround(sink, 6));
  sink.open();
  await waitForAccepted(scene, messages);
  return {
    parallel: parallel.slice(0, -1),
    failuresUntilDead: parallel.length - 1,
    attempts,
    suspended: suspended.length,
    reasons: [...new Set(suspended.map(suspensionReason))],
    deadMs,
    parallelAfter,
    delivered: acceptedRecipients(sink).size,
  };
}

/**
 * 421, 421, one success, 421: connections open at once, at first and after each.
 *
 * @param expected so many are waited for, though not for ever, before they are counted
 */
export async function playSuccessInBetween(
  scene: Scene,
  expected: readonly number[],
): Promise<{
  readonly parallel: readonly number[];
  readonly suspended: number;
}> {
  const { sink } = scene;
  sink.holdAt("greeting");
  // A session that ends with its message, so that each delivery shows as a connection.
  sink.answerBy(({ stage }) => (stage === "dot" ? { cut: "after" } : undefined));
  await handIn(scene.system, scene.domain, 24);
  const parallel = [await heldAround(sink, expected[0] ?? 0)];
  for (const [index, behaviour] of [refusal, refusal, undefined, refusal].entries()) {
    sink.letGo(behaviour);
    await waitForDeliveries(scene, (lines) => lines.length >= index + 1);
    parallel.push(await heldAround(sink, expected[index + 1] ?? 0));
  }
  const lines = await readDeliveries(scene.system, scene.domain);
  sink.open();
  return { parallel, suspended: lines.filter(isSuspended).length };
}

/** Nothing listens on the destination's port, with many requests at once; later something does. */
export async function playRefusedConnections(
  scene: Omit<Scene, "sink"> & { readonly port: number },
): Promise<{ readonly attempts: number; readonly suspended: number; readonly delivered: number }> {
  const { system, domain, port } = scene;
  const requests = 12;
  const recipients = Array.from({ length: requests * 2 }, (_, index) => `u${index}@${domain}`);
  await handInOne(system, recipients);
  const lines = await waitForDeliveries(scene, (lines) => lines.length >= recipients.length);
  const suspended = lines.filter(isSuspended).length;
  await using sink = await GatedSink.start(port);
  await waitFor(() => acceptedRecipients(sink).size >= recipients.length, {
    timeoutMs: patienceMs,
    describe: () => `${acceptedRecipients(sink).size} of ${recipients.length} for ${domain}`,
  });
  return {
    attempts: (recipients.length - suspended) / 2,
    suspended: suspended / 2,
    delivered: acceptedRecipients(sink).size,
  };
}

/** Every recipient is put off once, as greylisting does. */
export async function playGreylisting(scene: Scene): Promise<{
  readonly attempts: number;
  readonly suspended: number;
  readonly delivered: number;
  readonly shortestRestMs: number;
  readonly longestRestMs: number;
}> {
  const { sink } = scene;
  const messages = 60;
  sink.answerBy(({ stage, recipient }) =>
    stage === "rcpt" && sink.triedAtMs(recipient).length === 1
      ? { reply: "450 4.2.0 greylisted, try again" }
      : undefined,
  );
  await handIn(scene.system, scene.domain, messages);
  await waitForAccepted(scene, messages);
  const lines = await readDeliveries(scene.system, scene.domain);
  const recipients = [...acceptedRecipients(sink)];
  const rests = recipients.map((recipient) => {
    const [first = 0, second = 0] = sink.triedAtMs(recipient);
    return second - first;
  });
  return {
    attempts: sink.arrivals.length,
    suspended: lines.filter(isSuspended).length,
    delivered: recipients.length,
    shortestRestMs: Math.min(...rests),
    longestRestMs: Math.max(...rests),
  };
}

/** A destination accepts connections and says nothing; meanwhile mail goes to another one. */
export async function playHanging(
  scene: Scene,
  other: Scene,
): Promise<{
  readonly parallel: number;
  readonly attempts: number;
  readonly suspended: number;
  readonly reasons: readonly string[];
  /** From handing in to the first suspension. */
  readonly aliveMs: number;
  readonly otherMessages: number;
  readonly slowestOtherMs: number;
  readonly delivered: number;
}> {
  const { sink } = scene;
  const messages = 16;
  sink.holdAt("greeting");
  const startedMs = Date.now();
  await handIn(scene.system, scene.domain, messages);
  const parallel = await heldAround(sink, 5);
  const otherTimes: number[] = [];
  let lines: readonly DeliveryLine[] = [];
  while (!lines.some(isSuspended) && Date.now() - startedMs < patienceMs) {
    otherTimes.push(await timeOne(other, `other${otherTimes.length}@${other.domain}`));
    await delay(250);
    lines = await readDeliveries(scene.system, scene.domain);
  }
  const aliveMs = Date.now() - startedMs;
  // Those that were under way at the death end by their own time-out.
  lines = await waitForDeliveries(scene, (lines) => deferredRecipients(lines) >= messages);
  const attempts = sink.server.totalConnections;
  sink.open();
  await waitForAccepted(scene, messages);
  const suspended = suspendedAtFirst(lines);
  return {
    parallel,
    attempts,
    suspended: suspended.length,
    reasons: [...new Set(suspended.map(suspensionReason))],
    aliveMs,
    otherMessages: otherTimes.length,
    slowestOtherMs: Math.max(...otherTimes),
    delivered: acceptedRecipients(sink).size,
  };
}

/** One message is put off again and again. */
export async function playBackoff(
  scene: Scene,
  attempts: number,
): Promise<{
  /** Age of the message at each attempt. */
  readonly agesMs: readonly number[];
}> {
  const { sink } = scene;
  sink.answerBy(({ stage }) =>
    stage === "rcpt" && sink.arrivals.length < attempts
      ? { reply: "450 4.2.1 mailbox is busy" }
      : undefined,
  );
  const createdMs = Date.now();
  await handIn(scene.system, scene.domain, 1);
  await waitFor(() => sink.server.accepted.length > 0, {
    timeoutMs: 2 * patienceMs,
    describe: () => describeSink(scene),
  });
  return { agesMs: sink.arrivals.map(({ atMs }) => atMs - createdMs) };
}

/** Sessions that wait at the sink, once they are as many as expected or time has run out, and no more come. */
async function heldAround(sink: GatedSink, expected: number): Promise<number> {
  await waitFor(() => sink.held >= expected, { timeoutMs: heldWithinMs }).catch(() => undefined);
  for (;;) {
    const before = sink.held;
    await delay(quietMs);
    if (sink.held === before) return before;
  }
}

async function waitForDeliveries(
  scene: Omit<Scene, "sink">,
  isEnough: (lines: readonly DeliveryLine[]) => boolean,
): Promise<readonly DeliveryLine[]> {
  let lines: readonly DeliveryLine[] = [];
  return await waitFor(
    async () => {
      lines = await readDeliveries(scene.system, scene.domain);
      return isEnough(lines) && lines;
    },
    {
      timeoutMs: patienceMs,
      everyMs: 50,
      describe: () => `lines of ${scene.domain}: ${JSON.stringify(lines.slice(-5))}`,
    },
  );
}

async function waitForAccepted(scene: Scene, recipients: number): Promise<void> {
  await waitFor(() => acceptedRecipients(scene.sink).size >= recipients, {
    timeoutMs: patienceMs,
    describe: () => describeSink(scene),
  });
}

/** Milliseconds from handing in to acceptance by the sink. */
async function timeOne({ system, sink, domain }: Scene, recipient: string): Promise<number> {
  const startMs = Date.now();
  await handInOne(system, [recipient]);
  await waitFor(() => acceptedRecipients(sink).has(recipient), {
    timeoutMs: patienceMs,
    describe: `mail for ${domain}`,
  });
  return Date.now() - startMs;
}

function acceptedRecipients(sink: GatedSink): ReadonlySet<string> {
  return new Set(sink.server.accepted.flatMap(({ recipients }) => recipients));
}

/** The first lines of recipients that were never tried before: one that was may be suspended when it is due again. */
function suspendedAtFirst(lines: readonly DeliveryLine[]): readonly DeliveryLine[] {
  const seen = new Set<string>();
  return lines.filter((line) => {
    const isFirst = !seen.has(line.recipient);
    seen.add(line.recipient);
    return isFirst && isSuspended(line);
  });
}

function deferredRecipients(lines: readonly DeliveryLine[]): number {
  return new Set(lines.filter(({ status }) => status === "deferred").map((line) => line.recipient))
    .size;
}

function describeSink({ sink, domain }: Scene): string {
  return `${domain}: ${sink.server.accepted.length} accepted, ${sink.held} held, ${sink.arrivals.length} tried`;
}
