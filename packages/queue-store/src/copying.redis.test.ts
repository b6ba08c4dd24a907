import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type {
  MessageCopy,
  MovingAway,
  ReadCopy,
  RestorableMessage,
  Store,
  StoreOptions,
} from "@postmq/queue-store";
import { checkInstance } from "@postmq/queue-store";
import { seededRandom, startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { randomMessages } from "./copies.test-support.ts";
import { assertConsistent, deferIncoming, dispatched, lead, stored } from "./store.test-support.ts";

/** How many messages stand as moving there. */
async function countMoving(copying: MovingAway): Promise<number> {
  return (await Array.fromAsync(copying.moving(Number.MAX_SAFE_INTEGER))).flat().length;
}

describe("copies of messages", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const within = (test: (under: StoreUnderTest) => Promise<void>, store?: Partial<StoreOptions>) =>
    withStore(test, { redis, ...(store === undefined ? {} : { store }) });

  it("come back as they went, whatever a message is like, and go into another instance likewise", () =>
    within(async (under) => {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const messages = randomMessages(seededRandom(seed), under.store.clock.nowMs(), 60);
      const copying = under.store.copying();
      const first = new Map<QueueId, ReadCopy>();
      for (const message of messages) {
        assert.deepEqual(await copying.restore([await ahead(under.store, message)]), ["stored"]);
        const read = await readOne(under.store, message.copy.id);
        assert.deepEqual(read.copy, message.copy, `seed ${seed}`);
        assert.ok((await contentOf(under.store, read)).equals(message.content), `seed ${seed}`);
        first.set(message.copy.id, read);
      }
      await assertConsistent(under);
      for await (const finding of under.store.checking().check({ isMending: false })) {
        assert.fail(`seed ${seed}: ${JSON.stringify(finding)}`);
      }
      await within(async (other) => {
        const there = other.store.copying();
        for (const { copy, content } of messages) {
          await there.restore([await ahead(other.store, { copy, content })]);
        }
        await assertConsistent(other);
        const reads = await there.readCopies([...first.keys()]);
        assert.deepEqual(
          reads.map((read) => (typeof read === "string" ? read : read.copy)),
          [...first.values()].map(({ copy }) => copy),
          `seed ${seed}`,
        );
      });
    }));

  it("of an id that is here are not stored again, and change nothing", () =>
    within(async (under) => {
      const copying = under.store.copying();
      const id = await stored(under.store.intake());
      const before = await readOne(under.store, id);
      const copy: MessageCopy = { ...before.copy, queue: "hold", attempts: 9 };
      assert.deepEqual(await copying.restore([small(copy), small(copy)]), ["already", "already"]);
      assert.deepEqual(await readOne(under.store, id), before);
      const other: MessageCopy = { ...copy, id: under.store.intake().newId() };
      assert.deepEqual(await copying.restore([small(other), small(other)]), ["stored", "already"]);
      await assertConsistent(under);
    }));

  it("of a message in active are of incoming; claimed requests show", () =>
    within(async ({ store }) => {
      const id = await stored(store.intake());
      const led = await lead(store);
      const names = await dispatched(led);
      const read = await readOne(store, id);
      assert.equal(read.copy.queue, "incoming");
      assert.equal(read.isClaimed, false);
      const worker = await store.delivering({ concurrency: 1 });
      await worker.claim(names);
      assert.equal((await readOne(store, id)).isClaimed, true);
      assert.equal(await store.copying().readCopy(store.intake().newId()), "absent");
    }));

  it("of thousands of recipients whose outcomes come in all the time are changing, or whole, and never absent", () =>
    within(async (under) => {
      const recipients = Array.from({ length: 3000 }, (_, i) => `u${i}@example.com`);
      const id = await stored(under.store.intake(), { recipients });
      const scheduling = (await under.openAnother({ processName: "leader" })).scheduling();
      let next = 0;
      let isOver = false;
      const send = async () => {
        while (!isOver && next < recipients.length) {
          const recipient = next++;
          const told = { status: enhancedStatus("2.0.0"), reason: "ok" };
          await scheduling.recordOutcomes(id, [{ recipient, kind: "sent", ...told }]);
        }
      };
      const sending = Promise.all([send(), send(), send(), send()]);
      await waitFor(() => next > 20);
      const copying = under.store.copying();
      for (let reads = 0; reads < 20 && next < recipients.length - 20; reads += 1) {
        const read = await copying.readCopy(id);
        if (read !== "changing")
          assert.equal(typeof read === "string" ? read : read.copy.recipients.length, 3000);
      }
      isOver = true;
      await sending;
      assert.equal((await readOne(under.store, id)).copy.recipients.length, 3000);
    }));

  it("of what is rubbish are unreadable, beside others that are not", () =>
    within(async ({ store, instanceName }) => {
      const intake = store.intake();
      const [good, bare, cut] = [await stored(intake), intake.newId(), await stored(intake)];
      await redis.cli("SET", `postmq:{${instanceName}}:m:${bare}`, "rubbish");
      await redis.cli("DEL", `postmq:{${instanceName}}:c:${cut}`);
      const reads = await store.copying().readCopies([bare, good, cut]);
      assert.deepEqual(
        reads.map((read) => (typeof read === "string" ? read : read.copy.id)),
        ["unreadable", good, "unreadable"],
      );
      const rubbish = [
        ...["a", "rr", "sr", "la", "due"].map((field) => [field, "x"] as const),
        ...(["at", "n"] as const).map((field) => [field, "nan"] as const),
      ];
      const damaged = await Promise.all(rubbish.map(() => stored(intake)));
      // Its recipients are read in pages.
      const recipients = Array.from({ length: 1001 }, (_, i) => `u${i}@example.com`);
      damaged.push(await stored(intake, { recipients }));
      rubbish.push(["sr", "x"]);
      for (const [i, [field, value]] of rubbish.entries()) {
        await redis.cli("HSET", `postmq:{${instanceName}}:m:${damaged[i]}`, field, value);
      }
      for (const field of ["sd", "ds"]) {
        damaged.push(await stored(intake));
        await redis.cli("HDEL", `postmq:{${instanceName}}:m:${damaged.at(-1)}`, field);
      }
      assert.deepEqual(
        await store.copying().readCopies(damaged),
        damaged.map(() => "unreadable"),
      );
    }));

  it("P9 are refused when Redis is full to 0.95, and nothing of them is left", () =>
    within(async (under) => {
      const id = under.store.intake().newId();
      // So much that Redis itself would take what is restored.
      await redis.cli("SETRANGE", "ballast", "50000000", "x");
      const info = await redis.cli("INFO", "memory");
      const used = Number(/used_memory:(\d+)/.exec(info)?.[1]);
      await redis.cli("CONFIG", "SET", "maxmemory", String(Math.floor(used / 0.96)));
      try {
        const full = await under.openAnother();
        const copy = aCopy(id, "deferred");
        await assert.rejects(full.copying().restore([small(copy)]), { code: "PMQ_STORE_FULL" });
        assert.equal(await under.store.copying().readCopy(id), "absent");
        await redis.cli("CONFIG", "SET", "maxmemory", "1");
        await assert.rejects(full.copying().rememberAside("x"), { code: "PMQ_STORE_FULL" });
      } finally {
        await redis.cli("CONFIG", "SET", "maxmemory", "0");
        await redis.cli("DEL", "ballast");
      }
      await assertConsistent(under);
    }));

  it("keep the place of a long reading with what it stored, and let nobody overtake", () =>
    within(async ({ store }) => {
      const copying = store.copying();
      const intake = store.intake();
      const one = small(aCopy(intake.newId(), "hold"));
      const two = small(aCopy(intake.newId(), "hold"));
      assert.deepEqual(await copying.restore([one], { name: "a", from: "", to: "1" }), ["stored"]);
      assert.equal(await copying.readPlace("a"), "1");
      assert.equal(await copying.restore([two], { name: "a", from: "", to: "1" }), "overtaken");
      assert.equal(await copying.readCopy(two.copy.id), "absent");
      await copying.forgetPlace("a");
      assert.equal(await copying.readPlace("a"), "");
    }));

  it("restored under an id of before are not meant by what is left of its earlier life", () =>
    within(async (under) => {
      const { store } = under;
      const id = await stored(store.intake());
      const led = await lead(store);
      const [name] = await dispatched(led);
      assert.ok(name !== undefined);
      const worker = await store.delivering({ concurrency: 1 });
      const read = await readOne(store, id);
      const move = store.copying().moveOf(read);
      await store.copying().markMoving([{ move, version: read.version }], "file:x");
      await store.copying().dropMoved([move]);
      assert.deepEqual(await store.copying().restore([small(read.copy)]), ["stored"]);
      // The old ring reaches a worker, and the old leader has an opinion.
      assert.deepEqual(await worker.claim([name]), ["stale"]);
      const settled = await led.scheduling.settle(led.fence, [
        { id, generation: read.generation, action: "remove" },
      ]);
      assert.deepEqual(settled, ["stale"]);
      const [again] = await dispatched(led);
      assert.ok(again !== undefined && again.number > name.number);
      assert.notEqual((await worker.claim([again]))[0], "stale");
      assert.deepEqual(await worker.claim([name]), ["stale"]);
    }));
});

