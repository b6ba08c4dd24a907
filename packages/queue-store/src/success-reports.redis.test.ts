/** Success reports in the records: owed, asked for, queued; and several messages queued as one report. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { NewMessage, OpenedReport, Reporting, ReportKind } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type { QueueId, RecipientOutcome } from "@postmq/vocabulary";
import { assertConsistent, lead, stored } from "./store.test-support.ts";
import type { Led } from "./store.test-support.ts";

const remote = { host: "mx.example.com", address: "192.0.2.1", port: 25, reply: "250 2.1.5 Ok" };

function owing(recipient: number): RecipientOutcome {
  const status = enhancedStatus("2.1.5");
  return { recipient, kind: "sent", status, reason: remote.reply, remote, owesReport: "relayed" };
}

function failed(recipient: number): RecipientOutcome {
  return { recipient, kind: "failed", status: enhancedStatus("5.1.1"), reason: "no" };
}

function deferred(recipient: number): RecipientOutcome {
  return { recipient, kind: "deferred", status: enhancedStatus("4.2.0"), reason: "later" };
}

type Play = {
  readonly under: StoreUnderTest;
  readonly id: QueueId;
  readonly led: Led;
  readonly generation: number;
  readonly reporting: Reporting;
};

/** A message in active of which these outcomes are recorded. */
async function tried(
  under: StoreUnderTest,
  outcomes: readonly RecipientOutcome[],
  count = outcomes.length,
): Promise<Play> {
  const recipients = Array.from({ length: count }, (_, n) => `u${n}@d${n % 2}.example`);
  const id = await stored(under.store.intake(), { recipients });
  const led = await lead(under.store);
  const [message] = await imported(led, "incoming");
  await led.scheduling.recordOutcomes(id, outcomes);
  const generation = message?.generation ?? 0;
  return { under, id, led, generation, reporting: under.store.reporting() };
}

function imported({ scheduling, fence }: Led, from: "incoming" | "deferred") {
  return scheduling.importMessages({ fence, from, maxMessages: 9, maxRecipients: 9 });
}

async function settle(
  { id, generation, led }: Play,
  action: "remove" | "defer" | ReportKind,
): Promise<string | undefined> {
  const about = { id, generation };
  const defer = { dueMs: 1, countAttempt: true };
  const settlement =
    action === "remove"
      ? ({ ...about, action } as const)
      : action === "defer"
        ? ({ ...about, action, ...defer } as const)
        : ({ ...about, action: "report", kind: action } as const);
  const [answer] = await led.scheduling.settle(led.fence, [settlement]);
  return answer;
}

async function opened({ id, reporting }: Play): Promise<OpenedReport> {
  const answer = await reporting.open(id);
  assert.ok(typeof answer === "object");
  return answer;
}

async function report(
  { reporting }: Play,
  address = "from@sender.example",
  content = Buffer.from("report"),
): Promise<NewMessage> {
  const id = reporting.newId();
  const writer = reporting.openContent(id);
  await writer.write(content);
  return {
    id,
    queue: "incoming",
    envelope: { sender: "", origin: "bounce" },
    recipients: [{ address }],
    content: await writer.finish(),
  };
}

function numbers({ recipients }: OpenedReport): readonly number[] {
  return recipients.map(({ number }) => number);
}

async function incoming({ under }: Play): Promise<number> {
  return (await under.store.looking().list("incoming", { limit: 9000 })).messages.length;
}

