import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { RequestResult } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { RequestName } from "@postmq/vocabulary";
import { assertConsistent, dispatched, lead, stored } from "./store.test-support.ts";

const heartbeatMs = 500;

function sent(name: RequestName, recipients: readonly number[] = [0]): RequestResult {
  return {
    name,
    end: "tried",
    outcomes: recipients.map((recipient) => ({
      recipient,
      kind: "sent",
      status: enhancedStatus("2.0.0"),
      reason: "250 2.0.0 Ok",
    })),
    feedback: { kind: "good" },
  };
}

function only(names: readonly RequestName[]): RequestName {
  const [name] = names;
  assert.ok(name !== undefined);
  return name;
}

async function stateOf(under: StoreUnderTest, name: RequestName): Promise<string | undefined> {
  return (await under.store.scheduling().inspectRequests([name]))[0]?.state;
}

describe("delivering", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("walks a request through claimed, dotSent and its end, and tells the leader once", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), {
          recipients: ["a@example.com", "b@example.com"],
        });
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const worker = await under.store.delivering({ concurrency: 5 });
        const [claimed] = await worker.claim([name]);
        assert.ok(typeof claimed === "object");
        assert.equal(claimed.inline?.toString(), "Subject: test\r\n\r\nbody\r\n");
        assert.equal(claimed.recipients.length, 2);
        assert.equal(await stateOf(under, name), "claimed");
        assert.equal(await worker.markDotSent(name), true);
        assert.equal(await stateOf(under, name), "dotSent");
        await worker.end(sent(name, [0, 1]));
        await worker.end(sent(name, [0, 1]));
        assert.equal(await stateOf(under, name), undefined);
        const { events, gap } = await led.scheduling.readEvents(1000);
        assert.equal(gap, false);
        assert.equal(events.length, 1);
        assert.equal((await under.store.looking().message(id))?.undoneRecipients, 0);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("leaves a live claim, and any at dotSent, alone (Q10)", () =>
    withStore(
      async (under) => {
        await stored(under.store.intake());
        const name = only(await dispatched(await lead(under.store)));
        const first = await under.store.delivering({ concurrency: 5 });
        const second = await (
          await under.openAnother({ processName: "second" })
        ).delivering({ concurrency: 5 });
        const answers = await Promise.all([first.claim([name]), second.claim([name])]);
        const kinds = answers.map(([answer]) => (typeof answer === "object" ? "claimed" : answer));
        assert.deepEqual(kinds.toSorted(), ["busy", "claimed"]);
      },
      { redis },
    ));

  it("refuses the mark of a worker whose claim was reaped, so that its dot is never sent (fault 9)", () =>
    withStore(
      async (under) => {
        await stored(under.store.intake());
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const frozenStore = await under.openAnother({ processName: "frozen" });
        const frozen = await frozenStore.delivering({ concurrency: 5 });
        await frozen.claim([name]);
        await redis.cli("HSET", `postmq:{${under.instanceName}}:m:${name.id}`, "unrelated", "1");
        await frozenStore[Symbol.asyncDispose]();
        const reaped = await waitFor(
          async () => {
            const [answer] = await led.scheduling.reap(led.fence, [name], "retry");
            return answer === "alive" ? undefined : answer;
          },
          { describe: "the claim to be reaped" },
        );
        assert.equal(reaped, "reaped");
        const { events } = await led.scheduling.readEvents(1000);
        assert.equal(events[0]?.kind === "ended" && events[0].end, "putBack");
        const woken = await (
          await under.openAnother({ processName: "woken" })
        ).delivering({ concurrency: 5 });
        assert.equal(await woken.markDotSent(name), false);
        await assertConsistent(under);
      },
      { redis, store: { heartbeatMs } },
    ));

  it("reaps only when the heartbeat and its stamp are both one heartbeat old (DESIGN §3)", () =>
    withStore(
      async (under) => {
        await stored(under.store.intake());
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const worker = await under.store.delivering({ concurrency: 5 });
        await worker.claim([name]);
        const key = `postmq:{${under.instanceName}}:w:${worker.worker}`;
        assert.deepEqual(await led.scheduling.reap(led.fence, [name], "retry"), ["alive"]);
        await redis.cli("DEL", key);
        assert.deepEqual(await led.scheduling.reap(led.fence, [name], "retry"), ["alive"]);
        await waitFor(async () => (await redis.cli("EXISTS", key)).trim() === "1", {
          describe: "a beat",
        });
        assert.equal((await redis.cli("HLEN", `postmq:{${under.instanceName}}:gone`)).trim(), "0");
      },
      { redis, store: { heartbeatMs: 5000 } },
    ));

  it("treats a claim reaped at dotSent as ambiguous: counted, deferred, and the late 250 still counts", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const dyingStore = await under.openAnother({ processName: "dying" });
        const dying = await dyingStore.delivering({ concurrency: 5 });
        await dying.claim([name]);
        await dying.markDotSent(name);
        await dyingStore[Symbol.asyncDispose]();
        const answer = await waitFor(
          async () => {
            const [word] = await led.scheduling.reap(led.fence, [name], "retry");
            return word === "alive" ? undefined : word;
          },
          { describe: "the claim to be reaped" },
        );
        assert.equal(answer, "ambiguous");
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.recipients[0]?.state.kind, "deferred");
        const late = await under.store.delivering({ concurrency: 5 });
        await late.end(sent(name));
        assert.equal((await under.store.looking().message(id))?.undoneRecipients, 0);
        const { events } = await led.scheduling.readEvents(1000);
        assert.equal(events.filter((event) => event.kind === "ended").length, 1);
        await assertConsistent(under);
      },
      { redis, store: { heartbeatMs } },
    ));

  it("gives a request rung afresh a new generation; the old ring is stale", () =>
    withStore(
      async (under) => {
        await stored(under.store.intake());
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const [fresh] = await led.scheduling.renewRequests(led.fence, [name]);
        assert.ok(fresh !== undefined && fresh.generation === 2);
        const worker = await under.store.delivering({ concurrency: 5 });
        assert.deepEqual(await worker.claim([name]), ["stale"]);
        assert.equal(typeof (await worker.claim([fresh]))[0], "object");
        assert.deepEqual(await led.scheduling.renewRequests(led.fence, [fresh]), [undefined]);
      },
      { redis },
    ));

  it("skips recipients that are done", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), {
          recipients: ["a@example.com", "b@example.com"],
        });
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        await led.scheduling.recordOutcomes(id, sent(name, [0]).outcomes);
        const worker = await under.store.delivering({ concurrency: 5 });
        const [claimed] = await worker.claim([name]);
        assert.deepEqual(
          typeof claimed === "object" && claimed.recipients.map((recipient) => recipient.number),
          [1],
        );
      },
      { redis },
    ));

  it("calls a message without its content unreadable (fault 40)", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        const name = only(await dispatched(await lead(under.store)));
        await redis.cli("DEL", `postmq:{${under.instanceName}}:c:${id}`);
        const worker = await under.store.delivering({ concurrency: 5 });
        assert.deepEqual(await worker.claim([name]), ["unreadable"]);
      },
      { redis },
    ));

  it("makes no key anew when the record is gone, yet frees the leader's slot", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake());
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const worker = await under.store.delivering({ concurrency: 5 });
        await worker.claim([name]);
        await redis.cli("DEL", `postmq:{${under.instanceName}}:m:${id}`);
        assert.equal(await worker.markDotSent(name), false);
        await worker.end(sent(name));
        assert.equal(
          (await redis.cli("EXISTS", `postmq:{${under.instanceName}}:m:${id}`)).trim(),
          "0",
        );
        const { events } = await led.scheduling.readEvents(1000);
        assert.equal(events.length, 1);
      },
      { redis },
    ));

  it("holds outcomes over an outage of Redis and writes them when it is back (P5)", () =>
    withStore(async (under) => {
      const id = await stored(under.store.intake());
      const led = await lead(under.store);
      const name = only(await dispatched(led));
      const worker = await under.store.delivering({ concurrency: 5 });
      await worker.claim([name]);
      await worker.markDotSent(name);
      await under.redis.kill9();
      const ended = worker.end(sent(name));
      assert.equal(worker.unwritten().length, 1);
      await under.redis.restart();
      await ended;
      assert.equal(worker.unwritten().length, 0);
      const listed = await under.store.looking().message(id);
      assert.equal(listed?.undoneRecipients, 0);
    }));

  it("tells the leader of a gap when entries of its stream were lost (DESIGN §4)", () =>
    withStore(
      async (under) => {
        await stored(under.store.intake());
        const led = await lead(under.store);
        const name = only(await dispatched(led));
        const worker = await under.store.delivering({ concurrency: 5 });
        await worker.claim([name]);
        await redis.cli("INCR", `postmq:{${under.instanceName}}:eventno`);
        await worker.end(sent(name));
        assert.equal((await led.scheduling.readEvents(1000)).gap, true);
      },
      { redis },
    ));
});
