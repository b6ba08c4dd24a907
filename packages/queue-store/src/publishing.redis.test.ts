import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { DestinationReport, Looking, SchedulerReport } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import { lead, stored } from "./store.test-support.ts";

const trouble = { status: enhancedStatus("4.4.1"), reason: "connection refused" };

function destination(name: string, more: Partial<DestinationReport> = {}): DestinationReport {
  return {
    name,
    destination: { transport: "smtp", nexthop: name.replace("smtp:", "") },
    window: 5,
    limit: 20,
    inFlight: 2,
    waiting: 7,
    surplus: 1,
    success: 0.25,
    failure: 0,
    failedCohorts: 0,
    endedPerMinute: 12,
    updatedMs: 1_000,
    ...more,
  };
}

function scheduler(fence: string): SchedulerReport {
  return {
    fence,
    leadsSinceMs: 500,
    activeMessages: 10,
    activeLimit: 20_000,
    recipientsInMemory: 12,
    recipientLimit: 20_000,
    capacity: 100,
    liveWorkers: 2,
    jobsOut: 3,
    waiting: 7,
    throttled: [{ transport: "smtp", untilMs: 9_000, ...trouble }],
    updatedMs: 1_000,
  };
}

async function namesSeen(looking: Looking): Promise<readonly string[]> {
  const names = new Set<string>();
  let cursor: string | undefined;
  do {
    const page: Awaited<ReturnType<Looking["destinations"]>> = await looking.destinations({
      limit: 10,
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const { name } of page.destinations) names.add(name);
    ({ cursor } = page);
  } while (cursor !== undefined);
  return [...names].toSorted();
}

describe("what the leader publishes", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("is seen by those who look on, whole, until it is forgotten", () =>
    withStore(
      async ({ store, instanceName }) => {
        const { scheduling, fence } = await lead(store);
        const looking = store.looking();
        assert.equal(await looking.scheduler(), undefined);
        const dead = destination("smtp:dead.example", {
          window: 0,
          limit: null,
          dead: { sinceMs: 100, untilMs: 400, ...trouble },
          pausedUntilMs: 300,
          lastTrouble: { atMs: 99, ...trouble },
        });
        const alive = destination("smtp:alive.example");
        const report = scheduler(fence);
        await scheduling.publish(fence, { scheduler: report, changed: [dead, alive], gone: [] });
        assert.deepEqual(await looking.scheduler(), report);
        assert.deepEqual(await looking.destinationsNamed([dead.name, "smtp:x", alive.name]), [
          dead,
          alive,
        ]);
        assert.deepEqual(await looking.destinationsNamed([]), []);
        assert.deepEqual(await namesSeen(looking), [alive.name, dead.name]);
        await scheduling.publish(fence, {
          scheduler: report,
          changed: [destination("smtp:new.example")],
          gone: [dead.name],
        });
        assert.deepEqual(await namesSeen(looking), [alive.name, "smtp:new.example"]);
        const lifeMs = Number(await redis.cli("PTTL", `postmq:{${instanceName}}:scheduler`));
        assert.ok(lifeMs > 0 && lifeMs <= 10_000);
      },
      { redis },
    ));

  it("is left to the next leader, which names what it does not want", () =>
    withStore(
      async ({ store }) => {
        const leadership = store.leadership();
        const first = await lead(store);
        const many = Array.from({ length: 1234 }, (_, i) => destination(`smtp:d${i}.example`));
        await first.scheduling.publish(first.fence, {
          scheduler: scheduler(first.fence),
          changed: many,
          gone: [],
        });
        await leadership.release(first.fence);
        const fence = await leadership.acquire();
        assert.ok(fence !== undefined);
        const left = await first.scheduling.readDestinations();
        assert.equal(left.length, many.length);
        const changed = [destination("smtp:d7.example")];
        const gone = many.map(({ name }) => name);
        await first.scheduling.publish(fence, { scheduler: scheduler(fence), changed, gone });
        assert.deepEqual(await first.scheduling.readDestinations(), changed);
        const old = { scheduler: scheduler(first.fence), changed: many, gone: [] };
        await assert.rejects(first.scheduling.publish(first.fence, old), (error) =>
          isPostmqError(error, "PMQ_STORE_FENCED"),
        );
        assert.deepEqual(await namesSeen(store.looking()), ["smtp:d7.example"]);
      },
      { redis },
    ));

  it("shows without the rubbish that somebody put there", () =>
    withStore(
      async ({ store, instanceName }) => {
        const { scheduling, fence } = await lead(store);
        const good = destination("smtp:good.example");
        await scheduling.publish(fence, { scheduler: scheduler(fence), changed: [good], gone: [] });
        const prefix = `postmq:{${instanceName}}`;
        await redis.cli("HSET", `${prefix}:destinations`, "a", "{", "b", "7", "c", '{"name":"c"}');
        await redis.cli("SET", `${prefix}:scheduler`, "[]");
        const looking = store.looking();
        assert.deepEqual(await namesSeen(looking), [good.name]);
        assert.deepEqual(await looking.destinationsNamed(["a", "b", "c"]), []);
        assert.equal(await looking.scheduler(), undefined);
        assert.deepEqual(await scheduling.readDestinations(), [good]);
      },
      { redis },
    ));

  it("goes with a message's open requests for whoever asks about it", () =>
    withStore(
      async ({ store, instanceName }) => {
        const intake = store.intake();
        const id = await stored(intake, { recipients: ["a@b.c", "d@e.f"] });
        const { scheduling, fence } = await lead(store);
        const looking = store.looking();
        assert.deepEqual(await looking.openRequests(id), []);
        assert.deepEqual(await looking.openRequests(intake.newId()), []);
        const options = { fence, from: "incoming", maxMessages: 1, maxRecipients: 9 } as const;
        const [message] = await scheduling.importMessages(options);
        const messageGeneration = message?.generation ?? 0;
        const to = { transport: "smtp", nexthop: "b.c" };
        const [name] = await scheduling.dispatch(fence, [
          { id, messageGeneration, destination: to, recipients: [0, 1] },
        ]);
        assert.deepEqual(await looking.openRequests(id), [
          { name, state: "queued", destination: to, recipients: [0, 1], claim: "" },
        ]);
        const rubbish = intake.newId();
        await redis.cli("SET", `postmq:{${instanceName}}:m:${rubbish}`, "x");
        assert.deepEqual(await looking.openRequests(rubbish), []);
      },
      { redis },
    ));
});
