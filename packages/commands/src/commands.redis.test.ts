import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { run, startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";

import { commandRunner } from "./command.test-support.ts";
import type { Runner } from "./command.test-support.ts";

describe("the commands that list", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (
    test: (under: StoreUnderTest & { readonly command: Runner }) => Promise<void>,
  ) => {
    const instanceName = `test-${randomBytes(8).toString("hex")}`;
    return withStore(
      async (under) => {
        using command = commandRunner({ redisUrl: redis.url, instanceName });
        await test({ ...under, instanceName, command });
      },
      { redis, store: { instanceName } },
    );
  };

  it("mailq, sendmail -bp and postqueue -p say that the queue is empty; postqueue -j says nothing", () =>
    withQueue(async ({ command }) => {
      const empty = { code: 0, out: "Mail queue is empty\n", err: "" };
      assert.deepEqual(await command.run(["mailq"]), empty);
      assert.deepEqual(await command.run(["sendmail", "-bp"]), empty);
      assert.deepEqual(await command.run(["postqueue", "-p"]), empty);
      assert.deepEqual(await command.run(["postmq", "mailq"]), empty);
      assert.deepEqual(await command.run(["postqueue", "-j"]), { code: 0, out: "", err: "" });
    }));

  it("mailq, postqueue -j and qshape agree about what is queued", () =>
    withQueue(async ({ command }) => {
      const args = ["sendmail", "-f", "", "b@one.example", "c@one.example", "d@two.example"];
      assert.equal((await command.run(args, { input: "Subject: x\n\nx\n" })).code, 0);
      const mailq = await command.run(["mailq"]);
      assert.match(
        mailq.out,
        /^\w{17} {7}17 \w{3} \w{3} [ \d]\d [\d:]{8} MAILER-DAEMON\n {47}b@one.example\n/m,
      );
      assert.match(mailq.out, /^-- 0 Kbytes in 1 Request\.\n$/m);
      const json = await command.run(["postqueue", "-j"]);
      assert.match(json.out, /^\{"queue_name": "maildrop", .*"sender": "MAILER-DAEMON", /);
      const byRecipient = await command.run(["qshape", "maildrop"]);
      assert.match(
        byRecipient.out,
        /^ +TOTAL +3 +3 +0 .*\n +one\.example +2 +2 .*\n +two\.example +1 /m,
      );
      const bySender = await command.run(["qshape", "-s", "/var/spool/postfix/maildrop"]);
      assert.match(bySender.out, /^ +MAILER-DAEMON +1 +1 /m);
      assert.match((await command.run(["qshape"])).out, /^ +TOTAL +0 +0 /m);
    }));

  it("qshape skips unknown queues with a word, and shows 20 rows at most on a terminal", () =>
    withQueue(async ({ command }) => {
      const unknown = await command.run(["qshape", "nosuchqueue"]);
      assert.equal(unknown.code, 0);
      assert.match(unknown.err, /^Can't stat nosuchqueue: No such file or directory$/m);
      const recipients = Array.from({ length: 30 }, (_, i) => `a@d${i}.example`);
      assert.equal((await command.run(["sendmail", ...recipients])).code, 0);
      const rows = async (options: object, ...args: readonly string[]) =>
        (await command.run(["qshape", ...args, "maildrop"], options)).out.split("\n").length - 2;
      assert.equal(await rows({}), 31);
      assert.equal(await rows({ isTerminal: true }), 20);
      assert.equal(await rows({ isTerminal: true }, "-n", "5"), 5);
    }));

  it("refuse bad usage with 64, users who may not look with 77", () =>
    withQueue(async ({ command }) => {
      const code = async (...args: readonly string[]) => (await command.run(args)).code;
      assert.equal(await code("postqueue"), 64);
      assert.equal(await code("postqueue", "-p", "-j"), 64);
      assert.equal(await code("postqueue", "-p", "x"), 64);
      assert.equal(await code("postqueue", "-x"), 64);
      assert.equal(await code("qshape", "-x"), 64);
      assert.equal(await code("qshape", "-b", "many"), 64);
      assert.equal(await code("postmq", "nosuchverb"), 64);
      assert.equal(await code("postmq"), 64);
      const env = { POSTMQ_AUTHORIZED_MAILQ_USERS: "bob" };
      assert.equal((await command.run(["mailq"], { env })).code, 77);
      assert.equal((await command.run(["qshape"], { env })).code, 77);
    }));

  it("say that the mail system is down, exit 69, when Redis is away", async () => {
    using command = commandRunner({
      redisUrl: "redis://u:secret@127.0.0.1:1",
      instanceName: "away",
    });
    const mailq = await command.run(["mailq"]);
    assert.equal(mailq.code, 69);
    assert.match(mailq.err, /^mailq: fatal: Queue report unavailable - mail system is down/);
    assert.ok(!mailq.err.includes("secret"));
    assert.equal((await command.run(["qshape"])).code, 69);
  });

  it("run as programs of their own, whatever node is in the PATH", () =>
    withQueue(async ({ instanceName }) => {
      const program = join(import.meta.dirname, "../bin/postmq");
      const env = {
        POSTMQ_REDIS_URL: redis.url,
        POSTMQ_INSTANCE_NAME: instanceName,
        PATH: "/usr/bin:/bin",
      };
      const mailq = await run(program, ["mailq"], { env });
      assert.equal(mailq.stdout, "Mail queue is empty\n", mailq.stderr);
      const unknown = await run(program, ["nosuch\u001B[2Jverb"], { env });
      assert.equal(unknown.code, 64);
      assert.match(unknown.stderr, /unknown verb nosuch\?\[2Jverb\nusage: postmq/);
    }));
});
