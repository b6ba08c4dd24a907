/** The check: it finds each kind of damage, names it, mends it, touches nothing else, and the mail goes on. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { CheckCounts, Finding, FindingKind } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { keyHash } from "./instance-keys.ts";
import { assertConsistent, deferIncoming, dispatched, lead, stored } from "./store.test-support.ts";

type Checked = { readonly findings: readonly Finding[]; readonly counts: CheckCounts };

async function check(under: StoreUnderTest, isMending = false): Promise<Checked> {
  const findings: Finding[] = [];
  const walk = under.store.checking().check({ isMending, restingSeconds: 0 });
  for (;;) {
    const step = await walk.next();
    if (step.done === true) return { findings, counts: step.value };
    findings.push(step.value);
  }
}

const key = (under: StoreUnderTest, rest: string) => `postmq:{${under.instanceName}}:${rest}`;

/** Messages in maildrop, incoming, active, deferred and hold; those in deferred are returned. */
async function fill(under: StoreUnderTest): Promise<readonly QueueId[]> {
  const intake = under.store.intake();
  const led = await lead(under.store);
  const deferred: QueueId[] = [];
  for (let i = 0; i < 8; i += 1) {
    const recipients = [`a@d${i % 3}.example`, `b@d${i % 3}.example`, `c@other.example`];
    deferred.push(await stored(intake, { recipients, sender: `s${i % 2}@sender.example` }));
  }
  await deferIncoming(under.store, led);
  await stored(intake, { recipients: ["x@active.example"] });
  const [name] = await dispatched(led);
  const worker = await under.store.delivering({ concurrency: 5 });
  assert.ok(name !== undefined);
  await worker.claim([name]);
  for (const queue of ["maildrop", "incoming", "hold"] as const) {
    await stored(intake, { queue, recipients: ["y@d0.example", "z@d1.example"] });
  }
  return deferred;
}

type Damage = {
  readonly kind: FindingKind;
  /** What the first finding says. */
  readonly says: RegExp;
  readonly inflict: (under: StoreUnderTest, id: QueueId) => Promise<unknown>;
  /** It can't be made good: the message is in corrupt afterwards. */
  readonly isLost?: true;
};

const m = (under: StoreUnderTest, id: string) => key(under, `m:${id}`);
const d0 = keyHash("d0.example");

