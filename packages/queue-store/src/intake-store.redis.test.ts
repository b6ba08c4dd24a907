import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openStore } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { isPostmqError } from "@postmq/vocabulary";
import { assertConsistent, newMessage, stored } from "./store.test-support.ts";

const chunk = 256 * 1024;

describe("commit-messages", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("Q8 shows a message whole or not at all, in its queue, with its indexes", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const message = await newMessage(intake, {
          recipients: ["a@example.com", "b@Example.com", "c@example.net"],
        });
        const looking = under.store.looking();
        assert.equal(await looking.message(message.id), undefined);
        assert.equal(await intake.commit(message), "stored");
        const listed = await looking.message(message.id);
        assert.equal(listed?.queue, "incoming");
        assert.deepEqual(
          listed?.recipients.map((recipient) => recipient.address),
          ["a@example.com", "b@Example.com", "c@example.net"],
        );
        await assertConsistent(under);
      },
      { redis },
    ));

  it("answers `already` to a second commit of an id, and changes nothing", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const id = await stored(intake);
        const again = await newMessage(intake, { id, recipients: ["other@example.org"] });
        assert.equal(await intake.commit(again), "already");
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.recipients[0]?.address, "to@example.com");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("lets one of two callers at once store an id", () =>
    withStore(
      async (under) => {
        const first = under.store.intake();
        const second = (await under.openAnother()).intake();
        const message = await newMessage(first);
        const answers = await Promise.all([first.commit(message), second.commit(message)]);
        assert.deepEqual(answers.toSorted(), ["already", "stored"]);
      },
      { redis },
    ));

  it("keeps a dropped file's id taken until it is forgotten, delivered or not (fault 3)", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const message = await newMessage(intake, { taken: true });
        await intake.commit(message);
        await redis.cli("DEL", `postmq:{${under.instanceName}}:m:${message.id}`);
        assert.equal(await intake.commit(message), "already");
        await intake.forgetTaken(message.id);
        assert.equal(await intake.commit(message), "stored");
      },
      { redis },
    ));

  it("stores large content ahead, and refuses the commit when a part of it is gone", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const content = Buffer.alloc(3 * chunk + 17, "x");
        const message = await newMessage(intake, { content });
        assert.equal(message.content.chunks, 4);
        assert.equal(message.content.inline, undefined);
        const key = `postmq:{${under.instanceName}}:c:${message.content.contentId}`;
        assert.ok(Number(await redis.cli("TTL", key)) > 0);
        const broken = await newMessage(intake, { content });
        await redis.cli(
          "HDEL",
          `postmq:{${under.instanceName}}:c:${broken.content.contentId}`,
          "2",
        );
        await assert.rejects(intake.commit(broken), (error) =>
          isPostmqError(error, "PMQ_STORE_CONTENT_EXPIRED"),
        );
        assert.equal(await intake.commit(message), "stored");
        assert.equal(Number(await redis.cli("TTL", key)), -1);
        await redis.cli("DEL", `postmq:{${under.instanceName}}:c:${broken.content.contentId}`);
        await assertConsistent(under);
        const parts: Buffer[] = [];
        for await (const part of under.store.looking().readContent(message.content))
          parts.push(part);
        assert.ok(Buffer.concat(parts).equals(content));
      },
      { redis },
    ));

  it("stores many recipients in chunks, and many domains in counts of their own", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const recipients = Array.from({ length: 2500 }, (_, i) => `u${i}@d${i % 1200}.example.com`);
        const id = await stored(intake, { recipients });
        await assertConsistent(under);
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.totalRecipients, 2500);
        const rows = await under.store.looking().qshape({
          queues: ["incoming"],
          by: "recipient",
          ageLimitsMs: [300_000],
          nowMs: under.store.clock.nowMs(),
        });
        assert.equal(rows.length, 1200);
        assert.deepEqual(rows.find((row) => row.domain === "d5.example.com")?.counts, [3, 0]);
      },
      { redis },
    ));

  it("refuses a store of another identity, and goes not-ready (fault 22)", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        await stored(intake);
        await redis.cli("SET", `postmq:{${under.instanceName}}:identity`, "another");
        await assert.rejects(intake.commit(await newMessage(intake)), (error) =>
          isPostmqError(error, "PMQ_STORE_IDENTITY"),
        );
        await waitFor(() => intake.refusal() === "identity", { describe: "the monitor to notice" });
        assert.match(under.store.health().trouble ?? "", /not the one/);
      },
      { redis },
    ));
});

