/** What may go wrong between two steps of different processes, each found by a reviewer or a journey first. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Delivering, OpenedReport, RequestResult } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type { OutcomeKind, RequestName } from "@postmq/vocabulary";
import { assertConsistent, dispatched, lead, newMessage, stored } from "./store.test-support.ts";

const statuses = { sent: "2.0.0", deferred: "4.2.0", failed: "5.1.1" } as const;

function ended(name: RequestName, kinds: Readonly<Record<number, OutcomeKind>>): RequestResult {
  return {
    name,
    end: "tried",
    outcomes: Object.entries(kinds).map(([recipient, kind]) => ({
      recipient: Number(recipient),
      kind,
      status: enhancedStatus(statuses[kind]),
      reason: "r",
    })),
    feedback: { kind: "none" },
  };
}

function only<T>(items: readonly T[]): T {
  const [first] = items;
  assert.ok(first !== undefined);
  return first;
}

const key = (under: StoreUnderTest, rest: string) => `postmq:{${under.instanceName}}:${rest}`;

async function owedReport(
  under: StoreUnderTest,
  kind: "failure" | "expired",
  kinds: Readonly<Record<number, OutcomeKind>>,
) {
  const recipients = Object.keys(kinds).map((number) => `u${number}@example.com`);
  const id = await stored(under.store.intake(), { recipients });
  const led = await lead(under.store);
  const name = only(await dispatched(led));
  const worker = await under.store.delivering({ concurrency: 5 });
  await worker.claim([name]);
  await worker.end(ended(name, kinds));
  const settled = await led.scheduling.settle(led.fence, [
    { id, generation: 2, action: "report", kind },
  ]);
  assert.deepEqual(settled, ["done"]);
  const reporting = under.store.reporting();
  const opened = await reporting.open(id);
  assert.ok(typeof opened === "object");
  const queue = async (report: OpenedReport) => {
    const reportId = reporting.newId();
    const writer = reporting.openContent(reportId);
    await writer.write(Buffer.from("report"));
    return reporting.queue(report, [
      {
        id: reportId,
        queue: "incoming",
        envelope: { sender: "", origin: "bounce" },
        recipients: [{ address: "from@sender.example" }],
        content: await writer.finish(),
      },
    ]);
  };
  return { id, led, name, worker, reporting, opened, queue };
}

describe("mishaps", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("Q6 refuses a report that a late failure made incomplete, and reports it with the next", () =>
    withStore(
      async (under) => {
        const owed = await owedReport(under, "failure", { 0: "failed", 1: "deferred" });
        await owed.worker.end(ended(owed.name, { 1: "failed" }));
        assert.equal(await owed.queue(owed.opened), "stale");
        const again = await (
          await under.openAnother({ processName: "second" })
        )
          .reporting()
          .open(owed.id);
        assert.ok(typeof again === "object");
        assert.deepEqual(
          again.recipients.map((recipient) => recipient.number),
          [0, 1],
        );
      },
      { redis },
    ));

  it("never reports as expired what a late 250 delivered", () =>
    withStore(
      async (under) => {
        const owed = await owedReport(under, "expired", { 0: "failed", 1: "deferred" });
        await owed.worker.end(ended(owed.name, { 1: "sent" }));
        assert.equal(await owed.queue(owed.opened), "stale");
      },
      { redis },
    ));

  it("a report asked for by a dead leader is stale once the message is tried again", () =>
    withStore(
      async (under) => {
        const owed = await owedReport(under, "expired", { 0: "deferred" });
        await redis.cli("DEL", key(under, "leader"));
        const next = await lead(under.store);
        await next.scheduling.reopenActive(next.fence);
        const name = only(await dispatched(next));
        await owed.worker.claim([name]);
        assert.equal(await owed.queue(owed.opened), "stale");
        await owed.worker.end(ended(name, { 0: "sent" }));
        const depths = await under.store.looking().depths();
        assert.deepEqual(
          depths.filter((depth) => depth.messages > 0).map((depth) => depth.queue),
          ["active"],
        );
        await assertConsistent(under);
      },
      { redis },
    ));

  it("gives back what could not be given back, once Redis takes writes again", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const { scheduling, fence } = await lead(under.store);
        const cleaning = under.store.cleaning();
        const opened = await cleaning.open(id);
        assert.ok(typeof opened === "object");
        await redis.cli("CONFIG", "SET", "min-replicas-to-write", "1");
        await assert.rejects(cleaning.giveBack(opened), (error) =>
          isPostmqError(error, "PMQ_STORE_UNREACHABLE"),
        );
        await redis.cli("CONFIG", "SET", "min-replicas-to-write", "0");
        await waitFor(async () => (await scheduling.sweep(fence, 0)) === 1, {
          describe: "the sweep to find it",
        });
      },
      { redis },
    ));

  it("one upload whose content expired does not fail its neighbours", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const big = await newMessage(intake, { content: Buffer.alloc(600_000, "x") });
        await redis.cli("DEL", key(under, `c:${big.content.contentId}`));
        const [first, second] = [await newMessage(intake), await newMessage(intake)];
        const answers = await Promise.allSettled([
          intake.commit(first),
          intake.commit(big),
          intake.commit(second),
        ]);
        assert.deepEqual(
          answers.map((answer) => answer.status),
          ["fulfilled", "rejected", "fulfilled"],
        );
      },
      { redis },
    ));

  it("fault 40 a record damaged between claim and end ends as unreadable, and holds nobody up", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const damaged = await stored(intake);
        await stored(intake);
        const led = await lead(under.store);
        const names = await dispatched(led);
        const worker: Delivering = await under.store.delivering({ concurrency: 5 });
        await worker.claim(names);
        await redis.cli("HDEL", key(under, `m:${damaged}`), "ds");
        await Promise.all(names.map((name) => worker.end(ended(name, { 0: "sent" }))));
        const { events } = await led.scheduling.readEvents(1000);
        const ends = events.map(
          (event) => event.kind === "ended" && [event.request.id === damaged, event.end],
        );
        assert.deepEqual(ends, [
          [true, "unreadable"],
          [false, "tried"],
        ]);
      },
      { redis },
    ));

  it("fault 40 a chunk of recipients that is no hash makes its message unreadable, not its reader", () =>
    withStore(
      async (under) => {
        const recipients = Array.from({ length: 1500 }, (_, i) => `u${i}@example.com`);
        const id = await stored(under.store.intake(), { recipients });
        const name = only(await dispatched(await lead(under.store)));
        await redis.cli("DEL", key(under, `m:${id}:0:1`));
        await redis.cli("SET", key(under, `m:${id}:0:1`), "rubbish");
        const worker = await under.store.delivering({ concurrency: 5 });
        assert.deepEqual(await worker.claim([name]), ["unreadable"]);
      },
      { redis },
    ));

  it("fault 40 a message whose recipients are missing goes to corrupt at import", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        await redis.cli("HDEL", key(under, `m:${id}`), "0");
        assert.deepEqual(await dispatched(await lead(under.store)), []);
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.queue, "corrupt");
        assert.match(listed?.corruptReason ?? "", /recipients are missing/);
      },
      { redis },
    ));

  it("fault 40 rubbish in place of a number sends its message to corrupt at import, and stops no leader", () =>
    withStore(
      async (under) => {
        const fields = ["g", "at", "ct", "sz", "n", "u", "fl", "a", "cr", "oc", "su"];
        const damaged: string[] = [];
        for (const field of fields) {
          for (const rubbish of ["x", "nan", "0x1f"]) {
            const id = await stored(under.store.intake());
            await redis.cli("HSET", key(under, `m:${id}`), field, rubbish);
            damaged.push(id);
          }
        }
        const whole = await stored(under.store.intake());
        const names = await dispatched(await lead(under.store));
        assert.deepEqual(
          names.map(({ id }) => id),
          [whole],
        );
        const parked = await under.redis.cli("ZRANGE", key(under, "q:corrupt"), "0", "-1");
        assert.deepEqual(parked.split("\n").toSorted(), damaged.toSorted());
      },
      { redis },
    ));

  it("a message imported alone and found innocent has no count of crashes any more", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        for (let term = 0; term < 6; term += 1) {
          const { scheduling, fence } = await lead(under.store);
          const options = { fence, from: "incoming", maxMessages: 10, maxRecipients: 10 } as const;
          await scheduling.reopenActive(fence);
          assert.equal((await scheduling.importMessages(options)).length, 1, `term ${term}`);
          await scheduling.closeImport(fence);
          await scheduling.reopenActive(fence);
          await scheduling.importMessages(options);
          await redis.cli("DEL", key(under, "leader"));
        }
        assert.equal((await under.store.looking().message(id))?.queue, "active");
      },
      { redis },
    ));

  it("a worker's death counts once for a message, however many requests of it were claimed (fault 39)", () =>
    withStore(
      async (under) => {
        const recipients = Array.from({ length: 6 }, (_, i) => `u@d${i}.example`);
        const id = await stored(under.store.intake(), { recipients });
        const { scheduling, fence } = await lead(under.store);
        const message = only(
          await scheduling.importMessages({
            fence,
            from: "incoming",
            maxMessages: 1,
            maxRecipients: 10,
          }),
        );
        const written = await scheduling.dispatch(
          fence,
          recipients.map((_, number) => ({
            id,
            messageGeneration: message.generation,
            destination: { transport: "smtp", nexthop: `d${number}.example` },
            recipients: [number],
          })),
        );
        const names = written.filter((name) => name !== undefined);
        const dying = await under.openAnother({ processName: "dying" });
        await (await dying.delivering({ concurrency: 5 })).claim(names);
        await dying[Symbol.asyncDispose]();
        await waitFor(
          async () =>
            (await scheduling.reap(fence, names, "retry")).every((word) => word === "reaped"),
          {
            describe: "the claims to be reaped",
          },
        );
        const { events } = await scheduling.readEvents(1000);
        assert.deepEqual(
          events.map((event) => event.kind === "ended" && event.crashes),
          [1, 1, 1, 1, 1, 1],
        );
      },
      { redis, store: { heartbeatMs: 500 } },
    ));

  it("leaves no key behind when cleanup makes a message of many domains small", () =>
    withStore(
      async (under) => {
        const recipients = Array.from({ length: 1200 }, (_, i) => `u@d${i}.example`);
        const id = await stored(under.store.intake(), { queue: "maildrop", recipients });
        const cleaning = under.store.cleaning();
        const opened = await cleaning.open(id);
        assert.ok(typeof opened === "object");
        const writer = cleaning.openContent(id);
        await writer.write(Buffer.from("x"));
        await cleaning.release(opened, {
          queue: "incoming",
          envelope: opened.envelope,
          recipients: [{ address: "one@example.com" }],
          content: await writer.finish(),
        });
        const keys = (await redis.cli("KEYS", key(under, "m[:d]*")))
          .split("\n")
          .filter((name) => !name.includes(":maildrop:"));
        assert.deepEqual(keys, [key(under, `m:${id}`)]);
        await assertConsistent(under);
      },
      { redis },
    ));
});