describe("moving to another instance", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  type Both = { readonly here: Store; readonly there: Store; readonly under: StoreUnderTest };
  const withBoth = (test: (both: Both) => Promise<void>) =>
    withStore(
      async (under) => {
        const there = await under.openAnother({ instanceName: `${under.instanceName}-aside` });
        await test({ here: under.store, there, under });
        await assertBoth(under);
      },
      { redis },
    );
  const assertBoth = async (under: StoreUnderTest) => {
    await assertConsistent(under);
    assert.deepEqual(await checkInstance(redis.url, `${under.instanceName}-aside`), []);
  };

  it("P2 takes a message through each step once, however often each is repeated", () =>
    withBoth(async ({ here, there, under }) => {
      const id = await stored(here.intake());
      const read = await readOne(here, id);
      const move = here.copying().moveOf(read);
      const coming = [{ ...small(read.copy), move }];
      const [from, to] = [here.copying(), there.copying()];
      for (const _ of [1, 2]) {
        assert.deepEqual(await to.restoreComing(coming), ["stored"]);
        assert.equal(await to.readCopy(id), "absent");
        await assertBoth(under);
      }
      for (const _ of [1, 2]) {
        const marked = await from.markMoving([{ move, version: read.version }], "aside");
        assert.deepEqual(marked, ["marked"]);
        assert.equal(await from.readCopy(id), "absent");
        await assertBoth(under);
      }
      const away = await from.readMoving([id]);
      assert.deepEqual(
        away[0] !== undefined && typeof away[0] !== "string" && away[0].copy,
        read.copy,
      );
      assert.equal(await countMoving(from), 1);
      const moving = (before: number) => Array.fromAsync(from.moving(here.clock.nowMs() + before));
      assert.deepEqual(await moving(1000), [[{ ...move, to: "aside" }]]);
      assert.deepEqual(await moving(-60_000), []);
      assert.deepEqual(await to.makeReady([move]), ["ready"]);
      assert.deepEqual(await to.makeReady([move]), ["already"]);
      await assertBoth(under);
      assert.deepEqual((await readOne(there, id)).copy, read.copy);
      for (const _ of [1, 2]) await from.dropMoved([move]);
      assert.equal(await countMoving(from), 0);
      for (const _ of [1, 2]) await to.forgetArrived([move]);
    }));

  it("rings over there only where somebody leads: rings that nobody hears would pile up", () =>
    withBoth(async ({ here, there, under }) => {
      const ring = `postmq:{${under.instanceName}-aside}:incoming:id`;
      const moved = async () => {
        const read = await readOne(here, await stored(here.intake()));
        const move = here.copying().moveOf(read);
        await there.copying().restoreComing([{ ...small(read.copy), move }]);
        await here.copying().markMoving([{ move, version: read.version }], "aside");
        assert.deepEqual(await there.copying().makeReady([move]), ["ready"]);
        await here.copying().dropMoved([move]);
      };
      await moved();
      assert.equal(await under.redis.cli("EXISTS", ring), "0");
      await lead(there);
      await moved();
      await waitFor(async () => (await under.redis.cli("EXISTS", ring)) === "1");
    }));

  it("P2 does not bring a message back that was delivered over there before it was dropped here", () =>
    withBoth(async ({ here, there }) => {
      const id = await stored(here.intake());
      const read = await readOne(here, id);
      const move = here.copying().moveOf(read);
      const [from, to] = [here.copying(), there.copying()];
      await to.restoreComing([{ ...small(read.copy), move }]);
      await from.markMoving([{ move, version: read.version }], "aside");
      await to.makeReady([move]);
      await removeAll(there);
      assert.equal(await to.readCopy(id), "absent");
      // Whoever died here begins again.
      assert.deepEqual(await to.restoreComing([{ ...small(read.copy), move }]), ["arrived"]);
      assert.deepEqual(await to.makeReady([move]), ["already"]);
      await from.dropMoved([move]);
      await to.forgetArrived([move]);
      // A later move of the same id is another.
      assert.deepEqual(await from.restore([small(read.copy)]), ["stored"]);
      const later = from.moveOf(await readOne(here, id));
      assert.notEqual(later.name, move.name);
      assert.deepEqual(await to.restoreComing([{ ...small(read.copy), move: later }]), ["stored"]);
    }));

  it("leaves alone what changed since it was read, what is claimed, and an id that is taken over there", () =>
    withBoth(async ({ here, there }) => {
      const id = await stored(here.intake());
      const led = await lead(here);
      const read = await readOne(here, id);
      const move = here.copying().moveOf(read);
      const names = await dispatched(led);
      const mark = async (version: string) =>
        here.copying().markMoving([{ move, version }], "aside");
      assert.deepEqual(await mark(read.version), ["changed"]);
      const active = await readOne(here, id);
      const worker = await here.delivering({ concurrency: 1 });
      await worker.claim(names);
      assert.deepEqual(await mark(active.version), ["claimed"]);
      await there.copying().restore([small(read.copy)]);
      const coming = [{ ...small(read.copy), move }];
      assert.deepEqual(await there.copying().restoreComing(coming), ["taken"]);
      assert.deepEqual(await there.copying().makeReady([move]), ["taken"]);
      const unknown = { id: here.intake().newId(), name: "x" };
      assert.deepEqual(await there.copying().makeReady([unknown]), ["absent"]);
    }));

  it("takes away the others, whole, when one that was read is damaged since", () =>
    withBoth(async ({ here, under }) => {
      const ids = [await stored(here.intake()), await stored(here.intake())] as const;
      const reads = await Promise.all(ids.map((id) => readOne(here, id)));
      const moves = reads.map((read) => here.copying().moveOf(read));
      const marks = reads.map((read) => ({
        move: here.copying().moveOf(read),
        version: read.version,
      }));
      const record = `postmq:{${under.instanceName}}:m:${ids[1]}`;
      const summary = await redis.cli("HGET", record, "ds");
      await redis.cli("HDEL", record, "ds");
      assert.deepEqual(await here.copying().markMoving(marks, "aside"), ["marked", "changed"]);
      await redis.cli("HSET", record, "ds", summary);
      await assertBoth(under);
      await here.copying().putBack(moves);
    }));

  it("tells the leader when it takes a message out of active, and drops what was rung for", () =>
    withBoth(async ({ here }) => {
      const id = await stored(here.intake());
      const led = await lead(here);
      const names = await dispatched(led);
      const read = await readOne(here, id);
      const move = here.copying().moveOf(read);
      await here.copying().markMoving([{ move, version: read.version }], "aside");
      const { events } = await led.scheduling.readEvents(1000);
      assert.deepEqual(events, [{ kind: "left", id }]);
      const worker = await here.delivering({ concurrency: 1 });
      assert.deepEqual(await worker.claim(names), ["stale"]);
      await here.copying().putBack([move]);
      assert.equal((await here.looking().message(id))?.queue, "incoming");
      await here.copying().putBack([move]);
      assert.equal(await countMoving(here.copying()), 0);
    }));

  it("drops what was written all or not at all, and tells how far deletion came", () =>
    withBoth(async ({ here }) => {
      const copying = here.copying();
      const ids = [await stored(here.intake()), await stored(here.intake())];
      const led = await lead(here);
      await deferIncoming(here, led);
      const reads = await Promise.all(ids.map((id) => readOne(here, id)));
      const moves = reads.map((read) => copying.moveOf(read));
      const marks = reads.map((read) => ({ move: copying.moveOf(read), version: read.version }));
      await copying.markMoving(marks, "file:x");
      await copying.putBack(moves.slice(1));
      assert.equal(await copying.dropWritten(moves, { name: "x", to: "1" }), false);
      assert.equal(await countMoving(copying), 1);
      assert.equal(await copying.readPlace("x"), "");
      assert.equal(await copying.dropWritten(moves.slice(0, 1), { name: "x", to: "1" }), true);
      assert.equal(await copying.readPlace("x"), "1");
      // The answer was lost, and it is asked again.
      assert.equal(await copying.dropWritten(moves.slice(0, 1), { name: "x", to: "1" }), true);
      assert.equal((await here.looking().message(ids[1] ?? assert.fail()))?.queue, "deferred");
    }));

  it("names an instance until it is removed, which it is only when it is empty and nobody leads there", () =>
    withBoth(async ({ here, there, under }) => {
      const [from, to] = [here.copying(), there.copying()];
      await from.rememberAside("aside");
      assert.deepEqual(await from.asideNames(), ["aside"]);
      const id = await stored(there.intake(), { queue: "hold" });
      assert.equal(await to.removeInstance(), "full");
      const read = await readOne(there, id);
      const move = to.moveOf(read);
      await to.markMoving([{ move, version: read.version }], "x");
      assert.equal(await to.removeInstance(), "full");
      await to.dropMoved([move]);
      const leadership = there.leadership();
      const fence = await leadership.acquire();
      assert.equal(await to.removeInstance(), "led");
      await leadership.release(fence ?? "");
      for (const name of ["timeline", "ops", "op:x", "ct:0123", "active:meta"]) {
        await redis.cli("SET", `postmq:{${under.instanceName}-aside}:${name}`, "x");
      }
      assert.equal(await to.removeInstance(), "removed");
      await from.forgetAside("aside");
      assert.deepEqual(await from.asideNames(), []);
      const prefix = `postmq:{${under.instanceName}-aside}`;
      assert.equal((await redis.cli("KEYS", `${prefix}:*`)).trim(), "");
      await assert.rejects(to.makeReady([move]), { code: "PMQ_STORE_IDENTITY" });
    }));
});