describe("success reports", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const withTried = (
    outcomes: readonly RecipientOutcome[],
    test: (play: Play) => Promise<void>,
    count?: number,
  ) =>
    withStore(
      async (under) => {
        const play = await tried(under, outcomes, count);
        await test(play);
        await assertConsistent(under);
      },
      { redis },
    );

  it("D31 a message stays until the report of its success is queued, and counts as delivered", () =>
    withTried([owing(0)], async (play) => {
      const { id, under } = play;
      const looking = under.store.looking();
      assert.equal((await looking.message(id))?.undoneRecipients, 0);
      const queues = ["active"] as const;
      const rows = { queues, by: "recipient", ageLimitsMs: [], nowMs: Date.now() } as const;
      assert.deepEqual(await looking.qshape(rows), []);
      assert.equal(await settle(play, "remove"), "unfinished");
      assert.equal(await settle(play, "failure"), "unfinished");
      assert.equal(await settle(play, "success"), "done");
      assert.equal((await looking.message(id))?.owedReport, "success");
      const owed = await opened(play);
      assert.equal(owed.kind, "success");
      const [told] = owed.recipients;
      assert.deepEqual(told?.state, {
        kind: "sent",
        action: "relayed",
        status: "2.1.5",
        reason: remote.reply,
        remote,
      });
      assert.equal(await play.reporting.queue(owed, [await report(play)]), "queued");
      assert.equal(await incoming(play), 1);
      assert.equal(await settle(play, "success"), "unfinished");
      assert.equal(await settle(play, "remove"), "done");
    }));

  it("D31 those beyond the first thousand recipients are told of too", () =>
    withTried(
      [owing(3), owing(1100)],
      async (play) => {
        assert.equal(await settle(play, "success"), "done");
        assert.deepEqual(numbers(await opened(play)), [3, 1100]);
      },
      1200,
    ));

  it("D31 D33 failures and successes are told apart, each once", () =>
    withTried([owing(0), failed(1), deferred(2)], async (play) => {
      assert.equal(await settle(play, "failure"), "done");
      const failures = await opened(play);
      assert.deepEqual(numbers(failures), [1]);
      assert.equal(await play.reporting.queue(failures, []), "queued");
      assert.equal(await settle(play, "failure"), "unfinished");
      assert.equal(await settle(play, "success"), "done");
      const successes = await opened(play);
      assert.deepEqual(numbers(successes), [0]);
      assert.equal(await play.reporting.queue(successes, []), "queued");
      await play.led.scheduling.recordOutcomes(play.id, [owing(2)]);
      assert.equal(await settle(play, "success"), "done");
      assert.deepEqual(numbers(await opened(play)), [2]);
    }));

  it("D31 Q6 a report made before another success came is stale", () =>
    withTried([owing(0), deferred(1)], async (play) => {
      await settle(play, "success");
      const owed = await opened(play);
      await play.led.scheduling.recordOutcomes(play.id, [owing(1)]);
      assert.equal(await play.reporting.queue(owed, [await report(play)]), "stale");
      assert.equal(await incoming(play), 0);
      assert.deepEqual(numbers(await opened(play)), [0, 1]);
    }));

  it("D31 S10 a message that was given up stays while a success is to be told of", () =>
    withTried([owing(0), deferred(1)], async (play) => {
      assert.equal(await settle(play, "expired"), "done");
      const expired = await opened(play);
      assert.deepEqual(numbers(expired), [1]);
      assert.equal(await play.reporting.queue(expired, [await report(play)]), "queued");
      assert.equal(await settle(play, "remove"), "unfinished");
      const { id, led } = play;
      const read = await led.scheduling.readRecipients({ id, from: 0, limit: 9 });
      assert.deepEqual([read.recipients.length, read.nextRecipient], [0, 2]);
      assert.deepEqual([read.unreportedRecipients, read.unreportedSuccesses], [0, 1]);
      assert.equal(await settle(play, "success"), "done");
      const success = await opened(play);
      assert.deepEqual(numbers(success), [0]);
      assert.equal(await play.reporting.queue(success, []), "queued");
      assert.equal(await settle(play, "remove"), "done");
    }));

  it("D31 Q6 late 250s for recipients that were given up are told of too, all of them", () =>
    withTried([deferred(0), deferred(1)], async (play) => {
      await settle(play, "expired");
      assert.equal(await play.reporting.queue(await opened(play), []), "queued");
      await play.led.scheduling.recordOutcomes(play.id, [owing(0)]);
      assert.equal(await settle(play, "remove"), "unfinished");
      assert.equal(await settle(play, "success"), "done");
      const owed = await opened(play);
      assert.deepEqual(numbers(owed), [0]);
      await play.led.scheduling.recordOutcomes(play.id, [owing(1)]);
      assert.equal(await play.reporting.queue(owed, []), "stale");
      assert.deepEqual(numbers(await opened(play)), [0, 1]);
    }));

  it("D31 Q6 a late failure of a recipient that was given up is no news, and owes no second report", () =>
    withTried([deferred(0), deferred(1)], async (play) => {
      const { id, led, reporting } = play;
      await settle(play, "expired");
      assert.equal(await reporting.queue(await opened(play), [await report(play)]), "queued");
      await led.scheduling.recordOutcomes(id, [failed(0), owing(1)]);
      assert.equal(await settle(play, "failure"), "unfinished");
      const read = await led.scheduling.readRecipients({ id, from: 0, limit: 9 });
      assert.deepEqual([read.unreportedRecipients, read.unreportedSuccesses], [0, 1]);
      // A success is news.
      assert.equal(await settle(play, "success"), "done");
      const success = await opened(play);
      assert.deepEqual(numbers(success), [1]);
      assert.equal(await reporting.queue(success, []), "queued");
      assert.equal(await settle(play, "remove"), "done");
      assert.equal(await incoming(play), 1);
    }));

  it("D31 Q13 a new leader, and whoever imports it from deferred, is told that a success is owed", () =>
    withTried([owing(0), deferred(1)], async (play) => {
      const { led } = play;
      await settle(play, "success");
      await led.scheduling.reopenActive(led.fence);
      const [anew] = await imported(led, "incoming");
      assert.deepEqual([anew?.unreportedSuccesses, anew?.undoneRecipients], [1, 1]);
      assert.equal(await play.reporting.open(play.id), "stale");
      const late = { ...play, generation: anew?.generation ?? 0 };
      assert.equal(await settle(late, "defer"), "done");
      const [due] = await imported(led, "deferred");
      assert.deepEqual([due?.unreportedSuccesses, due?.undoneRecipients], [1, 1]);
    }));

  it("D31 Q6 a late report leaves the message in deferred though nothing else is left of it", () =>
    withTried([owing(0)], async (play) => {
      await settle(play, "success");
      assert.equal(await settle(play, "defer"), "done");
      const [due] = await imported(play.led, "deferred");
      assert.deepEqual([due?.unreportedSuccesses, due?.undoneRecipients], [1, 0]);
    }));

  it("S13 the worker knows whose sender was warned of the delay, not merely asked about", () =>
    withStore(
      async (under) => {
        for (const isWanted of [true, false]) {
          const play = await tried(under, [deferred(0)]);
          await settle(play, "delay");
          const owed = await opened(play);
          await play.reporting.queue(owed, isWanted ? [await report(play)] : []);
          const [name] = await play.led.scheduling.dispatch(play.led.fence, [
            {
              id: play.id,
              messageGeneration: play.generation,
              destination: { transport: "smtp", nexthop: "x" },
              recipients: [0],
            },
          ]);
          assert.ok(name !== undefined);
          const [claim] = await (await under.store.delivering({ concurrency: 1 })).claim([name]);
          assert.equal(typeof claim === "object" && claim.wasWarned, isWanted);
          await play.led.scheduling.reopenActive(play.led.fence);
          const again = await imported(play.led, "incoming");
          assert.equal(again.find(({ id }) => id === play.id)?.wasWarned, true);
          await redis.cli("DEL", `postmq:{${under.instanceName}}:leader`);
        }
      },
      { redis },
    ));
});

