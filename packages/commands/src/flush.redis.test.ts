import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Fence, Scheduling } from "@postmq/queue-store";
import { startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { QueueId } from "@postmq/vocabulary";

import { commandRunner } from "./command.test-support.ts";
import { lead, withQueueAt } from "./queue.test-support.ts";
import type { QueueUnderTest } from "./queue.test-support.ts";

const done = { code: 0, out: "", err: "" };
const usage =
  "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site\n";

type Under = QueueUnderTest & { readonly scheduling: Scheduling; readonly fence: Fence };

describe("the commands that flush", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (under: Under) => Promise<void>) =>
    withQueueAt(redis, async (under) => test({ ...under, ...(await lead(under.store)) }));

  it("postqueue -f and sendmail -q ask for everything to be tried, and lift all throttles", () =>
    withQueue(async ({ command, scheduling }) => {
      const events = async () => (await scheduling.readEvents(1000)).events;
      assert.equal(await scheduling.pendingFlush(), undefined);
      assert.deepEqual(await command.run(["postqueue", "-f"]), done);
      assert.ok((await scheduling.pendingFlush()) !== undefined);
      assert.deepEqual(await events(), [{ kind: "flush" }]);
      assert.deepEqual(await command.run(["sendmail", "-q"]), done);
      assert.deepEqual(await events(), [{ kind: "flush" }]);
    }));

  it("postqueue -i brings one deferred message back, and says nothing of one that it does not find", () =>
    withQueue(async (under) => {
      const { command, queueOf } = under;
      const wanted = await deferred(under, "a@one.example");
      const other = await deferred(under, "a@one.example");
      assert.deepEqual(await command.run(["postqueue", "-i", wanted]), done);
      assert.equal(await queueOf(wanted), "incoming");
      assert.equal(await queueOf(other), "deferred");
      assert.deepEqual(await command.run(["postqueue", "-i", wanted]), done);
      assert.deepEqual(await command.run(["postqueue", "-i", "4F9D195432C"]), done);
    }));

  it("postqueue -s brings a site's deferred mail back, if fast_flush_domains has the site", () =>
    withQueue(async (under) => {
      const { command, queueOf } = under;
      const env = { POSTMQ_RELAY_DOMAINS: "one.example" };
      const wanted = await deferred(under, "a@Sub.One.example");
      const other = await deferred(under, "a@one.example");
      assert.deepEqual(await command.run(["postqueue", "-s", "SUB.one.example"], { env }), done);
      assert.equal(await queueOf(wanted), "incoming");
      assert.equal(await queueOf(other), "deferred");
      assert.deepEqual(await command.run(["postqueue", "-s", "two.example"], { env }), {
        code: 69,
        out: "",
        err: 'postqueue: fatal: Flush service is not configured for destination "two.example"\n',
      });
    }));

  it("S37 leave mail on hold where it is", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const env = { POSTMQ_FAST_FLUSH_DOMAINS: "one.example" };
      const id = await keep({ to: "a@one.example", queue: "hold" });
      for (const args of [["-f"], ["-i", id], ["-s", "one.example"]]) {
        assert.deepEqual(await command.run(["postqueue", ...args], { env }), done);
        assert.equal(await queueOf(id), "hold");
      }
    }));

  it("refuse what is no site with 64 and what is no queue id with 69, in Postfix's words", () =>
    withQueue(async ({ command }) => {
      assert.deepEqual(await command.run(["postqueue", "-s", "127.0.0.1"]), {
        code: 64,
        out: "",
        err: 'postqueue: fatal: Cannot flush mail queue - invalid destination: "127.0.0.1"\n',
      });
      assert.deepEqual(await command.run(["postqueue", "-i", "ABC*"]), {
        code: 69,
        out: "",
        err: 'postqueue: fatal: Cannot flush queue ID - invalid name: "ABC*"\n',
      });
      const long = await command.run(["postqueue", "-s", `${"x".repeat(120)}..y\u001B`]);
      assert.ok(long.err.endsWith(`"${"x".repeat(100)}..."\n`), long.err);
      assert.deepEqual(await command.run(["postqueue", "-f", "-f"]), {
        code: 64,
        out: "",
        err: `postqueue: fatal: ${usage}`,
      });
      const both = await command.run(["postqueue", "-i", "A", "-s", "b.example"]);
      assert.equal(both.code, 64);
    }));

  it("are for authorized_flush_users only; root may always", () =>
    withQueue(async ({ command, scheduling }) => {
      const env = { POSTMQ_AUTHORIZED_FLUSH_USERS: "bob" };
      const said = (name: string) => ({
        code: 77,
        out: "",
        err: `${name}: fatal: User alice(1234) is not allowed to flush the mail queue\n`,
      });
      assert.deepEqual(await command.run(["postqueue", "-f"], { env }), said("postqueue"));
      assert.deepEqual(await command.run(["postqueue", "-i", "AB"], { env }), said("postqueue"));
      const site = await command.run(["postqueue", "-s", "a.example"], { env });
      assert.deepEqual(site, said("postqueue"));
      assert.deepEqual(await command.run(["sendmail", "-q"], { env }), said("sendmail"));
      assert.equal(await scheduling.pendingFlush(), undefined);
      assert.deepEqual(await command.run(["postqueue", "-f"], { env, uid: 0 }), done);
    }));

  it("say that the mail system is down, exit 69, when Redis is away", async () => {
    const redisUrl = "redis://u:secret@127.0.0.1:1";
    using command = commandRunner({ redisUrl, instanceName: "away" });
    const { code, err } = await command.run(["postqueue", "-f"]);
    assert.equal(code, 69);
    assert.match(err, /^postqueue: fatal: Cannot flush mail queue - mail system is down/);
    assert.ok(!err.includes("secret"));
    assert.equal((await command.run(["postqueue", "-i", "ABC"])).code, 69);
  });
});

/** A message that waits in deferred for an hour. */
async function deferred(
  { store, scheduling, fence, keep, queueOf }: Under,
  to: string,
): Promise<QueueId> {
  const id = await keep({ to });
  const wanted = { fence, from: "incoming", maxMessages: 9, maxRecipients: 9 } as const;
  const imported = await scheduling.importMessages(wanted);
  const dueMs = store.clock.nowMs() + 3_600_000;
  await scheduling.settle(
    fence,
    imported.map(({ id: each, generation }) => {
      return { id: each, generation, action: "defer", dueMs, countAttempt: true } as const;
    }),
  );
  assert.equal(await queueOf(id), "deferred");
  return id;
}
