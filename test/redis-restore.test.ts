/** The scripts of docs/REDIS-BACKUP.md by themselves; test/full/restored-backup.test.ts has them under a queue. */
import assert from "node:assert/strict";
import { chmod, cp, mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { run, startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

const password = "secret of this test";

function script(name: "redis-backup.sh" | "redis-restore.sh", ...args: readonly string[]) {
  const path = join(import.meta.dirname, "../docker", name);
  return run("sh", [path, ...args], { env: { ...process.env, REDISCLI_AUTH: password } });
}

async function withBackup(
  test: (parts: { readonly redis: RedisServer; readonly backup: string }) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "postmq-backup-"));
  try {
    await using redis = await startRedis({ password });
    await redis.cli("SET", "before", "1");
    const backup = join(directory, "backup");
    const { code, stderr } = await script("redis-backup.sh", backup, "-p", String(redis.port));
    assert.deepEqual([code, stderr], [0, ""]);
    await redis.cli("SET", "after", "1");
    await test({ redis, backup });
  } finally {
    await rm(directory, { recursive: true });
  }
}

const keysOf = async (redis: RedisServer) => (await redis.cli("KEYS", "*")).split("\n").toSorted();

async function fileOf(directory: string, end: ".incr.aof" | ".manifest"): Promise<string> {
  const name = (await readdir(directory)).find((file) => file.endsWith(end));
  assert.ok(name !== undefined);
  return join(directory, name);
}

describe("docker/redis-backup.sh and redis-restore.sh", () => {
  it("bring back what was there, keep what came since aside, and leave Redis's settings alone", () =>
    withBackup(async ({ redis, backup }) => {
      const setting = await redis.cli("CONFIG", "GET", "auto-aof-rewrite-percentage");
      assert.equal(setting, "auto-aof-rewrite-percentage\n100");
      await redis.stop();
      const restored = await script("redis-restore.sh", backup, redis.dir);
      assert.deepEqual([restored.code, restored.stderr], [0, ""]);
      assert.match(restored.stdout, /: 1 keys; what was there ends in \.old now\n$/);
      await redis.restart();
      assert.deepEqual(await keysOf(redis), ["before"]);
      assert.ok((await readdir(redis.dir)).includes("appendonlydir.old"));
      await redis.stop();
      const again = await script("redis-restore.sh", backup, redis.dir);
      assert.match(again.stderr, /appendonlydir\.old is there from an earlier restore/);
    }));

  it("restore a file that ends in the middle of a command, and it is whole from then on", () =>
    withBackup(async ({ redis, backup }) => {
      await redis.cli("MSET", "torn", "1", "torn2", "1");
      await redis.stop();
      await cp(join(redis.dir, "appendonlydir"), join(backup, "appendonlydir"), {
        recursive: true,
      });
      const file = await fileOf(join(backup, "appendonlydir"), ".incr.aof");
      await truncate(file, (await stat(file)).size - 7);
      const restored = await script("redis-restore.sh", backup, redis.dir);
      assert.deepEqual([restored.code, restored.stderr], [0, ""]);
      await redis.restart();
      assert.deepEqual(await keysOf(redis), ["after", "before"]);
    }));

  it("leave everything as it was when the backup is none, is not whole, or can't be loaded", () =>
    withBackup(async ({ redis, backup }) => {
      const running = await script("redis-restore.sh", backup, redis.dir);
      assert.match(running.stderr, /is open: stop Redis first/);
      await redis.stop();
      const damaged = join(backup, "a dump.rdb");
      await writeFile(damaged, "REDIS0009 rubbish");
      const partial = join(backup, "partial");
      await cp(join(backup, "appendonlydir"), join(partial, "appendonlydir"), { recursive: true });
      await rm(await fileOf(join(partial, "appendonlydir"), ".manifest"));
      for (const [path, says] of [
        [join(backup, "nothing"), /is no snapshot, and no directory/],
        [partial, /is no snapshot, and no directory/],
        [damaged, /Redis can't load/],
      ] as const) {
        const failed = await script("redis-restore.sh", path, redis.dir);
        assert.equal(failed.code, 1);
        assert.match(failed.stderr, says);
        assert.deepEqual(await readdir(redis.dir), ["appendonlydir"]);
      }
      await redis.restart();
      assert.deepEqual(await keysOf(redis), ["after", "before"]);
    }));

  it("leave everything as it was when what is there can't be moved", () =>
    withBackup(async ({ redis, backup }) => {
      await redis.stop();
      const isRoot = process.getuid?.() === 0;
      const block = (mode: "+i" | "-i") => run("chattr", [mode, join(redis.dir, "appendonlydir")]);
      // Root may move whatever is not immutable, and not every file system knows that.
      if (isRoot ? (await block("+i")).code !== 0 : false) return;
      try {
        if (!isRoot) await chmod(redis.dir, 0o500);
        const failed = await script("redis-restore.sh", backup, redis.dir);
        assert.equal(failed.code, 1);
      } finally {
        if (isRoot) await block("-i");
        else await chmod(redis.dir, 0o700);
      }
      assert.deepEqual(await readdir(redis.dir), ["appendonlydir"]);
      await redis.restart();
      assert.deepEqual(await keysOf(redis), ["after", "before"]);
    }));

  it("take a half made backup away, and refuse while another may be under way", () =>
    withBackup(async ({ redis, backup }) => {
      const again = (to: string) => script("redis-backup.sh", to, "-p", String(redis.port));
      await redis.cli("CONFIG", "SET", "auto-aof-rewrite-percentage", "0");
      assert.match((await again(`${backup}-2`)).stderr, /another backup is under way/);
      await redis.cli("CONFIG", "SET", "auto-aof-rewrite-percentage", "100", "appendonly", "no");
      const none = await again(`${backup}-2`);
      assert.match(none.stderr, /has no append-only file/);
      const setting = await redis.cli("CONFIG", "GET", "auto-aof-rewrite-percentage");
      assert.equal(setting, "auto-aof-rewrite-percentage\n100");
      await assert.rejects(stat(`${backup}-2`));
    }));
});