describe("several messages as one report", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("D33 Q6 are queued together, and none of them when one can't be", () =>
    withStore(
      async (under) => {
        const play = await tried(under, [failed(0), failed(1)]);
        await settle(play, "failure");
        const owed = await opened(play);
        const large = await report(play, "big@sender.example", Buffer.alloc(600_000, "x"));
        await redis.cli("DEL", `postmq:{${under.instanceName}}:c:${large.content.contentId}`);
        await assert.rejects(
          play.reporting.queue(owed, [await report(play), large, await report(play)]),
          (error) => isPostmqError(error, "PMQ_STORE_CONTENT_EXPIRED"),
        );
        assert.equal(await incoming(play), 0);
        await assertConsistent(under);
        const whole = await report(play, "big@sender.example", Buffer.alloc(600_000, "x"));
        assert.equal(
          await play.reporting.queue(owed, [await report(play), whole, await report(play)]),
          "queued",
        );
        assert.equal(await incoming(play), 3);
        assert.equal(await settle(play, "remove"), "done");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("D33 as many as one act takes, each with its content", () =>
    withStore(
      async (under) => {
        const play = await tried(under, [failed(0)]);
        await settle(play, "failure");
        const owed = await opened(play);
        const body = Buffer.alloc(50_000, "x");
        const reports = await Promise.all(
          Array.from({ length: 500 }, (_, n) => report(play, `verp+${n}@sender.example`, body)),
        );
        assert.equal(await play.reporting.queue(owed, reports), "queued");
        assert.equal(await incoming(play), 500);
        await assertConsistent(under);
      },
      { redis },
    ));

  describe("in parts", () => {
    const left = async ({ under, id }: Play) => {
      const message = await under.store.looking().message(id);
      return [message?.undoneRecipients, message?.owedReport];
    };
    const partOf = async (play: Play, owed: OpenedReport, told: readonly number[]) => {
      const reports = await Promise.all(told.map((n) => report(play, `verp+${n}@sender.example`)));
      const rest = await play.reporting.queuePart(owed, told, reports);
      assert.ok(typeof rest === "object");
      return rest;
    };

    it("D33 Q6 whoever opens a failure again finds those that were not told of", () =>
      withStore(
        async (under) => {
          const play = await tried(under, [0, 1, 2, 3].map(failed));
          await settle(play, "failure");
          const rest = await partOf(play, await opened(play), [0, 2]);
          assert.deepEqual(numbers(rest), [1, 3]);
          assert.equal(await incoming(play), 2);
          await assertConsistent(under);
          // The reader dies, and its claim with it.
          await play.reporting.giveBack(rest);
          const again = await opened(play);
          assert.deepEqual(numbers(again), [1, 3]);
          const last = await partOf(play, again, [1]);
          assert.equal(await play.reporting.queue(last, [await report(play)]), "queued");
          assert.equal(await incoming(play), 4);
          assert.equal(await settle(play, "remove"), "done");
          await assertConsistent(under);
        },
        { redis },
      ));

    it("D33 Q6 an expired message of which nobody failed loses the recipients told of", () =>
      withStore(
        async (under) => {
          const play = await tried(under, [0, 1, 2].map(deferred));
          await settle(play, "expired");
          const rest = await partOf(play, await opened(play), [0, 2]);
          assert.deepEqual(numbers(rest), [1]);
          assert.equal(await incoming(play), 2);
          await assertConsistent(under);
          assert.equal(await play.reporting.queue(rest, [await report(play)]), "queued");
          assert.equal(await incoming(play), 3);
          assert.equal(await settle(play, "remove"), "done");
          await assertConsistent(under);
        },
        { redis },
      ));

    it("D33 Q6 an expired message loses the recipients told of, failed and deferred ones", () =>
      withStore(
        async (under) => {
          const play = await tried(under, [failed(0), deferred(1), deferred(2), failed(3)]);
          await settle(play, "expired");
          const rest = await partOf(play, await opened(play), [0, 1]);
          assert.deepEqual(await left(play), [1, "expired"]);
          await assertConsistent(under);
          await play.reporting.giveBack(rest);
          const again = await opened(play);
          assert.deepEqual(numbers(again), [2, 3]);
          assert.equal(await play.reporting.queue(again, [await report(play)]), "queued");
          assert.equal(await settle(play, "remove"), "done");
          await assertConsistent(under);
        },
        { redis },
      ));

    it("D33 an outcome that comes in between two parts makes the second stale", () =>
      withStore(
        async (under) => {
          const play = await tried(under, [failed(0), failed(1)], 3);
          await settle(play, "failure");
          const rest = await partOf(play, await opened(play), [0]);
          await play.led.scheduling.recordOutcomes(play.id, [failed(2)]);
          assert.equal(await play.reporting.queuePart(rest, [1], [await report(play)]), "stale");
          assert.equal(await incoming(play), 1);
          assert.deepEqual(numbers(await opened(play)), [1, 2]);
        },
        { redis },
      ));

    it("D33 one part is told of recipients from number 1 000 on as well", () =>
      withStore(
        async (under) => {
          const outcomes = [...[0, 1000, 1999].map(failed), deferred(1001)];
          const play = await tried(under, outcomes, 2000);
          await settle(play, "expired");
          await partOf(play, await opened(play), [0, 1000, 1001]);
          assert.deepEqual(await left(play), [1996, "expired"]);
          await assertConsistent(under);
        },
        { redis },
      ));
  });
});
