/**
 * The scheduler beside Postfix's own: the same mail, the same settings, the same destinations at the same time.
 *
 * Each scene (scenes.ts) has a destination of its own in both systems, and all scenes run at once; every test waits
 * for its scene, puts what both did into the table, and compares. The table is printed at the end.
 *
 * Source: SCHEDULER_README; spec scheduling.md S4 to S7, S23 to S28. Departs: S6 and S26, as the spec says there.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { freePort } from "@postmq/testing";

import { GatedSink } from "../support/gated-sink.ts";
import { startPostfixSystem, startPostmqSystem } from "../support/mail-systems.ts";
import type { MailSystem, MailSystemOptions, Pair } from "../support/mail-systems.ts";
import { ParityTable, seconds } from "../support/parity-table.ts";
import {
  playBackoff,
  playDeathAndRecovery,
  playGreylisting,
  playGrowth,
  playHanging,
  playRefusedConnections,
  playSuccessInBetween,
} from "./scenes.ts";
import type { Scene } from "./scenes.ts";

const minimalBackoffMs = 8_000;
const maximalBackoffMs = 32_000;
/** Longer than a scene holds sessions at the greeting; the scene that waits for its end asks for no more. */
const heloTimeoutMs = 40_000;
const settings = {
  minimal_backoff_time: `${minimalBackoffMs / 1000}s`,
  maximal_backoff_time: `${maximalBackoffMs / 1000}s`,
  queue_run_delay: "1s",
  default_destination_concurrency_limit: "10",
  default_destination_recipient_limit: "2",
  smtp_helo_timeout: `${heloTimeoutMs / 1000}s`,
};
/** Longer than this machine may be slow. */
const slackMs = 10_000;
/** How much later than a death its scene may look. */
const deathSeenLateMs = 5_000;
/** A pass of Postfix looks 1 s ahead (S4) and its times are whole seconds. */
const postfixEarlyMs = 2_000;
const postfixPassMs = 1_000;

/** Starts one system with a sink for every scene. @returns what plays them all. */
async function prepareAll(
  start: (options: MailSystemOptions) => Promise<MailSystem>,
  stack: AsyncDisposableStack,
) {
  const ports = new Map<string, number>();
  const openSink = async (domain: string): Promise<GatedSink> => {
    const sink = stack.use(await GatedSink.start());
    ports.set(domain, sink.server.port);
    return sink;
  };
  const sinks = {
    growth: await openSink("growth.example.com"),
    dead: await openSink("dead.example.com"),
    between: await openSink("between.example.com"),
    grey: await openSink("grey.example.com"),
    hanging: await openSink("hanging.example.com"),
    other: await openSink("other.example.com"),
    backoff: await openSink("backoff.example.com"),
  };
  const port = await freePort();
  ports.set("refused.example.com", port);
  const system = stack.use(await start({ settings, ports }));
  const scene = (name: keyof typeof sinks): Scene => ({
    system,
    sink: sinks[name],
    domain: `${name}.example.com`,
  });
  return (expected: { readonly between: readonly number[] }) => {
    const plays = {
      growth: playGrowth(scene("growth")),
      death: playDeathAndRecovery(scene("dead")),
      between: playSuccessInBetween(scene("between"), expected.between),
      refused: playRefusedConnections({ system, domain: "refused.example.com", port }),
      grey: playGreylisting(scene("grey")),
      hanging: playHanging(scene("hanging"), scene("other")),
      backoff: playBackoff(scene("backoff"), 6),
    };
    // The test of a scene reports its failure; until then that must not count as unhandled.
    for (const play of Object.values(plays)) play.catch(() => undefined);
    return plays;
  };
}

type Plays = ReturnType<Awaited<ReturnType<typeof prepareAll>>>;

/** S26: connections open at once, at first and after 421, 421, 250, 421. */
const between: Pair<readonly number[]> = { postfix: [5, 4, 3, 3, 2], postmq: [5, 4, 3, 4, 3] };

