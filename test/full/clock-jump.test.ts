/**
 * Fault 24: the clock of a service's machine jumps an hour ahead, back, and an hour behind, while it runs.
 *
 * A message lives for half an hour here: by a clock that is an hour ahead all mail would be too old, and by one that
 * has just been set back nothing would be due for an hour.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { TestContext } from "node:test";

import { startPostmq, waitFor } from "@postmq/testing";
import type { ServiceName } from "@postmq/vocabulary";

import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { GatedSink } from "../support/gated-sink.ts";
import { JumpingClock } from "../support/jumping-clock.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const hour = 3600;
const minimalMs = 6000;
const maximalMs = 12_000;
/** Leave to be late: the spread, and a busy machine. The fault sought is an hour. */
const lateMs = 15_000;
/** The worker's stamp of a failure is older than the next RCPT's. */
const earlyMs = 1000;
const later = addressesAt("later.example.com", 40);

/** Seconds that the latest stamp of a log is off. */
function offBy(log: string): number {
  const stamp = log.match(/^\S+Z(?= )/gm)?.at(-1) ?? "";
  return (Date.parse(stamp) - Date.now()) / 1000;
}

async function playJumps(service: ServiceName, context: TestContext): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "postmq-clock-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const clock = new JumpingClock(join(directory, "offset"));
  await clock.setOff(0);
  const gated = stack.use(await GatedSink.start());
  gated.answerBy(({ stage }) => (stage === "rcpt" ? { reply: "450 4.2.1 later" } : undefined));
  const sinks = await startSinks(stack, 1);
  const ports = new Map([...portsOf(sinks), ["later.example.com", gated.server.port]]);
  // Reports go to the sender's domain.
  let pid = 0;
  stack.defer(() => JumpingClock.forget(pid));
  const [[prompt, promptSink] = ["", gated.server]] = [...sinks];
  const system = stack.use(
    await startPostmq({
      parameters: {
        relayhost: promptSink.relayhost,
        transport_maps: transportMaps(ports),
        minimal_backoff_time: `${minimalMs / 1000}s`,
        maximal_backoff_time: `${maximalMs / 1000}s`,
        maximal_queue_lifetime: "30m",
        queue_run_delay: "5s",
      },
      envOf: (name) => (name === service ? clock.env : undefined),
    }),
  );
  pid = system.service(service).pid;
  const tries = () => Math.min(...later.map((recipient) => gated.triedAtMs(recipient).length));
  const triedAgain = async (often: number) => {
    const wanted = tries() + often;
    await waitFor(() => tries() >= wanted, {
      timeoutMs: (maximalMs + lateMs) * often,
      describe: () => `all of deferred to be tried\n${system.lastLines()}`,
    });
  };
  await flood(system.smtpPort, later);
  await waitFor(() => tries() >= 1);

  const fresh: string[] = [];
  const slowest: number[] = [];
  for (const [step, off] of [hour, 0, -hour, 0].entries()) {
    await clock.setOff(off);
    const mail = addressesAt(prompt, 20).map((address) => `step${step}-${address}`);
    fresh.push(...mail);
    const sentMs = Date.now();
    await flood(system.smtpPort, mail);
    await waitFor(() => promptSink.messages.length >= fresh.length, {
      describe: () => `new mail with the clock ${off} s off\n${system.lastLines()}`,
    });
    slowest.push(Date.now() - sentMs);
    await waitFor(() => Math.abs(offBy(system.service(service).log) - off) < 60, {
      describe: () => `${service} to be ${off} s off\n${system.service(service).log.slice(-300)}`,
    });
    await triedAgain(1);
  }
  const gaps = later.flatMap((recipient) => {
    const at = gated.triedAtMs(recipient);
    return at.slice(1).map((ms, index) => ms - (at[index] ?? 0));
  });
  gated.answerBy(() => undefined);
  await waitUntilDrained(system.redis, 2 * (maximalMs + lateMs));
  const [least, most] = [Math.min(...gaps), Math.max(...gaps)];
  context.diagnostic(
    `${service}: ${tries()} tries or more of each of ${later.length}, ${least} to ${most} ms apart ` +
      `(backoff ${minimalMs} to ${maximalMs}); 20 new messages took ${slowest.join(", ")} ms after the jumps`,
  );
  assertEachOnce([...later, ...fresh], countCopies([gated.server, promptSink]));
  assert.equal(promptSink.messages.length, fresh.length, "somebody was sent a report");
  assert.ok(least >= minimalMs - earlyMs, `tried again after ${least} ms`);
  assert.ok(most <= maximalMs + lateMs, `tried again only after ${most} ms`);
  assert.deepEqual(await system.stop(), []);
}

describe("fault 24: the clock jumps by an hour", () => {
  it("S5 of qmgr: nothing bounces, and deferred mail is tried when it is due", async (context) => {
    await playJumps("qmgr", context);
  });

  it("S5 of smtp-delivery: nothing bounces, and deferred mail is tried when it is due", async (context) => {
    await playJumps("smtp-delivery", context);
  });
});
