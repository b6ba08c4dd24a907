import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { AuditEntry } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { Redis } from "ioredis";

const note = (changes: Partial<AuditEntry> = {}): Omit<AuditEntry, "atMs"> => ({
  who: "ops",
  by: "postsuper",
  action: "delete",
  selection: "queue=deferred sender=a@b.example",
  reason: "spam run",
  outcome: "started",
  ...changes,
});

describe("the audit log", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("keeps who did what, where and why, the newest first, page by page", () =>
    withStore(
      async ({ store }) => {
        const auditing = store.auditing();
        const beforeMs = store.clock.nowMs();
        for (let n = 0; n < 5; n += 1) {
          await auditing.audit(note({ outcome: "done", count: n, operation: `op-${n}` }));
        }
        const seen: AuditEntry[] = [];
        for (let cursor: string | undefined = ""; cursor !== undefined;) {
          const page = await auditing.readAudit({ limit: 2, ...(cursor === "" ? {} : { cursor }) });
          assert.ok(page.entries.length <= 2);
          seen.push(...page.entries);
          ({ cursor } = page);
        }
        assert.deepEqual(
          seen.map(({ count }) => count),
          [4, 3, 2, 1, 0],
        );
        const { atMs, ...last } = seen[0] ?? assert.fail("nothing was noted");
        assert.deepEqual(last, note({ outcome: "done", count: 4, operation: "op-4" }));
        assert.ok(Math.abs(atMs - beforeMs) < 60_000);
      },
      { redis },
    ));

  it("tells of Redis's trouble as of the store's", () =>
    withStore(
      async ({ store, instanceName }) => {
        await redis.cli("SET", `postmq:{${instanceName}}:audit`, "rubbish");
        const trouble = { code: "PMQ_STORE_NO_REPLY" };
        await assert.rejects(store.auditing().readAudit({ limit: 1 }), trouble);
        await assert.rejects(store.auditing().audit(note()), trouble);
      },
      { redis },
    ));

  it("security 8: cuts what is long, and makes printable what could drive a terminal", () =>
    withStore(
      async ({ store }) => {
        const auditing = store.auditing();
        await auditing.audit(
          note({ selection: "x".repeat(100_000), reason: "\u001B[2Jgone\nnext line\u2028\uD800" }),
        );
        const { entries } = await auditing.readAudit({ limit: 9 });
        assert.equal(entries[0]?.selection.length, 1_000);
        assert.equal(entries[0].reason, "?[2Jgone?next line?\uFFFD");
      },
      { redis },
    ));

  it("forgets the oldest of more than some 10 000, and passes over rubbish", () =>
    withStore(
      async ({ store, instanceName }) => {
        const auditing = store.auditing();
        await auditing.audit(note({ reason: "first" }));
        const client = new Redis(redis.url);
        const key = `postmq:{${instanceName}}:audit`;
        const pipeline = client.pipeline();
        for (let n = 0; n < 10_300; n += 1) pipeline.xadd(key, "*", "e", "{}");
        await pipeline.exec();
        await auditing.audit(note({ reason: "last" }));
        assert.ok((await client.xlen(key)) < 10_200);
        const { entries, cursor } = await auditing.readAudit({ limit: 10 });
        assert.deepEqual(
          entries.map(({ reason }) => reason),
          ["last"],
        );
        assert.ok(cursor !== undefined);
        client.disconnect();
      },
      { redis },
    ));

  it("P9: is written in a full Redis too", async () => {
    await using own = await startRedis();
    await withStore(
      async ({ store }) => {
        const client = new Redis(own.url);
        await client.config("SET", "maxmemory", "1");
        await store.auditing().audit(note());
        assert.equal((await store.auditing().readAudit({ limit: 9 })).entries.length, 1);
        await client.config("SET", "maxmemory", "0");
        client.disconnect();
      },
      { redis: own },
    );
  });
});
