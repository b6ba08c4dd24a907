import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { checkInstance } from "@postmq/queue-store";
import { startRedis, waitFor } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

import { commandRunner } from "./command.test-support.ts";
import { withQueueAt } from "./queue.test-support.ts";
import type { QueueUnderTest } from "./queue.test-support.ts";

/** What postsuper says, its name in front of every line. */
function said(...lines: readonly string[]): string {
  return lines.map((line) => `postsuper: ${line}\n`).join("");
}

describe("postsuper", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (under: QueueUnderTest) => Promise<void>) =>
    withQueueAt(redis, async (under) => {
      await test(under);
      assert.deepEqual(await checkInstance(redis.url, under.instanceName), []);
    });

  /** `postsuper -h -` as a process of its own. */
  const spawnHolding = (instanceName: string) =>
    spawn(join(import.meta.dirname, "../bin/postmq"), ["postsuper", "-h", "-"], {
      env: {
        PATH: "/usr/bin:/bin",
        POSTMQ_REDIS_URL: redis.url,
        POSTMQ_INSTANCE_NAME: instanceName,
      },
      stdio: ["pipe", "ignore", "pipe"],
    });

  it("tells each hit and what was done, singular and plural", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const [a, b, c] = [
        await keep(),
        await keep({ queue: "hold" }),
        await keep({ queue: "maildrop" }),
      ];
      assert.deepEqual(await command.run(["postsuper", "-h", a]), {
        code: 0,
        out: "",
        err: said(`${a}: placed on hold`, "Placed on hold: 1 message"),
      });
      const input = `${a}\n${b}\n`;
      const released = await command.run(["postsuper", "-H", "-"], { input });
      assert.equal(
        released.err,
        said(
          `${a}: released from hold`,
          `${b}: released from hold`,
          "Released from hold: 2 messages",
        ),
      );
      assert.equal(await queueOf(a), "deferred");
      const removed = await command.run(["postsuper", "-d", c, "-d", a]);
      assert.equal(removed.err, said(`${c}: removed`, `${a}: removed`, "Deleted: 2 messages"));
      const requeued = await command.run(["postsuper", "-r", b]);
      assert.equal(requeued.err, said(`${b}: requeued`, "Requeued: 1 message"));
      assert.equal(await queueOf(b), "maildrop");
    }));

  it("says 0 of an id that is unknown, warns of one that is none, and ends with 0", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const zero = { code: 0, out: "", err: said("Deleted: 0 messages") };
      assert.deepEqual(await command.run(["postsuper", "-d", "0123456789"]), zero);
      assert.deepEqual(await command.run(["postsuper", "-d", "all"]), zero);
      const bad = await command.run(["postsuper", "-h", "x/y", "-h", ""]);
      assert.deepEqual(bad, {
        code: 0,
        out: "",
        err: said(
          "warning: invalid mail queue id: x/y",
          "warning: invalid mail queue id: ",
          "Placed on hold: 0 messages",
        ),
      });
      const id = await keep();
      const marked = await command.run(["postsuper", "-d", "-"], {
        input: `${id}*\n${id} \n\u001B[2J`,
      });
      assert.match(marked.err, /invalid mail queue id: \?\[2J\n/);
      assert.match(marked.err, /Deleted: 0 messages/);
      assert.equal(await queueOf(id), "incoming", "A5: ids with marks are rejected");
    }));

  it("runs options in the order given, and reports in Postfix's", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const [a, b] = [await keep(), await keep({ queue: "hold" })];
      const both = await command.run(["postsuper", "-h", "ALL", "-H", "ALL"]);
      assert.equal(both.err, said("Placed on hold: 1 message", "Released from hold: 2 messages"));
      const order = await command.run(["postsuper", "-d", a, "-r", a, "-h", b, "-H", b]);
      assert.equal(
        order.err,
        said(
          `${a}: removed`,
          `${b}: placed on hold`,
          `${b}: released from hold`,
          "Requeued: 0 messages",
          "Deleted: 1 message",
          "Placed on hold: 1 message",
          "Released from hold: 1 message",
        ),
      );
      assert.equal(await queueOf(b), "deferred");
    }));

  it("A3: -e marks once; -f lets go of what is held besides", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const [held, waiting, drop] = [
        await keep({ queue: "hold" }),
        await keep(),
        await keep({ queue: "maildrop" }),
      ];
      const expired = await command.run(["postsuper", "-e", held]);
      assert.equal(expired.err, said(`${held}: expired`, "Force-expired: 1 message"));
      assert.equal(await queueOf(held), "hold");
      const forced = await command.run(["postsuper", "-f", held]);
      assert.equal(
        forced.err,
        said(
          `${held}: released from hold`,
          "Force-expired: 0 messages",
          "Released from hold: 1 message",
        ),
      );
      const all = await command.run(["postsuper", "-f", "ALL", "-e", drop]);
      assert.equal(all.err, said("Force-expired: 1 message", "Released from hold: 0 messages"));
      assert.equal(await queueOf(waiting), "incoming");
    }));

  it("limits every option to the queues named; one that is none ends it with 1 before anything", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const [a, b, drop] = [
        await keep(),
        await keep({ queue: "hold" }),
        await keep({ queue: "maildrop" }),
      ];
      const none = await command.run(["postsuper", "-d", a, "hold"]);
      assert.equal(none.err, said("Deleted: 0 messages"));
      const never = await command.run(["postsuper", "-h", "ALL", "-h", drop, "hold", "maildrop"]);
      assert.equal(never.err, said("Placed on hold: 0 messages"));
      assert.equal((await command.run(["postsuper", "-d", "ALL", "bounce"])).code, 0);
      const bad = await command.run(["postsuper", "-d", "ALL", "hold", "nosuchqueue"]);
      assert.deepEqual(bad, {
        code: 1,
        out: "",
        err: said("fatal: invalid directory name: nosuchqueue"),
      });
      const gone = await command.run(["postsuper", "-d", "ALL", "hold", "incoming"]);
      assert.equal(gone.err, said("Deleted: 2 messages"));
      assert.deepEqual(
        [await queueOf(a), await queueOf(b), await queueOf(drop)],
        [undefined, undefined, "maildrop"],
      );
    }));

  it("reads many ids in order, and a second - finds the input at its end", () =>
    withQueue(async ({ command, keep }) => {
      const ids = await Promise.all(Array.from({ length: 1100 }, () => keep()));
      const input = `${ids.slice(0, 600).join("\n")}\nno id\n${ids.slice(600).join("\n")}`;
      const ran = await command.run(["postsuper", "-h", "-", "-d", "-"], { input });
      const lines = ids.map((id) => `${id}: placed on hold`);
      lines.splice(600, 0, "warning: invalid mail queue id: no id");
      assert.equal(ran.err, said(...lines, "Deleted: 0 messages", "Placed on hold: 1100 messages"));
    }));

  it("deals with ids as they come, and ends when it is told to, though its input does not", () =>
    withQueue(async ({ keep, instanceName }) => {
      const id = await keep();
      const child = spawnHolding(instanceName);
      let err = "";
      child.stderr.on("data", (bytes: Buffer) => void (err += bytes.toString()));
      child.stdin.write(`${id}\n`);
      await waitFor(() => err.includes(`${id}: placed on hold`), {
        describe: () => `a hit: ${err}`,
      });
      child.kill("SIGINT");
      const [code] = await once(child, "close");
      assert.equal(code, 75);
      assert.match(err, /Placed on hold: 1 message\n.*stopped; start it again for the rest\n$/);
    }));

  it("goes on when nobody reads what it says, and notes what it did", () =>
    withQueue(async ({ store, keep, queueOf, instanceName }) => {
      const ids = await Promise.all(Array.from({ length: 3 }, () => keep()));
      const child = spawnHolding(instanceName);
      child.stderr.destroy();
      for (const id of ids) {
        child.stdin.write(`${id}\n`);
        await waitFor(async () => (await queueOf(id)) === "hold", { describe: () => id });
      }
      child.stdin.end();
      const [code] = await once(child, "close");
      assert.equal(code, 0);
      const { entries } = await store.auditing().readAudit({ limit: 9 });
      assert.partialDeepStrictEqual(entries, [{ action: "hold", outcome: "done", count: 3 }]);
    }));

  it("with --dry-run tells the same and changes nothing", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const [a, b] = [await keep(), await keep({ queue: "hold" })];
      const one = await command.run(["postsuper", "--dry-run", "-d", a, "-d", a, "-d", "AB"]);
      assert.equal(
        one.err,
        said(`${a}: would be removed`, "Deleted: 1 message (dry run, nothing was changed)"),
      );
      const all = await command.run(["postsuper", "-f", "ALL", "--dry-run"]);
      assert.match(all.err, /Force-expired: 2 messages \(dry/);
      assert.match(all.err, /Released from hold: 1 message \(dry/);
      assert.deepEqual([await queueOf(a), await queueOf(b)], ["incoming", "hold"]);
    }));

  it("notes who did what and why, not what came to nothing", () =>
    withQueue(async ({ store, command, keep }) => {
      const id = await keep();
      await command.run(["postsuper", "-h", id, "--reason", "ticket 7"]);
      await command.run(["postsuper", "-d", "AB"]);
      await command.run(["postsuper", "-f", "ALL", "hold"]);
      const { entries } = await store.auditing().readAudit({ limit: 10 });
      const common = { who: "alice", by: "postsuper" };
      const force = {
        ...common,
        action: "-f (expire, release)",
        selection: "queue=hold",
        reason: "",
      };
      assert.deepEqual(
        entries.map(({ atMs: _atMs, ...entry }) => entry),
        [
          { ...force, outcome: "done", count: 1 },
          { ...force, outcome: "started" },
          {
            ...common,
            action: "hold",
            selection: `id=${id}`,
            reason: "ticket 7",
            outcome: "done",
            count: 1,
          },
        ],
      );
    }));

  it("does nothing without an act, or for -p, -s and -S; refuses what it does not know with 1", () =>
    withQueue(async ({ command }) => {
      for (const args of [[], ["-p"], ["-sS"], ["-v", "deferred"]])
        assert.deepEqual(await command.run(["postsuper", ...args]), { code: 0, out: "", err: "" });
      const bad = await command.run(["postsuper", "-x"]);
      assert.equal(bad.code, 1);
      assert.match(
        bad.err,
        /^postsuper: invalid option -- 'x'\npostsuper: fatal: usage: postsuper \[/,
      );
      const nowhere = await command.run(["postsuper", "-c", "/nonexistent", "-d", "ALL"]);
      assert.equal(nowhere.code, 1);
      assert.match(nowhere.err, /^postsuper: fatal: .*\/nonexistent/);
      const lacking = await command.run(["postsuper", "-d"]);
      assert.match(lacking.err, /^postsuper: option requires an argument -- 'd'\n/);
    }));

  it("says that the mail system is down, exit 1, when Redis is away", async () => {
    using command = commandRunner({ redisUrl: "redis://u:secret@127.0.0.1:1", instanceName: "x" });
    const { code, err } = await command.run(["postsuper", "-d", "ALL"]);
    assert.equal(code, 1);
    assert.match(err, /^postsuper: fatal: mail system is down/);
    assert.ok(!err.includes("secret"));
  });
});