describe("the check", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ appendfsync: "no" });
  });
  after(() => redis.stop());

  const withMail = (test: (under: StoreUnderTest, deferred: readonly QueueId[]) => Promise<void>) =>
    withStore(async (under) => test(under, await fill(under)), { redis });

  it("finds nothing where nothing is wrong, and counts what it saw", () =>
    withMail(async (under) => {
      const { findings, counts } = await check(under);
      assert.deepEqual(findings, []);
      assert.equal(counts.messages, 12);
      assert.equal(counts.contents, 12);
      assert.equal(counts.liveClaims, 1);
      assert.equal(counts.deadClaims, 0);
    }));

  const mends = (damage: Damage) =>
    withMail(async (under, [victim, ...others]) => {
      assert.ok(victim !== undefined);
      await damage.inflict(under, victim);
      const found = await check(under);
      const first = found.findings.find(({ kind }) => kind === damage.kind);
      assert.match(first?.text ?? JSON.stringify(found.findings), damage.says);
      assert.ok(found.findings.every(({ outcome }) => outcome === "found"));
      const mended = await check(under, true);
      const isMended = mended.findings.every(({ outcome }) => outcome === "mended");
      assert.ok(isMended && mended.findings.length > 0, JSON.stringify(mended.findings));
      // What a first walk has mended may show something else that comes from it.
      await check(under, true);
      assert.deepEqual((await check(under)).findings, []);
      const looking = under.store.looking();
      const isLost = damage.isLost === true;
      assert.equal((await looking.message(victim))?.queue, isLost ? "corrupt" : "deferred");
      for (const id of others) assert.equal((await looking.message(id))?.queue, "deferred");
      if (!isLost) await assertConsistent(under);
      const depths = await looking.depths();
      assert.deepEqual(
        depths.map(({ messages }) => messages),
        isLost ? [1, 1, 1, 7, 1, 1] : [1, 1, 1, 8, 1, 0],
      );
    });

  it("names and mends an entry missing in the index by arrival, and nothing else", () =>
    mends({
      kind: "index",
      says: /^is missing in q:deferred$/,
      inflict: (under, id) => under.redis.cli("ZREM", key(under, "q:deferred"), id),
    }));

  it("names and mends an entry missing in the index by entry, and nothing else", () =>
    mends({
      kind: "index",
      says: /^is missing in e:deferred$/,
      inflict: (under, id) => under.redis.cli("ZREM", key(under, "e:deferred"), id),
    }));

  it("names and mends a wrong arrival in an index, and nothing else", () =>
    mends({
      kind: "index",
      says: /^stands in q:deferred at 5, not at \d+$/,
      inflict: (under, id) => under.redis.cli("ZADD", key(under, "q:deferred"), "5", id),
    }));

  it("names and mends a due time that the index misses, and nothing else", () =>
    mends({
      kind: "index",
      says: /^is missing in due$/,
      inflict: (under, id) => under.redis.cli("ZREM", key(under, "due"), id),
    }));

  it("names and mends no due time at all, and nothing else", () =>
    mends({
      kind: "due",
      says: /^has no due time$/,
      inflict: async (under, id) => {
        await under.redis.cli("ZREM", key(under, "due"), id);
        await under.redis.cli("HDEL", m(under, id), "due");
      },
    }));

  it("names and mends an entry in a second queue, and nothing else", () =>
    mends({
      kind: "stray",
      says: /^stands in q:hold, where it does not belong$/,
      inflict: (under, id) => under.redis.cli("ZADD", key(under, "q:hold"), "7", id),
    }));

  it("names and mends an entry of a message that is gone, and nothing else", () =>
    mends({
      kind: "stray",
      says: /^stands in e:incoming, where it does not belong$/,
      inflict: (under) => under.redis.cli("ZADD", key(under, "e:incoming"), "7", "gone1"),
    }));

  it("names and mends a recipient domain's entry missing, and nothing else", () =>
    mends({
      kind: "index",
      says: new RegExp(`^is missing in d:deferred:${d0}$`),
      inflict: (under, id) => under.redis.cli("ZREM", key(under, `d:deferred:${d0}`), id),
    }));

  it("names and mends a recipient domain's entry too many, and nothing else", () =>
    mends({
      kind: "stray",
      says: /^stands in d:deferred:\w+, where it does not belong$/,
      inflict: (under, id) =>
        under.redis.cli("ZADD", key(under, `d:deferred:${keyHash("d9.example")}`), "7", id),
    }));

  it("names and mends extras of a domain missing, and nothing else", () =>
    mends({
      kind: "index",
      says: new RegExp(`^is missing in x:deferred:${d0}$`),
      inflict: (under) => under.redis.cli("DEL", key(under, `x:deferred:${d0}`)),
    }));

  it("names and mends extras of a domain wrong, and nothing else", () =>
    mends({
      kind: "stray",
      says: /^stands in x:deferred:\w+, where it does not belong$/,
      inflict: (under, id) =>
        under.redis.cli("ZADD", key(under, `x:deferred:${d0}`), "7", `4:${id}`),
    }));

  it("names and mends the entry of a sender's domain missing, and nothing else", () =>
    mends({
      kind: "index",
      says: /^is missing in s:deferred:\w+$/,
      inflict: (under) =>
        under.redis.cli("DEL", key(under, `s:deferred:${keyHash("sender.example")}`)),
    }));

  it("names and mends the index of a sender missing, and nothing else", () =>
    mends({
      kind: "index",
      says: /^is missing in f:\w+$/,
      inflict: (under) => under.redis.cli("DEL", key(under, `f:${keyHash("s0@sender.example")}`)),
    }));

  it("names and mends a record from before the index of senders, and nothing else", () =>
    mends({
      kind: "sender",
      says: /^is not in the index of senders$/,
      inflict: async (under, id) => {
        await under.redis.cli("HDEL", m(under, id), "sf");
        await under.redis.cli("ZREM", key(under, `f:${keyHash("s0@sender.example")}`), id);
      },
    }));

  it("names and mends a count of a recipient domain too high, and nothing else", () =>
    mends({
      kind: "names",
      says: /^dc:deferred counts 9, its entries 6$/,
      inflict: (under) => under.redis.cli("HINCRBY", key(under, "dc:deferred"), "d0.example", "3"),
    }));

  it("names and mends a count of a sender domain lost, and nothing else", () =>
    mends({
      kind: "names",
      says: /^sc:deferred lacks sender\.example$/,
      inflict: (under) => under.redis.cli("DEL", key(under, "sc:deferred")),
    }));

  it("names and mends a domain counted that nobody wants, and nothing else", () =>
    mends({
      kind: "names",
      says: /^dc:hold counts 3, its entries 0$/,
      inflict: (under) => under.redis.cli("HSET", key(under, "dc:hold"), "no.example", "3"),
    }));

  it("names and mends a record that counts too many undone recipients, and nothing else", () =>
    mends({
      kind: "counts",
      says: /^u is 4, 3 were counted$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "u", "4"),
    }));

  it("names and mends a record that counts failures that are none, and nothing else", () =>
    mends({
      kind: "counts",
      says: /^fl is 1, 0 were counted$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "fl", "1"),
    }));

  it("names and mends a record that counts its domains wrongly, and nothing else", () =>
    mends({
      kind: "counts",
      says: /^(d0|other)\.example is counted \d times, not \d$/,
      inflict: async (under, id) => {
        await under.redis.cli("HSET", m(under, id), "ds", "d0.example\n1\nother.example\n5");
      },
    }));

  it("names and mends an outcome without its counts, and nothing else", () =>
    mends({
      kind: "counts",
      says: /^u is 3, 2 were counted$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "s2", "d"),
    }));

  it("names and mends an open request that is not stored, and nothing else", () =>
    mends({
      kind: "request",
      says: /^its open request 7 is not stored$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "o", "7"),
    }));

  it("names and mends a request that nobody has begun, not among the open ones, and nothing else", () =>
    mends({
      kind: "request",
      says: /^its request 3 is not among the open ones$/,
      inflict: (under, id) =>
        under.redis.cli("HSET", m(under, id), "R3", "1\nq\n\nsmtp\nd0.example\n0"),
    }));

  it("names and mends a report owed by a message that was put back, and nothing else", () =>
    mends({
      kind: "report",
      says: /^owes a report outside of active$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "bw", "failure"),
    }));

  it("names and mends a report owed that nobody looks for, and nothing else", () =>
    mends({
      kind: "stray",
      says: /^stands in owed, where it does not belong$/,
      inflict: (under, id) => under.redis.cli("ZADD", key(under, "owed"), "7", id),
    }));

  it("names and mends content that would expire, and nothing else", () =>
    mends({
      kind: "content",
      says: /^its content would expire$/,
      inflict: (under, id) => under.redis.cli("EXPIRE", key(under, `c:${id}`), "1000"),
    }));

  it("names and mends content without a record, and nothing else", () =>
    mends({
      kind: "content",
      says: /^is content without a record$/,
      inflict: (under) => under.redis.cli("HSET", key(under, "c:nobodys"), "0", "x"),
    }));

  it("names and mends recipients without a record, and nothing else", () =>
    mends({
      kind: "part",
      says: /^belongs to no record$/,
      inflict: (under) => under.redis.cli("HSET", key(under, "m:nobodys:0:1"), "1000", "a@x"),
    }));

  it("names and mends a key that is no index, and nothing else", () =>
    mends({
      kind: "index",
      says: /^is missing in d:deferred:\w+$/,
      inflict: async (under) => {
        await under.redis.cli("DEL", key(under, `d:deferred:${d0}`));
        await under.redis.cli("SET", key(under, `d:deferred:${d0}`), "rubbish");
      },
    }));

  it("names and mends a key that is no index and should be none, and nothing else", () =>
    mends({
      kind: "rubbish",
      says: /^is no index$/,
      inflict: (under) =>
        under.redis.cli("SET", key(under, `d:hold:${keyHash("d7.example")}`), "rubbish"),
    }));

  it("names and mends a reason of corrupt for a message that is elsewhere, and nothing else", () =>
    mends({
      kind: "reason",
      says: /^a reason is kept, but it is not in corrupt$/,
      inflict: (under, id) => under.redis.cli("HSET", key(under, "why"), id, "old"),
    }));

  it("names and mends a queue of rings that is paused, and nothing else", () =>
    mends({
      kind: "rings",
      says: /paused/,
      inflict: (under) => under.redis.cli("HSET", key(under, "incoming:meta"), "paused", "1"),
    }));

  it("names and mends content that is missing, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^part 0 of its content is missing$/,
      inflict: (under, id) => under.redis.cli("DEL", key(under, `c:${id}`)),
      isLost: true,
    }));

  it("names and mends a record without its envelope, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^unreadable record$/,
      inflict: (under, id) => under.redis.cli("HDEL", m(under, id), "e"),
      isLost: true,
    }));

  it("names and mends a count of attempts that is rubbish, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^unreadable record$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "a", "x"),
      isLost: true,
    }));

  it("leaves nothing of it in the index of due times when it puts a message into corrupt", () =>
    withMail(async (under, [victim = assert.fail()]) => {
      await under.redis.cli("ZREM", key(under, "due"), victim);
      await under.redis.cli("HDEL", m(under, victim), "1");
      // The walk may come to that index before or after.
      const mended = (await check(under, true)).findings;
      assert.ok(mended.every(({ kind }) => kind !== "stray"));
      assert.deepEqual((await check(under)).findings, []);
    }));

  it("ends when a record counts more recipients than there can be; it goes to corrupt, and can be deleted", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const [id, imported] = [await stored(store.intake()), await stored(store.intake())];
        const hold = await stored(store.intake(), { queue: "hold" });
        for (const one of [id, imported])
          await redis.cli("HSET", m(under, one), "n", "1000000000000000");
        await redis.cli("HSET", m(under, hold), "due", "x");
        assert.equal((await store.looking().message(id))?.corruptReason, "unreadable record");
        assert.deepEqual(await store.acting().act("requeue", [id]), ["unreadable"]);
        const found = (await check(under)).findings;
        assert.deepEqual(found.map(({ kind }) => kind).toSorted(), [
          "due",
          "unreadable",
          "unreadable",
        ]);
        const led = await lead(store);
        assert.deepEqual(await dispatched(led), []);
        await check(under, true);
        assert.deepEqual((await check(under)).findings, []);
        const acting = store.acting();
        const deleted = await acting.act("delete", [id, imported], { queues: ["corrupt"] });
        assert.deepEqual(deleted, ["done", "done"]);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("tells of Redis's trouble as of the store's", () =>
    withStore(
      async (under) => {
        await redis.cli("SET", key(under, "why"), "rubbish");
        await assert.rejects(check(under), { code: "PMQ_STORE_NO_REPLY" });
      },
      { redis },
    ));

  it("names and mends an envelope that is no JSON, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^unreadable record$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "e", "{"),
      isLost: true,
    }));

  it("names and mends a record in no queue, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^unreadable record$/,
      inflict: (under, id) => under.redis.cli("HSET", m(under, id), "q", "nowhere"),
      isLost: true,
    }));

  it("names and mends recipients that are missing, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^recipients are missing$/,
      inflict: (under, id) => under.redis.cli("HDEL", m(under, id), "1"),
      isLost: true,
    }));

  it("names and mends rubbish in the place of a record, and nothing else", () =>
    mends({
      kind: "unreadable",
      says: /^it is no record$/,
      inflict: async (under, id) => {
        await under.redis.cli("DEL", m(under, id));
        await under.redis.cli("SET", m(under, id), "rubbish");
      },
      isLost: true,
    }));

  const manyRecipients = (count: number, domains: number) =>
    Array.from({ length: count }, (_, i) => `u${i}@d${i % domains}.example`);

  it("counts the recipients of a long list in steps, and mends what its record says of them", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { recipients: manyRecipients(4500, 3) });
        assert.deepEqual((await check(under)).findings, []);
        await under.redis.cli("HSET", `${m(under, id)}:0:3`, "s3200", "d", "s3201", "d");
        const found = (await check(under)).findings.map(({ text }) => text);
        assert.deepEqual(found.toSorted(), [
          "d0.example is counted 1500 times, not 1499",
          "d2.example is counted 1500 times, not 1499",
          "u is 4500, 4498 were counted",
        ]);
        await check(under, true);
        await check(under, true);
        assert.deepEqual((await check(under)).findings, []);
        await assertConsistent(under);
        await under.redis.cli("DEL", `${m(under, id)}:0:2`);
        const [lost] = (await check(under, true)).findings;
        assert.equal(lost?.text, "recipients are missing");
        assert.equal((await under.store.looking().message(id))?.queue, "corrupt");
      },
      { redis },
    ));

  it("mends the counts of a message of very many domains", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { recipients: manyRecipients(2600, 1300) });
        assert.deepEqual((await check(under)).findings, []);
        const domains = key(under, `md:${id}:0`);
        await under.redis.cli("HSET", domains, "d7.example", "9", "no.example", "1");
        await under.redis.cli("HDEL", domains, "d8.example");
        assert.equal((await check(under, true)).findings.length, 3);
        assert.deepEqual((await check(under)).findings, []);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("walks through long indexes in pages", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const ids = await Promise.all(
          Array.from({ length: 500 }, () =>
            stored(intake, { recipients: ["a@x.example", "b@x.example"] }),
          ),
        );
        const strays = Array.from({ length: 30 }, (_, i) => [String(i), `gone${i}`]).flat();
        await under.redis.cli("ZADD", key(under, "q:incoming"), ...strays);
        const domain = key(under, `d:incoming:${keyHash("x.example")}`);
        await under.redis.cli("ZADD", domain, "1", "not an id \u00ff");
        await under.redis.cli("ZREM", domain, ids[3] ?? "");
        assert.equal((await check(under)).findings.length, 32);
        await check(under, true);
        await check(under, true);
        assert.deepEqual((await check(under)).findings, []);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("adds up a domain with very many extras in steps", () =>
    withStore(
      async (under) => {
        const extras = key(under, `x:incoming:${keyHash("x.example")}`);
        const intake = under.store.intake();
        await Promise.all(
          Array.from({ length: 2100 }, () =>
            stored(intake, { recipients: ["a@x.example", "b@x.example"] }),
          ),
        );
        assert.equal(await under.redis.cli("ZCARD", extras), "2100");
        assert.deepEqual((await check(under)).findings, []);
        await under.redis.cli("HINCRBY", key(under, "dc:incoming"), "x.example", "-7");
        const [found] = (await check(under, true)).findings;
        assert.equal(found?.text, "dc:incoming counts -7 more than its entries");
        assert.deepEqual((await check(under)).findings, []);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("fault 46 a store of before there were an index of senders and counts in hashes is worked with, and mended", () =>
    withStore(
      async (under) => {
        const deferred = await fill(under);
        for (const id of deferred) await under.redis.cli("HDEL", m(under, id), "sf");
        for (const queue of ["incoming", "deferred", "hold"]) {
          for (const kind of ["dc", "sc"]) {
            await under.redis.cli("DEL", key(under, `${kind}:${queue}`));
            await under.redis.cli(
              "ZADD",
              key(under, kind.replace("c", "n") + `:${queue}`),
              "8",
              "d0.example",
            );
          }
        }
        for (const sender of ["s0@sender.example", "s1@sender.example"]) {
          await under.redis.cli("DEL", key(under, `f:${keyHash(sender)}`));
        }
        await stored(under.store.intake(), { recipients: ["new@d0.example"] });
        assert.deepEqual(await under.store.acting().act("hold", deferred.slice(0, 2)), [
          "done",
          "done",
        ]);
        assert.deepEqual(await under.store.acting().act("delete", deferred.slice(1, 3)), [
          "done",
          "done",
        ]);
        assert.notDeepEqual((await check(under, true)).findings, []);
        assert.deepEqual((await check(under)).findings, []);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("leaves alone what is stored ahead, and young content", () =>
    withStore(
      async (under) => {
        const writer = under.store.intake().openContent(under.store.intake().newId());
        await writer.write(Buffer.alloc(600 * 1024));
        await under.redis.cli("HSET", key(under, "c:young"), "0", "x");
        const findings = await Array.fromAsync(
          under.store.checking().check({ isMending: true, restingSeconds: 3600 }),
        );
        assert.deepEqual(findings, []);
      },
      { redis },
    ));

  it("finds nothing, and mends nothing, while mail comes, moves and goes", () =>
    withStore(
      async (under) => {
        const other = await under.openAnother({ processName: "checker" });
        const led = await lead(under.store);
        const intake = under.store.intake();
        let isOver = false;
        const flow = async () => {
          while (!isOver) {
            const recipients = manyRecipients(7, 3);
            await Promise.all([1, 2, 3, 4].map(() => stored(intake, { recipients })));
            await deferIncoming(under.store, led, { dueMs: 1 });
            const due = await led.scheduling.importMessages({
              fence: led.fence,
              from: "deferred",
              maxMessages: 3,
              maxRecipients: 100,
            });
            for (const message of due) {
              const outcomes = message.recipients.map(({ number }) => ({
                recipient: number,
                kind: "sent" as const,
                status: enhancedStatus("2.0.0"),
                reason: "ok",
              }));
              await led.scheduling.recordOutcomes(message.id, outcomes);
            }
            await led.scheduling.settle(
              led.fence,
              due.map(({ id, generation }) => ({ id, generation, action: "remove" })),
            );
          }
        };
        const flowing = flow();
        const checking = other.checking();
        let messages = 0;
        for (let walk = 0; walk < 12; walk += 1) {
          const steps = checking.check({ isMending: true, restingSeconds: 0 });
          const step = await steps.next();
          assert.equal(step.done, true, JSON.stringify(step.value));
          messages += step.value.messages;
        }
        isOver = true;
        await flowing;
        assert.ok(messages > 100, `${messages}`);
        await assertConsistent(under);
      },
      { redis },
    ));
});
