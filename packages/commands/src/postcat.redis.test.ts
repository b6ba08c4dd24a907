import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { MessageCopy, Store } from "@postmq/queue-store";
import { startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { withQueueAt } from "./queue.test-support.ts";
import type { QueueUnderTest } from "./queue.test-support.ts";

describe("postcat", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (under: QueueUnderTest) => Promise<void>) => withQueueAt(redis, test);

  it("prints a message of any queue as Postfix prints its file, done recipients too", () =>
    withQueue(async ({ store, command }) => {
      const id = await restored(store, { queue: "deferred" });
      const all = await command.run(["postcat", "-q", id]);
      assert.equal(all.code, 0, all.err);
      assert.match(all.out, new RegExp(`^\\*\\*\\* ENVELOPE RECORDS deferred/[0-9A-F]/${id} \\*`));
      assert.match(
        all.out,
        /^original_recipient: a@one\.example\ndone_recipient: a@one\.example$/m,
      );
      assert.match(all.out, /^recipient: b@one\.example$/m);
      assert.match(all.out, /^Subject: x\n\nbody\n\*\*\* HEADER EXTRACTED /m);
      assert.equal((await command.run(["postcat", "-qbh", id])).out, "Subject: x\n\nbody\n");
      const two = await command.run(["postcat", "-q", "-h", id, "-s", "0", id]);
      assert.equal(two.out, "Subject: x\nSubject: x\n");
      const held = await restored(store, { queue: "hold" });
      const envelope = await command.run(["postcat", "-qe", held]);
      assert.match(envelope.out, new RegExp(`RECORDS hold/${held} `));
      assert.ok(!envelope.out.includes("Subject"));
    }));

  it("prints what sendmail would keep of a message with --qf", () =>
    withQueue(async ({ store, command }) => {
      const id = await restored(store, { queue: "deferred", attempts: 2 });
      const view = await command.run(["postcat", "--qf", id]);
      assert.equal(view.code, 0, view.err);
      assert.match(view.out, /^V8\nT\d+\nK\d+\nN2\nP\d+\nMDeferred: mailbox full\nF\n/);
      assert.match(view.out, /^Sfrom@a\.example\nRb@one\.example\nHSubject: x\n\.\n$/m);
    }));

  it("says in Postfix's words what it can't find, and refuses files, exit 1", () =>
    withQueue(async ({ command }) => {
      const failed = async (...args: readonly string[]) => {
        const { code, err, out } = await command.run(["postcat", ...args]);
        assert.deepEqual([code, out], [1, ""]);
        return err;
      };
      assert.equal(
        await failed("-q", "ABCDEF0123"),
        "postcat: fatal: open queue file ABCDEF0123: No such file or directory\n",
      );
      assert.equal(await failed("-q", "a/b"), "postcat: fatal: bad mail queue ID: a/b\n");
      assert.equal(await failed("-q", "-s", "x", "A"), "postcat: fatal: bad offset: x\n");
      assert.match(await failed("/etc/passwd"), /in Redis, not in files/);
      assert.match(await failed(), /in Redis, not in files/);
      assert.match(await failed("-x"), /^postcat: invalid option -- 'x'\npostcat: fatal: usage: /);
    }));

  it("shows what there is of a message whose content or record is damaged, and exits 1", () =>
    withQueue(async ({ store, command, instanceName }) => {
      const prefix = `postmq:{${instanceName}}`;
      const cut = await restored(store, { queue: "hold" });
      await redis.cli("DEL", `${prefix}:c:${cut}`);
      const withoutContent = await command.run(["postcat", "-q", cut]);
      assert.equal(withoutContent.code, 1);
      assert.match(withoutContent.out, /^sender: from@a\.example$/m);
      assert.match(withoutContent.out, /^recipient: b@one\.example$/m);
      assert.match(withoutContent.err, /^postcat: warning: hold\/\w+: .*content/m);
      const bare = await restored(store, { queue: "hold" });
      await redis.cli("HSET", `${prefix}:m:${bare}`, "env", "rubbish", "e", "rubbish");
      const withoutRecord = await command.run(["postcat", "-q", bare]);
      assert.equal(withoutRecord.code, 1);
      assert.match(withoutRecord.out, /^Subject: x\n\nbody$/m);
    }));

  it("prints a large message in parts, and never holds it whole", () =>
    withQueue(async ({ store, command }) => {
      const line = `${"x".repeat(76)}\r\n`;
      const id = await restored(store, { queue: "hold" }, line.repeat(40_000));
      let parts = 0;
      let largest = 0;
      let bytes = 0;
      const { code } = await command.run(["postcat", "-qb", id], {
        onPart: (part) => {
          parts += 1;
          bytes += part.length;
          largest = Math.max(largest, part.length);
        },
      });
      assert.equal(code, 0);
      assert.equal(bytes, 77 * 40_000 + 1);
      assert.ok(parts > 40, `${parts} parts`);
      assert.ok(largest < 512 * 1024, `a part of ${largest} bytes`);
    }));

  it("lets content drive no terminal, and changes no byte of it elsewhere", () =>
    withQueue(async ({ store, command }) => {
      const id = await restored(store, { queue: "hold" }, "\u001b]0;x\u0007\u009b1m\t\u00e4\r\n");
      const plain = await command.run(["postcat", "-qb", id]);
      assert.equal(plain.out, "\n\u001b]0;x\u0007\u009b1m\t\u00e4\n");
      const shown = await command.run(["postcat", "-qb", id], { isTerminal: true });
      assert.equal(shown.out, "\n?]0;x???1m\t\u00e4\n");
    }));
});

type Wanted = Pick<MessageCopy, "queue"> & { readonly attempts?: number };

async function restored(store: Store, wanted: Wanted, body = "body\r\n"): Promise<QueueId> {
  const id = store.intake().newId();
  const copying = store.copying();
  const nowMs = Math.floor(store.clock.nowMs());
  const writer = copying.openContent(id);
  await writer.write(Buffer.from(`Subject: x\r\n\r\n${body}`));
  const copy: MessageCopy = {
    id,
    arrivalMs: nowMs - 3_600_000,
    createdMs: nowMs - 3_600_000,
    envelope: { sender: "from@a.example", origin: "sendmail" },
    recipients: [
      { address: "a@one.example", state: { kind: "done" } },
      {
        address: "b@one.example",
        state: { kind: "deferred", status: enhancedStatus("4.2.2"), reason: "mailbox full" },
      },
    ],
    attempts: 0,
    lastAttemptMs: nowMs - 60_000,
    isForceExpired: false,
    wasWarned: false,
    isFinished: false,
    ...wanted,
    ...(wanted.queue === "deferred" ? { dueMs: nowMs + 3_600_000 } : {}),
  };
  const content = await writer.finish();
  assert.deepEqual(await copying.restore([{ copy, content }]), ["stored"]);
  return id;
}
