import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { checkInstance, openStore } from "@postmq/queue-store";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";
import { makeToken } from "@postmq/service-kit";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";

import { commitMany, get } from "./looking-on.test-support.ts";
import { asked, asObject, ended, openOperator, post } from "./operating.test-support.ts";
import type { OperatorOptions } from "./operating.test-support.ts";

type Operator = Awaited<ReturnType<typeof openOperator>>;

describe("operations", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const within = (
    test: (under: StoreUnderTest, operator: Operator) => Promise<void>,
    options: OperatorOptions = {},
  ) =>
    withStore(
      async (under) => {
        await using operator = await openOperator(under.store, options);
        await test(under, operator);
        assert.deepEqual(await checkInstance(under.redis.url, under.instanceName), []);
      },
      { redis },
    );

  const count = async ({ store }: StoreUnderTest, queue: MessageQueue) =>
    (await store.looking().depths()).find((depth) => depth.queue === queue)?.messages;

  const spam = (number: number, sender = "spam@x.example") =>
    ({ queue: "hold", count: number, sender }) as const;

  async function auditOf({ url }: Operator): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const { entries } = (await get(`${url}/audit`)).body;
    assert.ok(Array.isArray(entries));
    return entries.map(asObject);
  }

  describe("asked for", () => {
    it("are accepted with 202, carried out, told of, and noted with who and why", () =>
      within(async (under, operator) => {
        const wanted = await commitMany(under.store, spam(12));
        await commitMany(under.store, spam(3, "ham@x.example"));
        const body = {
          action: "delete",
          select: { sender: "spam@x.example", queue: ["hold"] },
          reason: "spam run",
        };
        const at = await asked(operator.url, body);
        assert.equal((await get(at)).body["state"], "waiting");
        operator.runner.start();
        const { sample, id, ...view } = await ended(at);
        assert.partialDeepStrictEqual(view, {
          ...body,
          state: "done",
          all: false,
          dry_run: false,
          who: "local",
          acts: [{ act: "delete", done: 12 }],
          seen: 12,
          done: 12,
          unreadable: 0,
          restarts: 0,
        });
        assert.ok(Array.isArray(sample));
        assert.deepEqual(sample, wanted.toSorted().slice(0, 10));
        assert.equal(await count(under, "hold"), 3);
        const notes = await auditOf(operator);
        assert.deepEqual(
          notes.map(({ outcome, count: done }) => [outcome, done]),
          [
            ["done", 12],
            ["started", undefined],
          ],
        );
        assert.partialDeepStrictEqual(notes[0], {
          who: "local",
          by: "http",
          action: "delete",
          selection: "queue=hold sender=spam@x.example",
          reason: "spam run",
          operation: id,
        });
        assert.equal(operator.lines.filter((line) => line.startsWith("audit: ")).length, 2);
        const { operations } = (await get(`${operator.url}/operations`)).body;
        assert.ok(Array.isArray(operations));
        assert.equal(asObject(operations[0])["id"], id);
      }));

    it("with dry_run count and show samples, change nothing, and are not noted", () =>
      within(async (under, operator) => {
        operator.runner.start();
        await commitMany(under.store, spam(250));
        for (const select of [{ queue: "hold" }, { sender_domain: "x.example" }]) {
          const view = await ended(
            await asked(operator.url, { action: "delete", select, dry_run: true }),
          );
          assert.partialDeepStrictEqual(view, { state: "done", done: 250, seen: 250 });
          assert.ok(Array.isArray(view["sample"]));
          assert.equal(view["sample"].length, 10);
        }
        assert.equal(await count(under, "hold"), 250);
        assert.deepEqual(await auditOf(operator), []);
      }));

    it("of all messages need it to be said", () =>
      within(async (under, operator) => {
        operator.runner.start();
        await commitMany(under.store, spam(5));
        const url = `${operator.url}/operations`;
        for (const body of [
          { action: "delete", reason: "x" },
          { action: "delete", reason: "x", select: {} },
          { action: "delete", reason: "x", select: { queue: "hold" }, all: true },
        ]) {
          assert.equal((await post(url, body)).status, 422, JSON.stringify(body));
        }
        assert.equal(await count(under, "hold"), 5);
        const view = await ended(await asked(operator.url, { action: "delete", all: true }));
        assert.equal(view["done"], 5);
        assert.equal(await count(under, "hold"), 0);
      }));

    it("A3: bounce has what is in hold returned at once, whatever its due time was", () =>
      within(async ({ store }, operator) => {
        const id = await deferredFor(store, 3_600_000);
        await store.acting().act("hold", [id]);
        operator.runner.start();
        const view = await ended(
          await asked(operator.url, { action: "bounce", select: { queue: "hold" } }),
        );
        assert.deepEqual(view["acts"], [
          { act: "expire", done: 1 },
          { act: "release", done: 1 },
          { act: "retry", done: 0 },
        ]);
        const message = await store.looking().message(id);
        assert.partialDeepStrictEqual(message, { queue: "deferred", isForceExpired: true });
        assert.ok((message?.dueMs ?? Number.POSITIVE_INFINITY) <= store.clock.nowMs() + 1_000);
        await store.acting().act("hold", [id]);
        await store.acting().act("release", [id]);
        const again = await ended(await asked(operator.url, { action: "bounce", select: { id } }));
        assert.deepEqual(asObject((Array.isArray(again["acts"]) ? again["acts"] : [])[2]), {
          act: "retry",
          done: 1,
        });
        assert.equal((await store.looking().message(id))?.queue, "incoming");
      }));

    it("move messages to another instance, which is told of from then on", () => {
      const name = `aside-${Date.now().toString(36)}`;
      const options: Parameters<typeof openStore>[0] = {
        redisUrl: redis.url,
        instanceName: name,
        processName: "test",
        memoryHighWater: 0.8,
        heartbeatMs: 10_000,
        leaseMs: 8_000,
      };
      return within(
        async (under, operator) => {
          await commitMany(under.store, spam(450));
          await commitMany(under.store, spam(3, "ham@x.example"));
          operator.runner.start();
          const body = { action: "move", select: { sender: "spam@x.example" }, to: name };
          const tried = await ended(await asked(operator.url, { ...body, dry_run: true }));
          assert.partialDeepStrictEqual(tried, { state: "done", done: 450 });
          assert.equal(await count(under, "hold"), 453);
          const view = await ended(await asked(operator.url, body));
          assert.partialDeepStrictEqual(view, { ...body, state: "done", done: 450, acts: [] });
          assert.equal(await count(under, "hold"), 3);
          await using there = await openStore(options);
          const depths = await there.looking().depths();
          assert.equal(depths.find(({ queue }) => queue === "hold")?.messages, 450);
          assert.deepEqual(await under.store.copying().asideNames(), [name]);
          const [last] = await auditOf(operator);
          assert.partialDeepStrictEqual(last, { action: "move", outcome: "done", count: 450 });
          assert.match(String(last?.["selection"]), new RegExp(` to=${name}$`));
          assert.deepEqual(await checkInstance(redis.url, name), []);
        },
        { open: () => openStore(options) },
      );
    });

    it("wrongly are refused whole: nothing is changed, kept or noted", () =>
      within(async (under, operator) => {
        operator.runner.start();
        await commitMany(under.store, spam(3));
        const url = `${operator.url}/operations`;
        const delete_ = { action: "delete", reason: "x" };
        const bad: readonly (readonly [number, unknown])[] = [
          [400, "{"],
          [400, '{"action":"delete","reason":"x","select":{"__proto__":{"queue":"hold"}}}'],
          [400, '{"action":"delete","reason":"x","constructor":{"prototype":{"all":true}}}'],
          [413, `"${"x".repeat(10_000_000)}"`],
          [422, "[]"],
          [422, { ...delete_, select: { queue: "hold" }, force: true }],
          [422, { ...delete_, select: { sendr: "spam@x.example" } }],
          [422, { ...delete_, select: { queue: "nosuch" } }],
          [422, { ...delete_, select: { queue: 5 } }],
          [422, { ...delete_, select: { queue: "hold", id: [] } }],
          [422, { ...delete_, select: { id: "../x" } }],
          [422, { ...delete_, select: { id: "4cXyZ0abc1*" } }],
          [422, { ...delete_, select: { older_than: "5 parsecs" } }],
          [422, { ...delete_, select: { older_than: "5" } }],
          [422, { ...delete_, select: { reason: "(a" } }],
          [422, { ...delete_, select: { "reason~": String.raw`(?=x)` } }],
          [422, { ...delete_, select: { sender: ["a@b.example", "c@d.example"] } }],
          [422, { ...delete_, select: "hold" }],
          [422, { ...delete_, select: { queue: "hold" }, all: "true" }],
          [422, { action: "release", reason: "x", select: { queue: "active" } }],
          [422, { action: "delete", select: { queue: "hold" } }],
          [422, { action: "delete", select: { queue: "hold" }, reason: " " }],
          [422, { action: "explode", select: { queue: "hold" }, reason: "x" }],
          [422, { action: "move", select: { queue: "hold" }, reason: "x" }],
          [422, { action: "move", select: { queue: "hold" }, reason: "x", to: "a:b" }],
          [422, { action: "move", select: { queue: "hold" }, reason: "x", to: under.instanceName }],
          [422, { ...delete_, select: { queue: "hold" }, to: "other" }],
          [422, { action: "schedule", select: { queue: "hold" }, reason: "x" }],
        ];
        for (const [status, body] of bad) {
          const answer = await post(url, body);
          assert.equal(answer.status, status, JSON.stringify(body).slice(0, 200));
          assert.equal(answer.body["status"], status);
        }
        const text = await fetch(url, { method: "POST", body: '{"action":"delete","all":true}' });
        assert.equal(text.status, 415, "what a web page can send to anybody");
        assert.match((await post(url, bad[7]?.[1])).body["detail"]?.toString() ?? "", /nosuch/);
        const empty = await post(url, { ...delete_, select: { queue: "hold", sender: [] } });
        assert.match(
          String(empty.body["detail"]),
          /select\/sender must NOT have fewer than 1 items/,
        );
        const schedule = await post(url, bad.at(-1)?.[1]);
        assert.match(schedule.body["detail"]?.toString() ?? "", /schedule.*not supported/);
        assert.deepEqual((await get(url)).body["operations"], []);
        assert.deepEqual(await auditOf(operator), []);
        assert.equal(await count(under, "hold"), 3);
      }));

    it("security 3: are noted in one line of the log that no reason can add fields to", () =>
      within(async (_under, operator) => {
        const reason = 'x" outcome=done who=root selection="\\';
        const ids = Array.from({ length: 200 }, (_, n) => `4cXyZ0abc1z${n}`);
        await asked(operator.url, { action: "delete", select: { id: ids }, reason });
        const line = operator.lines.find((each) => each.startsWith("audit: ")) ?? "";
        const told =
          /^audit: who=local by=http action=delete operation=\S+ outcome=started (.*)$/.exec(
            line,
          )?.[1];
        const [, selection = "", said = ""] =
          /^selection=("(?:[^"\\]|\\.)*") reason=("(?:[^"\\]|\\.)*")$/.exec(told ?? "") ?? [];
        assert.equal(JSON.parse(said), reason);
        assert.match(String(JSON.parse(selection)), /^id=4cXyZ0abc1z0\b/);
        assert.ok(selection.length <= 1_002);
      }));

    it("while Redis is silent are not taken later: who asked was told that nothing was stored", async () => {
      await using own = await startRedis();
      await withStore(
        async (under) => {
          await using operator = await openOperator(under.store);
          await commitMany(under.store, spam(3));
          const body = { action: "delete", select: { queue: "hold" }, reason: "x" };
          const at = await asked(operator.url, body);
          own.pause();
          const [refused, stopped] = await Promise.all([
            post(`${operator.url}/operations`, body),
            post(`${at}/cancel`, { reason: "x" }),
          ]);
          assert.deepEqual([refused.status, stopped.status], [503, 503]);
          assert.equal(refused.body["code"], "PMQ_STORE_UNREACHABLE");
          own.resume();
          await waitFor(async () => (await get(`${operator.url}/audit`)).status === 200);
          // The note was on its way; what would have come after it would be there as soon.
          await waitFor(async () => (await auditOf(operator)).length === 2);
          const { operations } = (await get(`${operator.url}/operations`)).body;
          assert.ok(Array.isArray(operations));
          assert.deepEqual(
            operations.map(asObject).map(({ state }) => state),
            ["waiting"],
          );
        },
        { redis: own },
      );
    });

    it("whose answer from Redis is lost say that nobody knows, and where to look", async () => {
      await using own = await startRedis();
      await withStore(
        async (under) => {
          await using operator = await openOperator(under.store);
          await own.cli("CLIENT", "PAUSE", "60000", "WRITE");
          const body = { action: "delete", select: { queue: "hold" }, reason: "x", dry_run: true };
          const answering = post(`${operator.url}/operations`, body);
          await waitFor(async () =>
            / name=test\.asking .* cmd=eval/.test(await own.cli("CLIENT", "LIST")),
          );
          await own.kill9();
          const { status, body: told } = await answering;
          assert.deepEqual([status, told["code"]], [503, "PMQ_STORE_NO_REPLY"]);
          assert.match(
            String(told["detail"]),
            new RegExp(`not known: /v1/operations/${String(told["id"])} `),
          );
        },
        { redis: own },
      );
    });

    it("P11: need a token with the scope queue:write; reading them needs queue:read", () =>
      withTokens(async (tokensFile, { reader, writer }) =>
        within(
          async ({ store }, operator) => {
            await commitMany(store, spam(2));
            const url = `${operator.url}/operations`;
            const body = { action: "delete", select: { queue: "hold" }, reason: "x" };
            assert.equal((await post(url, body)).status, 401);
            assert.equal((await post(url, body, reader)).status, 403);
            assert.equal((await post(`${url}/x/cancel`, { reason: "x" }, reader)).status, 403);
            const answer = await post(url, body, writer);
            assert.deepEqual([answer.status, answer.body["who"]], [202, "hand"]);
            const asReader = { headers: { authorization: `Bearer ${reader}` } };
            assert.equal((await fetch(url, asReader)).status, 200);
            assert.equal((await fetch(`${operator.url}/audit`, asReader)).status, 200);
            const asWriter = { headers: { authorization: `Bearer ${writer}` } };
            assert.equal((await fetch(url, asWriter)).status, 403);
          },
          { tokensFile },
        ),
      ));

    it("are refused with 429 when 100 have not ended", () =>
      within(async ({ openAnother }, { url }) => {
        const body = { action: "delete", select: { queue: "hold" }, reason: "x" };
        const operations = (await openAnother()).operations();
        const ids = Array.from({ length: 99 }, (_, n) => `n${n}`);
        await Promise.all(ids.map((id) => operations.create({ id, task: "{}" })));
        await asked(url, body);
        assert.equal((await post(`${url}/operations`, body)).status, 429);
      }));
  });

  describe("under way", () => {
    it("end within a step when they are cancelled, before they began too", () => {
      const gate = new Gate();
      return within(
        async (under, operator) => {
          using _opened = gate;
          await commitMany(under.store, spam(900));
          const select = { sender: "spam@x.example" };
          const first = await asked(operator.url, { action: "delete", select });
          operator.runner.start();
          const progress = await gate.reached();
          const cancelled = await post(`${first}/cancel`, { reason: "a mistake" });
          assert.deepEqual([cancelled.status, cancelled.body["state"]], [202, "cancelling"]);
          gate.open();
          const view = await ended(first);
          assert.partialDeepStrictEqual(view, { state: "cancelled", done: progress.done[0] });
          const left = await count(under, "hold");
          assert.equal(left, 900 - (progress.done[0] ?? 0));
          assert.ok(left > 0);
          assert.equal((await post(`${first}/cancel`, { reason: "again" })).status, 409);
          assert.equal(
            (await post(`${operator.url}/operations/x/cancel`, { reason: "x" })).status,
            404,
          );
          assert.equal((await post(`${first}/cancel`, {})).status, 422);
          assert.deepEqual(
            (await auditOf(operator)).map(({ action, outcome, reason }) => [
              action,
              outcome,
              reason,
            ]),
            [
              ["delete", "cancelled", "a test"],
              ["cancel", "started", "a mistake"],
              ["delete", "started", "a test"],
            ],
          );
        },
        { afterStep: gate.pass },
      );
    });

    it("P10: are given back after the step at a drain, and gone on with by another showq", () => {
      const gate = new Gate();
      return withStore(
        async (under) => {
          await commitMany(under.store, spam(900));
          const operator = await openOperator(under.store, { afterStep: gate.pass });
          const at = await asked(operator.url, {
            action: "delete",
            select: { sender: "spam@x.example" },
          });
          operator.runner.start();
          using _opened = gate;
          await gate.reached();
          const drained = operator.runner.drain();
          gate.open();
          await drained;
          await operator[Symbol.asyncDispose]();
          assert.ok(((await count(under, "hold")) ?? 0) > 0, "it ended after the step");
          await using other = await openOperator(await under.openAnother());
          other.runner.start();
          const view = await ended(at.replace(operator.url, other.url));
          assert.partialDeepStrictEqual(view, { state: "done", done: 900, seen: 900, restarts: 1 });
          assert.equal(await count(under, "hold"), 0);
        },
        { redis },
      );
    });

    it("are gone on with by another when their showq died, and stay with one that is slow", () => {
      const gate = new Gate();
      return within(
        async (under, operator) => {
          const wanted = await commitMany(under.store, spam(900));
          const select = { sender: "spam@x.example" };
          const at = await asked(operator.url, { action: "delete", select });
          const other = await under.openAnother();
          const dead = await other.operations().take(200);
          assert.ok(dead !== undefined);
          // It dies between its step and the saving of it.
          await other.acting().countingFor(dead.id).act("delete", wanted.slice(0, 100));
          using opened = gate;
          operator.runner.start();
          await gate.reached();
          const others = (await under.openAnother()).operations();
          let until = await heldUntilMs(under, dead.id);
          for (let renewals = 0; renewals < 2; renewals += 1) {
            const before = until;
            await waitFor(async () => (until = await heldUntilMs(under, dead.id)) > before, {
              describe: "the hold to be renewed",
            });
            assert.equal(await others.take(200), undefined, "somebody is at work on it");
          }
          opened.open();
          const view = await ended(at);
          assert.partialDeepStrictEqual(view, { state: "done", done: 900, seen: 900, restarts: 1 });
          assert.equal((await auditOf(operator)).length, 2, "started and done, once each");
          assert.equal(await count(under, "hold"), 0);
        },
        // Renewed at a third of it: only a machine that stands still for seconds lets it run out.
        { afterStep: gate.pass, holdMs: 4000 },
      );
    });

    it("on the same messages at once do no harm", () =>
      within(async (under, operator) => {
        const other = await openOperator(await under.openAnother());
        await commitMany(under.store, spam(600));
        const select = { sender: "spam@x.example" };
        const all = await Promise.all([
          asked(operator.url, { action: "release", select }),
          asked(operator.url, { action: "delete", select }),
          asked(operator.url, { action: "hold", select }),
          asked(operator.url, { action: "requeue", select }),
          asked(operator.url, { action: "delete", select: { ...select, queue: "hold" } }),
        ]);
        operator.runner.start();
        other.runner.start();
        const views = await Promise.all(all.map((at) => ended(at)));
        assert.ok(views.every(({ state }) => state === "done"));
        const deleted = [views[1], views[4]].reduce((sum, view) => sum + Number(view?.["done"]), 0);
        const depths = await under.store.looking().depths();
        const left = depths.reduce((sum, { messages }) => sum + messages, 0);
        assert.equal(deleted + left, 600, "each is deleted once, or there");
        await other[Symbol.asyncDispose]();
      }));

    it("of words that this version does not know fail with why, which is noted", () =>
      within(async (under, operator) => {
        const { store, openAnother } = under;
        await commitMany(store, spam(2));
        const later = (await openAnother()).operations();
        const asked_ = { who: "ops", reason: "a test", all: false, isDryRun: false };
        const teleport = { ...asked_, action: "teleport", select: { queue: "hold" } };
        const widened = { ...asked_, action: "delete", select: { queue: "hold", id: [] } };
        await later.create({ id: "zz-later", task: JSON.stringify(teleport) });
        await later.create({ id: "zz-rubbish", task: "\0" });
        await later.create({ id: "zz-widened", task: JSON.stringify(widened) });
        operator.runner.start();
        for (const id of ["zz-later", "zz-rubbish", "zz-widened"]) {
          const view = await ended(`${operator.url}/operations/${id}`);
          assert.equal(view["state"], "failed");
          assert.match(String(view["error"]), /does not know/);
        }
        assert.equal((await store.operations().listOperations({ limit: 9 })).operations.length, 3);
        assert.equal(await count(under, "hold"), 2);
        const notes = (await auditOf(operator)).toSorted((a, b) =>
          String(a["operation"]) < String(b["operation"]) ? -1 : 1,
        );
        assert.deepEqual(
          notes.map(({ operation, outcome, who, action, reason }) => [
            operation,
            outcome,
            who,
            action,
            reason,
          ]),
          [
            ["zz-later", "failed", "ops", "teleport", "a test"],
            ["zz-rubbish", "failed", "", "", ""],
            ["zz-widened", "failed", "ops", "delete", "a test"],
          ],
        );
        assert.equal(notes[0]?.["selection"], '{"queue":"hold"}');
      }));

    it("are not cancelled without a note of who did so and why", () =>
      within(async ({ instanceName }, operator) => {
        const at = await asked(operator.url, { action: "delete", select: { queue: "hold" } });
        const key = `postmq:{${instanceName}}:audit`;
        await redis.cli("SET", key, "rubbish");
        assert.equal((await post(`${at}/cancel`, { reason: "x" })).status, 503);
        assert.equal((await get(at)).body["state"], "waiting");
        await redis.cli("DEL", key);
        assert.equal((await post(`${at}/cancel`, { reason: "x" })).status, 202);
      }));

    it("wait for room as long as it takes, and tell what they wait for", () =>
      movingInOwnRedis(async (under, { at, nudged }) => {
        await under.redis.cli("CONFIG", "SET", "maxmemory", "1");
        await waitFor(async () => Number((await nudged())["restarts"]) > 30);
        const waiting = await nudged();
        assert.equal(waiting["state"], "running");
        assert.match(String(waiting["error"]), /Redis takes no writes|nearly full/);
        assert.equal(await count(under, "hold"), 3);
        await under.redis.cli("CONFIG", "SET", "maxmemory", "0");
        const last = await ended(at);
        assert.deepEqual([last["state"], last["error"]], ["done", undefined]);
        assert.equal(await count(under, "hold"), 0);
      }));

    it("fail with what the store says when that does not pass", () =>
      movingInOwnRedis(async (under, { nudged }) => {
        await under.redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
        await waitFor(async () => "ended" in (await nudged()));
        const last = await nudged();
        assert.equal(last["state"], "failed");
        assert.match(String(last["error"]), /maxmemory-policy allkeys-lru/);
        assert.equal(await count(under, "hold"), 3);
      }));

    /** A move of three messages to another instance, taken again soon after each trouble, which `test` makes. */
    async function movingInOwnRedis(
      test: (
        under: StoreUnderTest,
        move: {
          readonly at: string;
          readonly nudged: () => Promise<Readonly<Record<string, unknown>>>;
        },
      ) => Promise<void>,
    ): Promise<void> {
      await withStore(async (under) => {
        const name = `${under.instanceName.slice(0, 20)}-aside`;
        const open = () => under.openAnother({ instanceName: name });
        await using operator = await openOperator(under.store, { holdMs: 100, open });
        await commitMany(under.store, spam(3));
        const at = await asked(operator.url, {
          action: "move",
          select: { queue: "hold" },
          to: name,
        });
        const nudged = async () => {
          operator.runner.start();
          operator.runner.nudge();
          return (await get(at)).body;
        };
        await test(under, { at, nudged });
      });
    }
  });
});

