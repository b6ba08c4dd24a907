import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { MessageCopy, Store } from "@postmq/queue-store";
import { run, startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { lockFile } from "./file-lock.ts";
import { withQueueAt } from "./queue.test-support.ts";
import type { QueueUnderTest } from "./queue.test-support.ts";

type Under = QueueUnderTest & {
  /** An instance that nothing was moved to yet. */
  readonly other: string;
  readonly path: string;
};

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(() => redis[Symbol.asyncDispose]());

const withQueue = (test: (under: Under) => Promise<void>) =>
  withQueueAt(redis, (under) => {
    const path = join(under.command.directory, "backup");
    return test({ ...under, path, other: `${under.instanceName}-omq` });
  });

async function fill(store: Store, count: number, domain: string): Promise<readonly QueueId[]> {
  const [intake, copying] = [store.intake(), store.copying()];
  const ids = Array.from({ length: count }, () => intake.newId());
  for (const id of ids) {
    const inline = Buffer.from("Subject: x\r\n\r\nbody\r\n");
    const content = { contentId: id, sizeBytes: inline.length, chunks: 1, inline };
    await copying.restore([{ copy: deferredCopy(id, domain), content }]);
  }
  return ids;
}

function deferredCopy(id: QueueId, domain: string): MessageCopy {
  const told = { status: enhancedStatus("4.4.1"), reason: "connection refused" };
  return {
    id,
    queue: "deferred",
    arrivalMs: 1_700_000_000_000,
    createdMs: 1_700_000_000_000,
    envelope: { sender: "from@sender.example", origin: "smtp" },
    recipients: [{ address: `to@${domain}`, state: { kind: "deferred", ...told } }],
    attempts: 2,
    dueMs: 1_900_000_000_000,
    isForceExpired: false,
    wasWarned: false,
    isFinished: false,
  };
}

async function deferredIn(store: Store): Promise<number> {
  const depths = await store.looking().depths();
  return depths.find(({ queue }) => queue === "deferred")?.messages ?? 0;
}

describe("postmq aside", () => {
  it("moves what is selected to an instance, names it, brings it back, and forgets it when it is empty", () =>
    withQueue(async ({ store, command, other }) => {
      await fill(store, 5, "dead.example");
      await fill(store, 2, "well.example");
      const moved = await command.run([
        "postmq",
        "aside",
        "--to",
        other,
        "--domain",
        "dead.example",
      ]);
      assert.deepEqual(moved, { code: 0, out: "Moved: 5 messages\n", err: "" });
      assert.equal(await deferredIn(store), 2);
      const listed = await command.run(["postmq", "aside", "--list"]);
      assert.equal(listed.out, `${other}: 5 messages (deferred 5)\n`);
      const there = await command.run(["mailq", "--instance", other]);
      assert.match(there.out, /^-- 0 Kbytes in 5 Requests\.$/m);
      const full = await command.run(["postmq", "aside", "--remove", other]);
      assert.equal(full.code, 69);
      assert.match(full.err, /can't be removed: messages are there/);
      const back = await command.run(["postmq", "aside", "--back", other]);
      assert.equal(back.out, "Moved: 5 messages\n");
      assert.equal(await deferredIn(store), 7);
      assert.equal((await command.run(["postmq", "aside", "--remove", other])).code, 0);
      assert.equal((await command.run(["postmq", "aside", "--list"])).out, "");
      const { entries } = await store.auditing().readAudit({ limit: 10 });
      assert.deepEqual(
        entries.map(({ who, by, action, outcome, count }) => [who, by, action, outcome, count]),
        [
          ["alice", "aside", `aside remove ${other}`, "done", undefined],
          ["alice", "aside", `aside back from ${other}`, "done", 5],
          ["alice", "aside", `aside back from ${other}`, "started", undefined],
          ["alice", "aside", `aside to ${other}`, "done", 5],
          ["alice", "aside", `aside to ${other}`, "started", undefined],
        ],
      );
    }));

  it("--list says of an instance that it runs while a qmgr leads there, and no longer", () =>
    withQueue(async ({ store, command, other }) => {
      const [aside, instance] = [
        ["postmq", "aside"],
        ["--instance", other],
      ];
      await command.run([...aside, "--to", store.instanceName, "--all", ...instance]);
      const list = async () => (await command.run([...aside, "--list", ...instance])).out;
      const leadership = store.leadership();
      const fence = await leadership.acquire();
      assert.ok(fence !== undefined);
      assert.equal(await list(), `${store.instanceName}: 0 messages, running\n`);
      await leadership.release(fence);
      assert.equal(await list(), `${store.instanceName}: 0 messages\n`);
    }));

  it("with --dry-run counts and shows what would move, there and back, and moves nothing", () =>
    withQueue(async ({ store, command, other }) => {
      const ids = await fill(store, 12, "dead.example");
      const to = ["postmq", "aside", "--to", other, "--domain", "dead.example"];
      const dry = await command.run([...to, "--dry-run"]);
      assert.deepEqual([dry.code, dry.err], [0, ""]);
      const lines = dry.out.split("\n");
      assert.equal(lines[0], `12 messages would be moved to ${other} (domain=dead.example)`);
      assert.ok(lines[1]?.startsWith(`  ${ids[0]} deferred 20 2023-11-14T22:13:20.000Z from@`));
      assert.deepEqual(lines.slice(11), ["... and 2 more", ""]);
      assert.equal((await command.run(["postmq", "aside", "--list"])).out, "");
      assert.equal((await command.run([...to, "--id", ids[0] ?? ""])).code, 0);
      const back = ["postmq", "aside", "--back", other, "--dry-run"];
      const { out } = await command.run(back);
      assert.match(
        out,
        new RegExp(`^1 message would be moved back from ${other} \\(all\\)\n  ${ids[0]} `),
      );
      assert.equal(await deferredIn(store), 11);
      assert.equal((await store.auditing().readAudit({ limit: 9 })).entries.length, 2);
    }));

  it("notes that it failed, and why not all went is told, when Redis has no room for the copies", () =>
    withQueue(async ({ store, command, other }) => {
      await fill(store, 3, "dead.example");
      await redis.cli("SET", "ballast", "x");
      await redis.cli("SETRANGE", "ballast", String(20_000_000), "x");
      const used = /^used_memory:(\d+)/m.exec(await redis.cli("INFO", "memory"))?.[1];
      try {
        await redis.cli("CONFIG", "SET", "maxmemory", String(Math.ceil(Number(used) / 0.97)));
        const refused = await command.run(["postmq", "aside", "--to", other, "--all"]);
        assert.equal(refused.code, 69);
        assert.match(refused.err, /^aside: fatal: Redis is nearly full: nothing is restored\n$/);
      } finally {
        await redis.cli("CONFIG", "SET", "maxmemory", "0");
        await redis.cli("DEL", "ballast");
      }
      const { entries } = await store.auditing().readAudit({ limit: 9 });
      assert.deepEqual(
        entries.map(({ outcome }) => outcome),
        ["failed", "started"],
      );
    }));

  it("refuses an empty selection without --all, a bad name, itself, and an instance that it does not know", () =>
    withQueue(async ({ store, command, other }) => {
      await fill(store, 1, "dead.example");
      const code = async (...args: string[]) =>
        (await command.run(["postmq", "aside", ...args])).code;
      assert.equal(await code("--to", other), 64);
      assert.equal(await code("--to", "a{b}", "--all"), 64);
      assert.equal(await code("--to", store.instanceName, "--all"), 64);
      assert.equal(await code("--to", other, "--list", "--all"), 64);
      assert.equal(await code("--to", other, "--queue", "dead"), 64);
      assert.equal(await code(), 64);
      assert.equal(await code("--back", other), 69);
      assert.equal(await code("--remove", other), 69);
      assert.equal(await deferredIn(store), 1);
      assert.equal(await code("--to", other, "--all"), 0);
      assert.equal(await deferredIn(store), 0);
    }));
});

describe("postmq export and import", () => {
  it("bring a queue into another instance, by a file and by a pipe", () =>
    withQueue(async ({ store, command, path, other }) => {
      await fill(store, 4, "dead.example");
      const exported = await command.run(["postmq", "export", "--all", "--output", path]);
      assert.deepEqual(exported, { code: 0, out: "", err: "export: exported 4 messages\n" });
      assert.equal(statSync(path).mode & 0o777, 0o600);
      const piped = await command.run(["postmq", "export"]);
      assert.equal(piped.out.split("\n").length, readFileSync(path, "utf8").split("\n").length);
      const args = ["postmq", "import", "--instance", other];
      const dry = await command.run([...args, path, "--dry-run"]);
      assert.equal(dry.out, "Would import: 4 messages; dry run: nothing was changed\n");
      const first = await command.run([...args, path]);
      assert.deepEqual(first, { code: 0, out: "Imported: 4 messages\n", err: "" });
      const second = await command.run(args, { input: piped.out });
      assert.deepEqual(second, { code: 0, out: "Imported: 0 messages, 4 here already\n", err: "" });
      const there = await command.run(["mailq", "--instance", other]);
      assert.match(there.out, /in 4 Requests\.$/m);
    }));

  it("export --dry-run counts and shows what would be written and deleted, and makes no file", () =>
    withQueue(async ({ store, command, path }) => {
      const [id] = await fill(store, 1, "dead.example");
      const args = ["postmq", "export", "--all", "--output", path, "--dry-run"];
      const dry = await command.run([...args, "--delete"]);
      assert.match(
        dry.out,
        new RegExp(
          `^1 message would be written and deleted \\(all\\)\n  ${id} deferred 20 .* to to@dead`,
        ),
      );
      assert.match((await command.run(args)).out, /^1 message would be written \(all\)\n/);
      assert.ok(!existsSync(path) && !existsSync(`${path}.lock`));
      assert.equal(await deferredIn(store), 1);
    }));

  it("export that is told to stop takes its file away, so that the same command begins anew", () =>
    withQueue(async ({ store, command, path }) => {
      await fill(store, 120, "dead.example");
      const args = ["postmq", "export", "--output", path];
      const stopSoon = (event: string) => {
        if (event !== "SIGTERM") return;
        process.off("newListener", stopSoon);
        setImmediate(() => process.kill(process.pid, "SIGTERM"));
      };
      process.on("newListener", stopSoon);
      const stopped = await command.run(args);
      assert.equal(stopped.code, 75);
      const said = /^export: stopped: exported (\d+) messages; .*backup was taken away again\n$/;
      assert.ok(Number(said.exec(stopped.err)?.[1]) < 120, stopped.err);
      assert.ok(!existsSync(path));
      const whole = await command.run(args);
      assert.deepEqual(whole, { code: 0, out: "", err: "export: exported 120 messages\n" });
      const third = await command.run(args);
      assert.deepEqual(
        [third.code, third.err],
        [73, `export: fatal: ${path}: is there already: name another\n`],
      );
    }));

  it("export that can write no more says that its file is a part", () =>
    withQueue(async ({ store, path }) => {
      await fill(store, 120, "dead.example");
      const program = join(import.meta.dirname, "../bin/postmq");
      // Some kilobytes, for any file.
      const limited = `ulimit -f 8; exec "${program}" export --output "${path}"`;
      const env = {
        POSTMQ_REDIS_URL: redis.url,
        POSTMQ_INSTANCE_NAME: store.instanceName,
      };
      const { code, stderr } = await run("sh", ["-c", limited], { env });
      const said = stderr.split("\n");
      assert.equal(said[0], `export: warning: ${path} is a part, and no backup: remove it`);
      assert.match(said[1] ?? "", /^export: fatal: .*(?:EFBIG|file too large)/);
      assert.equal(code, 73);
      assert.ok(!readFileSync(path, "utf8").includes('"end"'));
    }));

  it("export --delete needs a file that is new, and says what to go on with", () =>
    withQueue(async ({ store, command, path }) => {
      await fill(store, 3, "dead.example");
      await fill(store, 1, "well.example");
      const code = async (...args: string[]) =>
        (await command.run(["postmq", "export", ...args])).code;
      assert.equal(await code("--delete", "--all"), 64);
      assert.equal(await code("--delete", "--output", path), 64);
      assert.equal(await code("--append", "--all", "--output", path), 64);
      assert.equal(existsSync(path), false);
      const selection = ["--domain", "dead.example", "--older-than", "1d"];
      assert.equal(await code("--delete", "--output", path, ...selection), 0);
      assert.equal(await deferredIn(store), 1);
      assert.equal(await code("--delete", "--output", path, "--all"), 73);
      assert.equal(await code("--delete", "--append", "--output", path, "--all"), 0);
      assert.equal(await deferredIn(store), 0);
      const back = await command.run(["postmq", "import", path]);
      assert.deepEqual(back, { code: 0, out: "Imported: 4 messages\n", err: "" });
      assert.equal(await deferredIn(store), 4);
      writeFileSync(path, "no export\n");
      assert.equal(await code("--delete", "--append", "--output", path, "--all"), 73);
      // One that was killed before it had written its first line.
      writeFileSync(path, "");
      assert.equal(await code("--delete", "--append", "--output", path, "--all"), 0);
      const again = await command.run(["postmq", "import", path]);
      assert.deepEqual(again, { code: 0, out: "Imported: 4 messages\n", err: "" });
    }));

  it("export --delete --append cuts nothing off a file of another instance, or of another Redis", () =>
    withQueue(async ({ store, command, path, other }) => {
      await fill(store, 2, "dead.example");
      const args = ["postmq", "export", "--delete", "--all", "--output", path];
      assert.equal((await command.run(args)).code, 0);
      // As if it had been killed between the deletion and its checkpoint.
      const [header = "", first = "", second = ""] = readFileSync(path, "utf8").split("\n");
      const whole = [header, first, second, ""].join("\n");
      writeFileSync(path, whole);
      const elsewhere = await command.run([...args, "--append", "--instance", other]);
      assert.equal(elsewhere.code, 73);
      assert.match(elsewhere.err, /is an export of the instance t/);
      const key = `postmq:{${store.instanceName}}:place:${JSON.parse(header).export_id}`;
      const place = await redis.cli("GET", key);
      await redis.cli("DEL", key);
      const unknown = await command.run([...args, "--append"]);
      assert.equal(unknown.code, 73);
      assert.match(unknown.err, /how far it came is not known here/);
      assert.equal(readFileSync(path, "utf8"), whole);
      await redis.cli("SET", key, place);
      assert.equal((await command.run([...args, "--append"])).code, 0);
      const back = await command.run(["postmq", "import", path]);
      assert.deepEqual(back, { code: 0, out: "Imported: 2 messages\n", err: "" });
    }));

  it("export --delete --append leaves a file alone that another one is writing, be it frozen", () =>
    withQueue(async ({ store, command, path }) => {
      const args = ["postmq", "export", "--delete", "--output", path];
      await fill(store, 1, "dead.example");
      assert.equal((await command.run([...args, "--all"])).code, 0);
      await fill(store, 1, "dead.example");
      {
        using _ = lockFile(`${path}.lock`);
        const refused = await command.run([...args, "--append", "--all"]);
        const err = `export: fatal: ${path}: another export is writing it\n`;
        assert.deepEqual(refused, { code: 75, out: "", err });
        assert.equal(await deferredIn(store), 1);
      }
      assert.equal((await command.run([...args, "--append", "--all"])).code, 0);
      const missing = join(path, "no-directory", "backup");
      assert.equal((await command.run([...args.slice(0, 4), missing, "--all"])).code, 73);
    }));

  it("export ends with 74 when nobody takes it, import when there is nothing to read", () =>
    withQueue(async ({ store }) => {
      const program = join(import.meta.dirname, "../bin/postmq");
      const env = { ...process.env, POSTMQ_REDIS_URL: redis.url };
      const place = { env: { ...env, POSTMQ_INSTANCE_NAME: store.instanceName } };
      const child = spawn(program, ["export"], { ...place, stdio: ["ignore", "pipe", "ignore"] });
      child.stdout.destroy();
      assert.deepEqual(await once(child, "close"), [74, null]);
      const dir = await run("sh", ["-c", `"${program}" import - </`], place);
      assert.deepEqual(
        { code: dir.code, err: dir.stderr },
        { code: 74, err: "import: fatal: standard input is a directory\n" },
      );
    }));

  it("note that they began before anything is changed, whatever becomes of them", () =>
    withQueue(async ({ store, command, path }) => {
      await fill(store, 1, "dead.example");
      const auditing = store.auditing();
      const why = ["--reason", "old mail"];
      await command.run(["postmq", "export", "--all", "--delete", "--output", path, ...why]);
      const { entries } = await auditing.readAudit({ limit: 9 });
      const told = { action: "export --delete", selection: "all", reason: "old mail" };
      assert.partialDeepStrictEqual(entries, [
        { ...told, outcome: "done", count: 1 },
        { ...told, outcome: "started" },
      ]);
      await command.run(["postmq", "import", join(path, "nothing")]);
      const newest = await auditing.readAudit({ limit: 2 });
      assert.partialDeepStrictEqual(newest.entries, [
        { action: "import", outcome: "failed" },
        { action: "import", outcome: "started" },
      ]);
    }));

  it("import tells of damage, with 65, of a file without an end, and of one that is not there", () =>
    withQueue(async ({ store, command, path }) => {
      await fill(store, 2, "dead.example");
      await command.run(["postmq", "export", "--output", path]);
      const lines = readFileSync(path, "utf8").split("\n");
      const damaged = [lines[0], "rub\u001B[2Jbish", lines[2], ""].join("\n");
      const { code, out, err } = await command.run(["postmq", "import"], { input: damaged });
      assert.equal(code, 65);
      assert.equal(out, "Imported: 0 messages, 1 here already, 1 damaged put in corrupt\n");
      assert.match(err, /^import: warning: line 2 is no JSON$/m);
      assert.match(err, /does not end as an export does/);
      const missing = await command.run(["postmq", "import", "/nowhere/x"]);
      assert.equal(missing.code, 74);
      const other = await command.run(["postmq", "import"], { input: "no export\n" });
      const why = "line 1 is no JSON, and the file does not begin as an export does";
      const told = { code: 65, out: "", err: `import: fatal: ${why}: nothing is restored\n` };
      assert.deepEqual(other, told);
    }));
});

describe("postmq run", () => {
  it("is refused where a qmgr leads, and to who may not flush", () =>
    withQueue(async ({ store, command }) => {
      const env = { POSTMQ_AUTHORIZED_FLUSH_USERS: "bob" };
      assert.equal((await command.run(["postmq", "run"], { env })).code, 77);
      assert.equal((await command.run(["postmq", "run", "--twice"])).code, 64);
      await store.leadership().acquire();
      const { code, err } = await command.run(["postmq", "run"]);
      assert.equal(code, 69);
      assert.match(err, /^run: fatal: already running/);
    }));
});