async function readOne(store: Store, id: QueueId): Promise<ReadCopy> {
  const read = await store.copying().readCopy(id);
  return typeof read === "string" ? assert.fail(`${id} is ${read}`) : read;
}

async function contentOf(store: Store, read: ReadCopy): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of store.copying().readContent(read.content)) parts.push(part);
  return Buffer.concat(parts);
}

async function ahead(
  store: Store,
  message: { readonly copy: MessageCopy; readonly content: Buffer },
): Promise<RestorableMessage> {
  const writer = store.copying().openContent(message.copy.id);
  await writer.write(message.content);
  return { copy: message.copy, content: await writer.finish() };
}

function small(copy: MessageCopy): RestorableMessage {
  const inline = Buffer.from("Subject: test\r\n\r\nbody\r\n");
  return {
    copy,
    content: { contentId: copy.id, sizeBytes: inline.length, chunks: 1, inline },
  };
}

function aCopy(id: QueueId, queue: MessageCopy["queue"]): MessageCopy {
  return {
    id,
    queue,
    arrivalMs: 1_700_000_000_000,
    createdMs: 1_700_000_000_000,
    envelope: { sender: "from@sender.example", origin: "smtp" },
    recipients: [{ address: "to@example.com", state: { kind: "todo" } }],
    attempts: 0,
    isForceExpired: false,
    wasWarned: false,
    isFinished: false,
  };
}

/** As a leader and its workers would, with all of incoming. */
async function removeAll(store: Store): Promise<void> {
  const led = await lead(store);
  const { scheduling, fence } = led;
  const imported = await scheduling.importMessages({
    fence,
    from: "incoming",
    maxMessages: 10,
    maxRecipients: 10,
  });
  for (const { id, generation } of imported) {
    await scheduling.recordOutcomes(id, [
      { recipient: 0, kind: "sent", status: enhancedStatus("2.0.0"), reason: "ok" },
    ]);
    await scheduling.settle(fence, [{ id, generation, action: "remove" }]);
  }
  await scheduling.closeImport(fence);
}