/** Stops an operation after its first step until it is opened. */
class Gate {
  readonly #reached = Promise.withResolvers<{ readonly done: readonly number[] }>();
  readonly #opened = Promise.withResolvers<void>();
  readonly pass = async (progress: { readonly done: readonly number[] }): Promise<void> => {
    this.#reached.resolve(progress);
    await this.#opened.promise;
  };

  reached(): Promise<{ readonly done: readonly number[] }> {
    return this.#reached.promise;
  }

  open(): void {
    this.#opened.resolve();
  }

  /** A test that failed must not wait for itself. */
  [Symbol.dispose](): void {
    this.open();
  }
}

/** Until when an operation is its holder's, by Redis's clock. */
async function heldUntilMs(
  { redis, instanceName }: StoreUnderTest,
  operation: string,
): Promise<number> {
  return Number(await redis.cli("ZSCORE", `postmq:{${instanceName}}:opq`, operation));
}

/** A message in deferred that is due in so many ms. */
async function deferredFor(store: StoreUnderTest["store"], ms: number): Promise<QueueId> {
  const [id] = await commitMany(store, { queue: "incoming", count: 1, sender: "s@x.example" });
  const fence = await store.leadership().acquire();
  assert.ok(id !== undefined && fence !== undefined);
  const scheduling = store.scheduling();
  const [message] = await scheduling.importMessages({
    fence,
    from: "incoming",
    maxMessages: 1,
    maxRecipients: 1,
  });
  assert.ok(message !== undefined);
  const { generation } = message;
  const dueMs = store.clock.nowMs() + ms;
  await scheduling.settle(fence, [{ id, generation, action: "defer", dueMs, countAttempt: true }]);
  return id;
}

async function withTokens(
  test: (
    file: string,
    tokens: { readonly reader: string; readonly writer: string },
  ) => Promise<void>,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "postmq-tokens-"));
  try {
    const reader = await makeToken({ name: "eye", scopes: ["queue:read"], senders: [] });
    const writer = await makeToken({ name: "hand", scopes: ["queue:write"], senders: [] });
    const file = join(directory, "tokens");
    writeFileSync(file, `${reader.line}\n${writer.line}\n`);
    await test(file, { reader: reader.token, writer: writer.token });
  } finally {
    rmSync(directory, { recursive: true });
  }
}
