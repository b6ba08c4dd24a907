/**
 * Faults 5 and 6 with a full active queue: the leader is killed, told to stop, and frozen past its lease, one after the
 * other, while a stand-by waits. Each take-over is printed with its times.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { firstGood, startPostmq, waitFor } from "@postmq/testing";

import { assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { readMetric } from "../support/gauges.ts";
import { leaderOf } from "../support/leader.ts";
import { portsOf, startSinks, transportMaps } from "../support/many-destinations.ts";
import { waitUntilDrained } from "../support/redis-probe.ts";

const activeLimit = 2000;
const destinations = 8;
const longestTakeOverMs = 10_000;
const longestHandOverMs = 3000;

/** What a log line of a new leader tells. */
type TakeOver = { readonly atMs: number; readonly reopened: number; readonly text: string };

function takeOvers(logs: string): readonly TakeOver[] {
  const line = /^(\S+Z) .*(leading; (\d+) messages went back .*)$/gm;
  return [...logs.matchAll(line)]
    .map(([, time = "", text = "", reopened = ""]) => ({
      atMs: Date.parse(time),
      reopened: Number(reopened),
      text,
    }))
    .toSorted((a, b) => a.atMs - b.atMs);
}

describe("faults 5 and 6 with active full", () => {
  it("P3, P6 go on within 10 s of a kill or a freeze, at once after SIGTERM, and repeat nothing", async (context) => {
    await using stack = new AsyncDisposableStack();
    const sinks = await startSinks(stack, destinations);
    let answerAfterMs = 1000;
    /** When each transaction began, in order. */
    const begunMs: number[] = [];
    for (const sink of sinks.values()) {
      sink.decide = ({ stage }) => {
        if (stage === "mail") begunMs.push(Date.now());
        return stage === "dot" ? { delayMs: answerAfterMs } : undefined;
      };
    }
    const system = stack.use(
      await startPostmq({
        scale: { qmgr: 2 },
        parameters: {
          transport_maps: transportMaps(portsOf(sinks)),
          qmgr_message_active_limit: String(activeLimit),
          // Intake is not what is tested: it shall not wait for room in active.
          in_flow_delay: "0",
        },
      }),
    );
    const recipients: string[] = [];
    const domains = [...sinks.keys()];
    /** Floods until active is full. @returns who leads. */
    const fill = async () => {
      const leader = await leaderOf(system);
      const active = () =>
        readMetric(system.metricsUrl("qmgr", leader), "postmq_qmgr_active_messages");
      await waitFor(
        async () => {
          if ((await active()) >= activeLimit * 0.9) return true;
          const fresh = Array.from({ length: activeLimit / 4 }, (_, n) => {
            const number = recipients.length + n;
            return `t${number}@${domains[number % domains.length] ?? ""}`;
          });
          recipients.push(...fresh);
          await flood(system.smtpPort, fresh);
          return false;
        },
        {
          timeoutMs: 180_000,
          everyMs: 100,
          describe: () => `active to fill\n${system.lastLines()}`,
        },
      );
      return leader;
    };
    /** @returns how long nobody led. */
    const watch = async (what: string, harm: (leader: number) => Promise<unknown>) => {
      const leader = await fill();
      const before = takeOvers(system.logs).length;
      const harmedMs = Date.now();
      const harmed = harm(leader);
      const next = await waitFor(() => takeOvers(system.logs)[before], {
        describe: () => `a take-over after ${what}\n${system.lastLines()}`,
      });
      const firstMs = await waitFor(() => begunMs.find((ms) => ms >= next.atMs), {
        describe: () => `a delivery after ${what}\n${system.lastLines()}`,
      });
      await harmed;
      context.diagnostic(
        `${what} at 0 ms; "${next.text}" at ${next.atMs - harmedMs} ms; ` +
          `next delivery begins at ${firstMs - harmedMs} ms`,
      );
      return { leader, reopened: next.reopened, tookMs: firstMs - harmedMs };
    };

    const watchUntil = (
      longestMs: number,
      what: string,
      harm: (leader: number) => Promise<unknown>,
      heal: (leader: number) => Promise<unknown>,
    ) => {
      const play = async () => {
        const seen = await watch(what, harm);
        await heal(seen.leader);
        return seen;
      };
      return firstGood(3, play, ({ tookMs }) => tookMs < longestMs);
    };

    await fill();
    const qmgr = (leader: number) => system.service("qmgr", leader);
    const restart = (leader: number) => system.restart("qmgr", leader);
    const killed = await watchUntil(
      longestTakeOverMs,
      "kill -9",
      (leader) => qmgr(leader).kill9(),
      restart,
    );
    const told = await watchUntil(
      longestHandOverMs,
      "SIGTERM",
      (leader) => qmgr(leader).terminate(),
      restart,
    );
    const frozen = await watchUntil(
      longestTakeOverMs,
      "SIGSTOP",
      async (leader) => qmgr(leader).freeze(),
      async (leader) => qmgr(leader).thaw(),
    );

    answerAfterMs = 0;
    await waitUntilDrained(system.redis);
    assertEachOnce(recipients, countCopies([...sinks.values()]));
    assert.ok(killed.reopened > activeLimit / 2, `${killed.reopened} were active at the kill`);
    assert.ok(killed.tookMs < longestTakeOverMs, `${killed.tookMs} ms after kill -9`);
    assert.ok(told.tookMs < longestHandOverMs, `${told.tookMs} ms after SIGTERM`);
    assert.ok(frozen.tookMs < longestTakeOverMs, `${frozen.tookMs} ms after SIGSTOP`);
    assert.deepEqual(await system.stop(), []);
  });
});