describe("the scheduler beside Postfix's", () => {
  const stack = new AsyncDisposableStack();
  const table = new ParityTable();
  let plays: Pair<Plays>;

  before(async () => {
    const playPostfix = await prepareAll(startPostfixSystem, stack);
    const playPostmq = await prepareAll(startPostmqSystem, stack);
    plays = {
      postfix: playPostfix({ between: between.postfix }),
      postmq: playPostmq({ between: between.postmq }),
    };
    await Promise.allSettled([...Object.values(plays.postfix), ...Object.values(plays.postmq)]);
  });

  after(async () => {
    await stack.disposeAsync();
    console.log(`\n${table.toString()}\n`);
  });

  /** Both sides of a scene, and a function that puts one of its facts into the table. */
  async function both<Name extends keyof Plays>(name: Name) {
    const sides = { postfix: await plays.postfix[name], postmq: await plays.postmq[name] };
    const show = (
      what: string,
      pick: (side: Awaited<Plays[Name]>) => unknown,
      mayDiffer?: string,
    ): void => {
      const picked = { postfix: pick(sides.postfix), postmq: pick(sides.postmq) };
      table.add(name, what, picked, mayDiffer);
    };
    return { ...sides, show };
  }

  it("S23 S24 S25 begins with 5 deliveries at once and adds one for each success, up to the limit", async () => {
    const { postfix, postmq, show } = await both("growth");
    show("deliveries at once after 0, 1, ... 7 successes", (side) => side.parallel);
    show("most at once, over 200 messages (limit 10)", (side) => side.mostParallel);
    show(
      "most connections open at once",
      (side) => side.mostConnections,
      "D25: idle ones count here",
    );
    show("messages delivered", (side) => side.delivered);
    assert.deepEqual(postfix.parallel, [5, 6, 7, 8, 9, 10, 10, 10]);
    assert.deepEqual(postmq.parallel, postfix.parallel);
    assert.equal(postfix.mostParallel, 10);
    assert.equal(postmq.mostParallel, 10);
    assert.equal(postmq.delivered, postfix.delivered);
  });

  it("S26 S28 calls a destination dead after a cohort of failures and defers what waits without an attempt", async () => {
    const { postfix, postmq, show } = await both("death");
    show("connections after 0, 1, ... answers of 421", (side) => side.parallel, "S26: one more");
    show("answers of 421 until dead", (side) => side.failuresUntilDead, "S26: 3 and 4");
    show("attempts in all, for 24 messages", (side) => side.attempts);
    show("messages suspended", (side) => side.suspended);
    show("reason given to those", (side) => side.reasons);
    assert.equal(postfix.failuresUntilDead, 3);
    assert.equal(postmq.failuresUntilDead, 4);
    assert.deepEqual(postfix.parallel, [5, 4, 3]);
    assert.deepEqual(postmq.parallel, [5, 4, 3, 2]);
    assert.equal(postmq.attempts, postfix.attempts);
    assert.equal(postmq.suspended, postfix.suspended);
    assert.deepEqual(postmq.reasons, postfix.reasons);
  });

  it("S28 tries a dead destination after minimal_backoff_time, beginning with 5 at once again", async () => {
    const { postfix, postmq, show } = await both("death");
    show("dead for", (side) => seconds(side.deadMs), "S6: due there at a pass, here when due");
    show("deliveries at once after it, and after one success", (side) => side.parallelAfter);
    show("messages delivered", (side) => side.delivered);
    assertBetween(postfix.deadMs, minimalBackoffMs - postfixEarlyMs, minimalBackoffMs + slackMs);
    assertBetween(postmq.deadMs, minimalBackoffMs - deathSeenLateMs, minimalBackoffMs + slackMs);
    assert.deepEqual(postfix.parallelAfter, [5, 6]);
    assert.deepEqual(postmq.parallelAfter, postfix.parallelAfter);
    assert.equal(postmq.delivered, postfix.delivered);
  });

  it("S26 forgets failures at a success", async () => {
    const { postfix, postmq, show } = await both("between");
    show(
      "connections after 421, 421, 250, 421",
      (side) => side.parallel,
      "S26: windows there smaller by 1",
    );
    show("messages suspended", (side) => side.suspended);
    assert.deepEqual(postfix.parallel, between.postfix);
    assert.deepEqual(postmq.parallel, between.postmq);
    assert.equal(postfix.suspended, 0);
    assert.equal(postmq.suspended, 0);
  });

  it("S26 counts a refused connection as trouble with the site", async () => {
    const { postfix, postmq, show } = await both("refused");
    show(
      "attempts, for 12 requests",
      (side) => side.attempts,
      "S26: from 3 there, from 4 here, to 5",
    );
    show("requests suspended", (side) => side.suspended, "as above");
    show("recipients delivered, once something listens", (side) => side.delivered);
    assertBetween(postfix.attempts, 3, 5);
    assertBetween(postmq.attempts, 4, 5);
    assert.equal(postmq.delivered, postfix.delivered);
  });

  it("S25 never calls a destination dead for 450 at RCPT: every message gets its own attempt, and again when due", async () => {
    const { postfix, postmq, show } = await both("grey");
    show("attempts, for 60 messages", (side) => side.attempts);
    show("messages suspended", (side) => side.suspended);
    show("messages delivered", (side) => side.delivered);
    const rest = (side: { shortestRestMs: number; longestRestMs: number }) =>
      `${seconds(side.shortestRestMs)} to ${seconds(side.longestRestMs)}`;
    show("rest between the attempts", rest, "S4, S6: there at a pass, here when due + 5 %");
    assert.deepEqual([postfix.attempts, postfix.suspended, postfix.delivered], [120, 0, 60]);
    assert.deepEqual([postmq.attempts, postmq.suspended, postmq.delivered], [120, 0, 60]);
    assertRest(postfix.shortestRestMs, postfixRest(minimalBackoffMs));
    assertRest(postfix.longestRestMs, postfixRest(minimalBackoffMs));
    assertRest(postmq.shortestRestMs, postmqRest(minimalBackoffMs));
    assertRest(postmq.longestRestMs, postmqRest(minimalBackoffMs));
  });

  it("S26 counts a greeting that never comes as trouble with the site, and delays nobody else", async () => {
    const { postfix, postmq, show } = await both("hanging");
    show("connections at once", (side) => side.parallel);
    show("attempts until dead, for 16 messages", (side) => side.attempts);
    show("messages suspended", (side) => side.suspended);
    show("reason given to those", (side) => side.reasons);
    show(
      "dead after",
      (side) => seconds(side.aliveMs),
      `smtp_helo_timeout ${seconds(heloTimeoutMs)}`,
    );
    show(
      "slowest of the others meanwhile",
      (side) => seconds(side.slowestOtherMs),
      `under ${seconds(slackMs)}`,
    );
    show("messages delivered, once it greets", (side) => side.delivered);
    for (const side of [postfix, postmq]) {
      assert.equal(side.parallel, 5);
      assert.equal(side.attempts, 5);
      assert.equal(side.suspended, 11);
      assertBetween(side.aliveMs, heloTimeoutMs, heloTimeoutMs + slackMs);
      assertBetween(side.slowestOtherMs, 0, slackMs);
      assert.equal(side.delivered, 16);
    }
    assert.deepEqual(postmq.reasons, postfix.reasons);
  });

  it("S5 S6 S7 rests as long as the message is old, between the two backoff times", async () => {
    const { postfix, postmq, show } = await both("backoff");
    show(
      `age at each attempt (${seconds(minimalBackoffMs)} to ${seconds(maximalBackoffMs)})`,
      (side) => side.agesMs.map(seconds),
      "S4, S6: there at a pass, here when due + 5 %",
    );
    assertAges(postfix.agesMs, postfixRest);
    assertAges(postmq.agesMs, postmqRest);
  });
});

