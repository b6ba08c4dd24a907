/** Fault 47: a backup of Redis itself is restored, older than what happened since. Duplicates only. Source: docs/REDIS-BACKUP.md. */
import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  ledgerReader,
  Ledger,
  run,
  sendMail,
  startPostmq,
  startRedis,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem, RedisServer } from "@postmq/testing";

import { settleAccount } from "../support/account.ts";

const batch = 40;
const key = (name: string) => `postmq:{default}:${name}`;

async function temporary(stack: AsyncDisposableStack): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "postmq-restore-"));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** One of those that docs/REDIS-BACKUP.md names. */
async function script(name: string, ...args: readonly string[]): Promise<void> {
  const path = join(import.meta.dirname, "../../docker", name);
  const { code, stdout, stderr } = await run("sh", [path, ...args]);
  assert.equal(code, 0, stdout + stderr);
}

type Backup = {
  readonly take: (redis: RedisServer, into: string) => Promise<void>;
  /** On a Redis that is stopped. */
  readonly restore: (redis: RedisServer, from: string) => Promise<void>;
};

const appendOnlyFile: Backup = {
  take: async (redis, into) => {
    await script("redis-backup.sh", join(into, "copy"), "-p", String(redis.port));
  },
  restore: (redis, from) => script("redis-restore.sh", join(from, "copy"), redis.dir),
};

const snapshot: Backup = {
  take: async (redis, into) => {
    await redis.cli("BGSAVE");
    await waitFor(
      async () => (await redis.cli("INFO", "persistence")).includes("rdb_bgsave_in_progress:0"),
      { describe: "the snapshot" },
    );
    await cp(join(redis.dir, "dump.rdb"), join(into, "dump.rdb"));
  },
  restore: (redis, from) => script("redis-restore.sh", join(from, "dump.rdb"), redis.dir),
};

function idsIn(system: PostmqSystem): readonly string[] {
  return [...system.logs.matchAll(/smtpd\[\d+\]: (\w+): client=/g)].map(([, id = ""]) => id);
}

describe("fault 47: a backup of Redis restored to an older state", () => {
  const restored = async (backup: Backup, options: { readonly areRestarted: boolean }) => {
    await using stack = new AsyncDisposableStack();
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "rcpt" ? { reply: "451 4.3.0 later" } : undefined),
    });
    await using redis = await startRedis();
    await using system = await startPostmq({
      redis,
      parameters: { relayhost: sink.relayhost, minimal_backoff_time: "1s", queue_run_delay: "1s" },
    });
    const ledger = new Ledger();
    const refresh = ledgerReader(ledger, sink);
    const accept = async () => {
      for (let i = 0; i < batch; i += 1) {
        const mail = testMail();
        assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
        for (const recipient of mail.to) ledger.accept(mail.id, recipient);
      }
    };
    await accept();
    const directory = await temporary(stack);
    await backup.take(redis, directory);
    const fenceThen = BigInt(await redis.cli("GET", key("fence")));
    sink.decide = () => undefined;
    await accept();
    await ledger.settle({ refresh });
    assert.equal(ledger.report().duplicates.size, 0);
    // A younger fence than the backup's.
    await system.service("qmgr").kill9();
    await system.restart("qmgr");
    await waitFor(async () => BigInt(await redis.cli("GET", key("fence"))) > fenceThen, {
      describe: "a later term",
    });
    const fenceBefore = BigInt(await redis.cli("GET", key("fence")));

    if (options.areRestarted) assert.deepEqual(await system.stop(), []);
    await redis.stop();
    await backup.restore(redis, directory);
    await redis.restart();
    if (options.areRestarted) {
      for (const name of new Set(system.runs.map((run) => run.name))) system.respawn(name);
      await system.ready();
    }
    // What waited in the backup is sent again; what came since and was delivered is not known any more.
    await waitFor(
      () => {
        refresh();
        return ledger.report().duplicates.size === batch;
      },
      { timeoutMs: 90_000, describe: () => `the old mail again\n${system.lastLines()}` },
    );
    await waitFor(async () => BigInt(await redis.cli("GET", key("fence"))) > fenceBefore, {
      describe: "a fence above all earlier ones",
    });
    await accept();
    const report = await settleAccount({ ledger, sink, system, refresh });
    assert.equal(report.accepted, 3 * batch);
    assert.deepEqual([...new Set(report.duplicates.values())], [1]);
    assert.equal(report.duplicates.size, batch);
    assert.deepEqual([report.lost, report.contradictions, report.unknown], [[], [], []]);
    assert.deepEqual(report.brokenInvariants, []);
    const ids = idsIn(system);
    assert.equal(ids.length, 3 * batch);
    assert.equal(new Set(ids).size, ids.length, "an id was used twice");
    const checked = await system.command("postmq", ["check"]);
    assert.equal(checked.code, 0, checked.stdout + checked.stderr);
    assert.deepEqual(await system.stop(), []);
  };

  it("its append-only file: duplicates only, ids not used again, the fence rises", () =>
    restored(appendOnlyFile, { areRestarted: true }));

  it("its snapshot: the same", () => restored(snapshot, { areRestarted: true }));

  it("under daemons that run on: the same", () =>
    restored(appendOnlyFile, { areRestarted: false }));

  it("a volume that is not this store's: daemons notice, take in nothing, and are right again after a restart", async () => {
    await using stack = new AsyncDisposableStack();
    await using sink = await FakeSmtpServer.start();
    await using redis = await startRedis();
    await using system = await startPostmq({
      redis,
      parameters: { relayhost: sink.relayhost },
    });
    const directory = await temporary(stack);
    await using other = await startRedis({ dir: directory });
    await other.cli("SET", key("identity"), "another");
    await other.stop();
    await redis.stop();
    await script("redis-restore.sh", directory, redis.dir);
    await redis.restart();
    const ready = async () => (await fetch(`${system.metricsUrl("smtpd")}/readyz`)).status;
    await waitFor(async () => (await ready()) === 503, {
      describe: "smtpd to be not ready",
    });
    assert.equal((await sendMail(system.smtpPort, testMail())).code, 451);
    await system.stop();
    for (const name of new Set(system.runs.map((run) => run.name))) system.respawn(name);
    await system.ready();
    assert.equal((await sendMail(system.smtpPort, testMail())).code, 250);
    await waitFor(() => sink.accepted.length === 1);
  });
});
