import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Cleaning } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { QueueId } from "@postmq/vocabulary";
import { lead, stored } from "./store.test-support.ts";
import type { Led } from "./store.test-support.ts";

const processLimit = 3;

describe("in-flow tokens", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const look = ({ scheduling, fence }: Led, maxMessages: number) =>
    scheduling.importMessages({ fence, from: "incoming", maxMessages, maxRecipients: 10 });
  const clean = async (cleaning: Cleaning, id: QueueId, queue: "incoming" | "hold") => {
    const opened = await cleaning.open(id);
    assert.ok(typeof opened === "object");
    const writer = cleaning.openContent(id);
    await writer.write(Buffer.from("Subject: clean\r\n\r\n"));
    const { envelope, recipients } = opened;
    const content = await writer.finish();
    assert.equal(await cleaning.release(opened, { queue, envelope, recipients, content }), "moved");
  };

  it("S33 run out as mail comes in, come back one by one as it is imported, and all when the scan ends", () =>
    withStore(
      async (under) => {
        const { store, instanceName } = under;
        const taken = async () => Number(await redis.cli("GET", `postmq:{${instanceName}}:flow`));
        const intake = store.intake();
        const led = await lead(store);
        await stored(intake);
        await stored(intake);
        assert.equal(intake.flowIsDry(), false);
        await stored(intake);
        assert.equal(intake.flowIsDry(), true);
        // It slows, and never blocks.
        await stored(intake);
        await stored(intake);
        assert.equal(await taken(), processLimit);
        await waitFor(() => !intake.flowIsDry());
        assert.equal((await look(led, 2)).length, 2);
        assert.equal(await taken(), 1);
        await stored(intake);
        assert.equal(intake.flowIsDry(), false);
        await stored(intake);
        assert.equal(intake.flowIsDry(), true);
        assert.equal((await look(led, 100)).length, 5);
        assert.equal(await taken(), 0);
        await stored(intake);
        assert.equal(intake.flowIsDry(), false);
      },
      { redis, store: { processLimit } },
    ));

  it("S33 can be asked for, those of commits under way taken off, and are known from then on", () =>
    withStore(
      async ({ store, openAnother }) => {
        const intake = store.intake();
        const other = (await openAnother({ processName: "other" })).intake();
        const led = await lead(store);
        assert.equal(await intake.flowTokens(), 3);
        const commits = [stored(intake), stored(intake)];
        const during = intake.flowTokens();
        await Promise.all(commits);
        assert.equal(await during, 1);
        assert.equal(await intake.flowTokens(), 1);
        await stored(intake, { queue: "hold" });
        await stored(other);
        assert.equal(intake.flowIsDry(), false);
        assert.equal(await intake.flowTokens(), 0);
        assert.equal(intake.flowIsDry(), true);
        assert.equal((await look(led, 2)).length, 2);
        assert.equal(await store.cleaning().flowTokens(), 2);
        assert.equal(await intake.flowTokens(), 2);
        assert.equal(intake.flowIsDry(), false);
      },
      { redis, store: { processLimit } },
    ));

  it("S33 are none while Redis is away", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        const intake = store.intake();
        await stored(intake);
        assert.equal(await intake.flowTokens(), 2);
        await own.kill9();
        await waitFor(() => intake.refusal() === "unreachable");
        assert.equal(await intake.flowTokens(), 0);
        await own.restart();
        await waitFor(async () => (await intake.flowTokens()) === 2);
      },
      { redis: own, store: { processLimit } },
    );
  });

  it("S33 are not all given back by a scan that ends before a message that a leader may have died over", () =>
    withStore(
      async ({ store, instanceName }) => {
        const intake = store.intake();
        const ids = [await stored(intake), await stored(intake), await stored(intake)];
        await redis.cli("HSET", `postmq:{${instanceName}}:m:${ids[1]}`, "oc", "1");
        const led = await lead(store);
        assert.equal((await look(led, 9)).length, 1);
        assert.equal(await redis.cli("GET", `postmq:{${instanceName}}:flow`), "2");
      },
      { redis, store: { processLimit } },
    ));

  it("S34 are not taken by mail that goes to hold, or to maildrop", () =>
    withStore(
      async ({ store, instanceName }) => {
        const intake = store.intake();
        const cleaning = store.cleaning();
        for (let i = 0; i < 5; i += 1) await stored(intake, { queue: "hold" });
        await clean(cleaning, await stored(intake, { queue: "maildrop" }), "hold");
        assert.equal(await redis.cli("EXISTS", `postmq:{${instanceName}}:flow`), "0");
        assert.deepEqual([intake.flowIsDry(), cleaning.flowIsDry()], [false, false]);
      },
      { redis, store: { processLimit: 1 } },
    ));

  it("S33 are taken by what cleanup hands on to incoming", () =>
    withStore(
      async ({ store }) => {
        const cleaning = store.cleaning();
        await clean(cleaning, await stored(store.intake(), { queue: "maildrop" }), "incoming");
        assert.equal(cleaning.flowIsDry(), true);
      },
      { redis, store: { processLimit: 1 } },
    ));
});