type Range = { readonly value: number; readonly fromMs: number; readonly toMs: number };
type RestRange = (dueMs: number) => Omit<Range, "value">;

/** S6 there: at the first pass after the due time, which looks a second ahead. */
const postfixRest: RestRange = (dueMs) => ({
  fromMs: dueMs - postfixEarlyMs,
  toMs: dueMs + postfixPassMs + slackMs,
});

/** S6 here: when due, within 1 s, plus up to 5 %. */
const postmqRest: RestRange = (dueMs) => ({
  fromMs: dueMs,
  toMs: dueMs * 1.05 + 1_000 + slackMs,
});

/**
 * Each rest by S5 from the age at the attempt before it, so that no delay adds up. Ages are counted from before the message
 * was handed in; it arrived somewhere between that and its first attempt.
 */
function assertAges(agesMs: readonly number[], restRange: RestRange): void {
  assert.equal(agesMs.length, 6);
  const handInMs = agesMs[0] ?? 0;
  for (const [index, ageMs] of agesMs.slice(1).entries()) {
    const before = agesMs[index] ?? 0;
    const { fromMs } = restRange(backoffMs(before - handInMs));
    const { toMs } = restRange(backoffMs(before));
    assertRest(ageMs - before, { fromMs, toMs });
  }
}

function backoffMs(ageMs: number): number {
  return Math.min(Math.max(ageMs, minimalBackoffMs), maximalBackoffMs);
}

function assertRest(restMs: number, { fromMs, toMs }: Omit<Range, "value">): void {
  assertBetween(restMs, fromMs, toMs);
}

function assertBetween(value: number, from: number, to: number): void {
  assert.ok(value >= from && value <= to, `${value} is not between ${from} and ${to}`);
}
