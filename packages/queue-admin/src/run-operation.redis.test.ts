import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { checkInstance } from "@postmq/queue-store";
import type { Act, Store } from "@postmq/queue-store";
import { seededRandom, startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { formatSelection } from "./format-selection.ts";
import { matches } from "./matches.ts";
import type { OperationProgress, OperationTask } from "./operation.ts";
import { runOperation } from "./run-operation.ts";
import type { OperationFaces } from "./run-operation.ts";
import { selectMessages } from "./select-messages.ts";
import type { Selection } from "./selection.ts";

type Kept = {
  readonly queue?: "incoming" | "hold" | "maildrop";
  readonly sender?: string;
  readonly recipients?: readonly string[];
  readonly arrivalMs?: number;
};

type Under = {
  readonly store: Store;
  readonly faces: OperationFaces;
  readonly keep: (kept?: Kept) => Promise<QueueId>;
  readonly queueOf: (id: QueueId) => Promise<MessageQueue | undefined>;
};

describe("operations on a selection", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (under: Under) => Promise<void>) =>
    withStore(
      async ({ store, instanceName }) => {
        const [acting, selecting] = [store.acting(), store.selecting()];
        const [intake, looking] = [store.intake(), store.looking()];
        const keep = async (kept: Kept = {}): Promise<QueueId> => {
          const id = intake.newId();
          const writer = intake.openContent(id);
          await writer.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
          await intake.commit({
            id,
            queue: kept.queue ?? "incoming",
            envelope: { sender: kept.sender ?? "a@one.example", origin: "smtp" },
            recipients: (kept.recipients ?? ["b@far.example"]).map((address) => ({ address })),
            content: await writer.finish(),
            ...(kept.arrivalMs === undefined ? {} : { arrivalMs: kept.arrivalMs }),
          });
          return id;
        };
        const queueOf = async (id: QueueId) => (await looking.message(id))?.queue;
        await test({ store, faces: { acting, selecting, clock: store.clock }, keep, queueOf });
        assert.deepEqual(await checkInstance(redis.url, instanceName), []);
      },
      { redis },
    );

  it("acts on what is selected and on nothing else, in every queue that the act takes from", () =>
    withQueue(async ({ faces, keep, queueOf }) => {
      const wanted = [
        await keep(),
        await keep({ queue: "hold" }),
        await keep({ queue: "maildrop" }),
      ];
      const other = await keep({ sender: "b@one.example" });
      const end = await finished(faces, task(["delete"], { sender: "a@one.example" }));
      assert.deepEqual([end.done, end.sample.toSorted()], [[3], wanted.toSorted()]);
      for (const id of wanted) assert.equal(await queueOf(id), undefined);
      assert.equal(await queueOf(other), "incoming");
    }));

  it("walks whole queues when nothing but queues is selected", () =>
    withQueue(async ({ faces, keep, queueOf }) => {
      const ids = await Promise.all(Array.from({ length: 1200 }, () => keep()));
      const maildrop = await keep({ queue: "maildrop" });
      const end = await finished(faces, task(["hold"], {}));
      assert.deepEqual([end.done, end.sample.length], [[1200], 10]);
      assert.deepEqual(await queueOf(ids[77] ?? maildrop), "hold");
      assert.equal(await queueOf(maildrop), "maildrop");
      const back = await finished(faces, task(["release"], { queues: ["hold"] }));
      assert.deepEqual(back.done, [1200]);
    }));

  it("A3 expires and then lets go, act after act over the whole selection", () =>
    withQueue(async ({ store, faces, keep, queueOf }) => {
      const held = await keep({ queue: "hold" });
      const waiting = await keep();
      const end = await finished(faces, task(["expire", "release"], {}));
      assert.deepEqual(end.done, [2, 1]);
      assert.equal(await queueOf(held), "deferred");
      assert.equal((await store.looking().message(waiting))?.isForceExpired, true);
      const again = await finished(faces, task(["expire", "release"], {}));
      assert.deepEqual(again.done, [0, 0]);
    }));

  it("A3 lets go of nothing unexpired, nor of what is held while it runs", () =>
    withQueue(async ({ store, faces, keep, queueOf }) => {
      for (const selection of [{}, { domain: "far.example" }]) {
        const held = await keep({ queue: "hold" });
        const theirs = await keep();
        await faces.acting.act("expire", [theirs]);
        const late: QueueId[] = [];
        let last: OperationProgress | undefined;
        for await (const progress of runOperation(faces, task(["expire", "release"], selection))) {
          last = progress;
          if (late.length > 0 || progress.queue !== "incoming") continue;
          // Expiry is through with hold; the clock may say that these were there when it began.
          late.push(await keep({ queue: "hold", arrivalMs: 1000 }), await keep({ queue: "hold" }));
          const { begunMs } = progress;
          await waitFor(() => store.clock.nowMs() > begunMs + 5, { describe: "a later moment" });
          late.push(await keep({ queue: "hold" }));
          await faces.acting.act("hold", [theirs]);
        }
        assert.equal(late.length, 3);
        assert.deepEqual(last?.done, [1, 1]);
        assert.equal(await queueOf(held), "deferred");
        assert.equal((await store.looking().message(held))?.isForceExpired, true);
        for (const id of [...late, theirs]) assert.equal(await queueOf(id), "hold");
        await finished(faces, task(["delete"], {}));
      }
    }));

  it("lets go and tries at once: each act sees what the one before it moved", () =>
    withQueue(async ({ store, faces, keep, queueOf }) => {
      const held = await keep({ queue: "hold", sender: "x@y.example" });
      // This process's clock may be behind that of Redis.
      const begunMs = (await store.looking().message(held))?.arrivalMs ?? assert.fail();
      const counts = { seen: 0, done: [0, 0], unreadable: 0, sample: [] };
      const from = { begunMs, act: 0, isOver: false, ...counts };
      await waitFor(() => store.clock.nowMs() > begunMs + 5, { describe: "a later moment" });
      const wanted = task(["release", "retry"], { sender: "x@y.example" });
      const steps = await Array.fromAsync(runOperation(faces, wanted, from));
      assert.deepEqual(steps.at(-1)?.done, [1, 1]);
      assert.equal(await queueOf(held), "incoming");
    }));

  it("changes nothing in a dry run and counts the same", () =>
    withQueue(async ({ faces, keep }) => {
      for (const queue of ["incoming", "hold", "incoming"] as const) await keep({ queue });
      await keep({ sender: "" });
      const selections: readonly Selection[] = [{}, { domain: "far.example" }, { sender: "" }];
      const acts = [["hold"], ["expire", "release"], ["delete"]] as const;
      for (const selection of selections) {
        for (const some of acts) {
          const dry = await finished(faces, { ...task(some, selection), isDryRun: true });
          const again = await finished(faces, { ...task(some, selection), isDryRun: true });
          assert.deepEqual(again.done, dry.done);
          assert.deepEqual(again.sample, dry.sample);
        }
      }
      await finished(faces, task(["expire"], { sender: "" }));
      const rest = await finished(faces, { ...task(["expire"], {}), isDryRun: true });
      assert.deepEqual(rest.done, [3], "what is expired already is no hit");
      const dry = await finished(faces, { ...task(["delete"], {}), isDryRun: true });
      const real = await finished(faces, task(["delete"], {}));
      assert.deepEqual([dry.done, dry.sample], [real.done, real.sample]);
      assert.deepEqual(real.done, [4]);
    }));

  it("goes on from any step in another process, however it ended; a step done twice counts once", () =>
    withQueue(async ({ faces, keep }) => {
      const senders = Array.from({ length: 450 }, (_, i) => (i % 3 === 0 ? "a" : "b"));
      await Promise.all(senders.map((name) => keep({ sender: `${name}@x.example` })));
      const wanted = task(["hold"], { sender: "a@x.example", attempts: { most: 5 } });
      let kept: OperationProgress | undefined;
      let runs = 0;
      for (; kept?.isOver !== true && runs < 50; runs += 1) {
        // The first step of each run is kept as JSON; the second is done and lost.
        let steps = 0;
        for await (const progress of runOperation(faces, wanted, kept)) {
          steps += 1;
          if (steps === 1) kept = JSON.parse(JSON.stringify(progress)) as OperationProgress;
          else break;
        }
      }
      assert.equal(kept?.isOver, true);
      const held = await Array.fromAsync(selectMessages(faces.selecting, { queues: ["hold"] }));
      const found = held.flat().map(({ envelope }) => envelope.sender);
      assert.deepEqual([found.length, new Set(found)], [150, new Set(["a@x.example"])]);
    }));

  it("does no harm when two operators do the same at once", () =>
    withQueue(async ({ faces, keep }) => {
      await Promise.all(Array.from({ length: 600 }, () => keep()));
      const [one, two] = await Promise.all([
        finished(faces, task(["hold"], { domain: "far.example" })),
        finished(faces, task(["hold"], {})),
      ]);
      assert.equal((one.done[0] ?? 0) + (two.done[0] ?? 0), 600);
      const [both, gone] = await Promise.all([
        finished(faces, task(["release"], { senderDomain: "one.example" })),
        finished(faces, task(["delete"], { domain: "far.example" })),
      ]);
      assert.ok((both.done[0] ?? 0) <= 600 && (gone.done[0] ?? 0) <= 600);
    }));

  it("refuses a queue that the act never takes from, before anything is changed", () =>
    withQueue(async ({ faces, keep, queueOf }) => {
      const id = await keep({ queue: "hold" });
      const odd = task(["hold"], { queues: ["incoming", "hold"] });
      await assert.rejects(finished(faces, odd), { code: "PMQ_USAGE", message: /^queue: "hold"/ });
      assert.equal(await queueOf(id), "hold");
    }));

  it("looks at all recipients of a long list, not only at those that a listing shows", () =>
    withQueue(async ({ faces, keep }) => {
      const recipients = Array.from({ length: 2500 }, (_, i) => `a${i}@far.example`);
      const id = await keep({ recipients });
      const found = async (selection: Selection) =>
        (await Array.fromAsync(selectMessages(faces.selecting, selection)))
          .flat()
          .map((message) => message.id);
      assert.deepEqual(await found({ recipient: "a2499@far.example" }), [id]);
      assert.deepEqual(await found({ recipient: "a2500@far.example" }), []);
      const contains = { of: "recipient", text: "A2499@", isNot: false } as const;
      assert.deepEqual(await found({ contains: [contains] }), [id]);
      assert.deepEqual(await found({ contains: [{ ...contains, isNot: true }] }), []);
    }));

  it("finds by its indexes what a look at every message finds (random selections)", () =>
    withQueue(async ({ faces, keep }) => {
      const random = seededRandom(Number(process.env["SEED"] ?? Date.now() % 1e6));
      const nowMs = Date.now();
      const people = ["a@x.example", "B@x.example", "a@y.example", "c@Y.example"] as const;
      const kept = Array.from({ length: 80 }, () =>
        keep({
          queue: random.pick(["incoming", "hold", "maildrop"]),
          sender: random.pick(["", ...people]),
          recipients: Array.from({ length: random.between(1, 4) }, () => random.pick(people)),
          arrivalMs: nowMs - random.between(0, 9) * 1000,
        }),
      );
      await Promise.all(kept);
      const all = (await Array.fromAsync(selectMessages(faces.selecting, {}))).flat();
      assert.equal(all.length, 80);
      const maybe = <T>(value: T): T | undefined => (random.next() < 0.4 ? value : undefined);
      for (let i = 0; i < 60; i += 1) {
        const parts = {
          queues: maybe([random.pick(["incoming", "hold", "maildrop"])] as const),
          sender: maybe(random.pick(["", ...people])),
          senderDomain: maybe(random.pick(["x.example", "y.example", "MAILER-DAEMON"])),
          recipient: maybe(random.pick(people)),
          domain: maybe(random.pick(["x.example", "y.example"])),
          arrivedFromMs: maybe(nowMs - random.between(4, 9) * 1000),
          arrivedToMs: maybe(nowMs - random.between(0, 5) * 1000),
          ids: maybe(all.slice(0, random.between(1, 60)).map(({ id }) => id)),
        };
        const selection: Selection = Object.fromEntries(
          Object.entries(parts).filter(([, value]) => value !== undefined),
        );
        const found = (await Array.fromAsync(selectMessages(faces.selecting, selection))).flat();
        assert.deepEqual(
          found.map(({ id }) => id).toSorted(),
          all
            .filter((message) => matches(selection, message))
            .map(({ id }) => id)
            .toSorted(),
          `seed ${random.seed}: ${formatSelection(selection)}`,
        );
      }
    }));
});

function task(acts: readonly Act[], selection: Selection): OperationTask {
  return { acts, selection, isDryRun: false };
}

async function finished(faces: OperationFaces, wanted: OperationTask): Promise<OperationProgress> {
  const steps = await Array.fromAsync(runOperation(faces, wanted));
  const last = steps.at(-1);
  assert.ok(last?.isOver);
  return last;
}