describe("intake and Redis's limits", () => {
  it("P9 refuses at redis_memory_high_water, before Redis does (fault 17)", () =>
    withStore(async (under) => {
      const intake = under.store.intake();
      await stored(intake);
      const used = Number(/used_memory:(\d+)/.exec(await under.redis.cli("INFO", "memory"))?.[1]);
      await under.redis.cli("CONFIG", "SET", "maxmemory", String(Math.floor(used * 1.1)));
      await waitFor(() => intake.refusal() === "full", { describe: "the monitor to notice" });
      await assert.rejects(intake.commit(await newMessage(intake)), (error) =>
        isPostmqError(error, "PMQ_STORE_FULL"),
      );
      await under.redis.cli("CONFIG", "SET", "maxmemory", "0");
      await waitFor(() => intake.refusal() === undefined, { describe: "room again" });
      await stored(intake);
    }));

  it("P9 calls Redis's own refusal full, and stores nothing", () =>
    withStore(async (under) => {
      const intake = under.store.intake();
      const message = await newMessage(intake);
      await under.redis.cli("CONFIG", "SET", "maxmemory", "1");
      await assert.rejects(intake.commit(message), (error) =>
        isPostmqError(error, "PMQ_STORE_FULL"),
      );
      await under.redis.cli("CONFIG", "SET", "maxmemory", "0");
      assert.equal(await under.store.looking().message(message.id), undefined);
    }));

  it("P9 a full Redis is opened, looked at and drained by whoever comes", () =>
    withStore(async (under) => {
      const ids = [await stored(under.store.intake()), await stored(under.store.intake())];
      await under.redis.cli("CONFIG", "SET", "maxmemory", "1");
      const other = await under.openAnother({ processName: "operator" });
      assert.equal((await other.looking().list("incoming", { limit: 10 })).messages.length, 2);
      assert.deepEqual(await other.acting().act("delete", ids), ["done", "done"]);
    }));

  it("P4 says unreachable while Redis is away, and takes mail when it is back (fault 11)", () =>
    withStore(async (under) => {
      const intake = under.store.intake();
      const id = await stored(intake);
      await under.redis.kill9();
      await waitFor(() => intake.refusal() === "unreachable", { describe: "the loss to show" });
      const message = await newMessage(intake);
      await assert.rejects(intake.commit(message), (error) =>
        isPostmqError(error, "PMQ_STORE_UNREACHABLE"),
      );
      await under.redis.restart();
      await waitFor(() => intake.refusal() === undefined, { describe: "Redis to be back" });
      assert.equal(await intake.commit(message), "stored");
      assert.equal((await under.store.looking().message(id))?.queue, "incoming");
    }));

  it("never resends a commit: cut off in the middle, the answer is no reply (DESIGN §3)", () =>
    withStore(async (under) => {
      const intake = under.store.intake();
      await stored(intake);
      const message = await newMessage(intake);
      under.redis.pause();
      const commit = intake.commit(message);
      commit.catch(() => undefined);
      await new Promise((resolve) => setImmediate(resolve));
      await under.redis.kill9();
      await assert.rejects(commit, (error) => isPostmqError(error, "PMQ_STORE_NO_REPLY"));
      await under.redis.restart();
      await waitFor(() => intake.refusal() === undefined, { describe: "Redis to be back" });
      assert.equal(await under.store.looking().message(message.id), undefined);
    }));
});

describe("openStore", () => {
  const options = {
    instanceName: "fit",
    processName: "test",
    memoryHighWater: 0.8,
    heartbeatMs: 10_000,
    leaseMs: 8_000,
  };

  it("refuses a Redis that may throw mail away (fault 18)", async () => {
    await using redis = await startRedis();
    await redis.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    await assert.rejects(openStore({ ...options, redisUrl: redis.url }), (error) =>
      isPostmqError(error, "PMQ_STORE_UNFIT"),
    );
  });

  it("P1 says aloud that a weaker appendfsync is in force", async () => {
    await using redis = await startRedis({ appendfsync: "everysec" });
    const notices: string[] = [];
    await using store = await openStore({
      ...options,
      redisUrl: redis.url,
      onNotice: (notice) => notices.push(notice.text),
    });
    assert.equal(store.health().durability, "everysec");
    assert.ok(notices.some((text) => text.includes("everysec")));
  });

  it("names Redis, not its password, when it can't be reached (security 14)", async () => {
    await assert.rejects(
      openStore({ ...options, redisUrl: "redis://:secret@127.0.0.1:1", connectTimeoutMs: 300 }),
      (error: Error) =>
        isPostmqError(error, "PMQ_STORE_UNREACHABLE") && !error.message.includes("secret"),
    );
  });
});
