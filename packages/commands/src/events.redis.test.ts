import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

import type { Runner } from "./command.test-support.ts";
import { withQueueAt } from "./queue.test-support.ts";

describe("postmq events", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ appendfsync: "no" });
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (command: Runner) => Promise<void>) =>
    withQueueAt(redis, ({ command }) => test(command), {
      timelines: { mostBytes: 1024 * 1024, retentionMs: 86_400_000 },
    });
  const submitted = async (command: Runner): Promise<string> => {
    const sent = await command.run(["sendmail", "-f", "a@x", "b@y"], {
      input: "Subject: x\n\nx\n",
    });
    assert.equal(sent.code, 0, sent.err);
    const listed = await command.run(["postqueue", "-j"]);
    return /"queue_id": "(\w+)"/.exec(listed.out)?.[1] ?? "";
  };

  it("tells what happened to a message, also when it is gone, as text and as JSON", () =>
    withQueue(async (command) => {
      const id = await submitted(command);
      assert.equal((await command.run(["postsuper", "-d", id], { uid: 0 })).code, 0);
      const { code, out, err } = await command.run(["postmq", "events", id]);
      assert.deepEqual([code, err], [0, ""]);
      const [accepted = "", removed = "", ...more] = out.trimEnd().split("\n");
      assert.match(
        accepted,
        /^\S+T\S+ accepted    queue=maildrop, by=sendmail, size=17, recipients=1$/,
      );
      assert.match(removed, /^\S+T\S+ removed     by=delete$/);
      assert.deepEqual(more, []);
      const json = await command.run(["postmq", "events", "--json", id]);
      const kinds = json.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).kind);
      assert.deepEqual(kinds, ["accepted", "removed"]);
    }));

  it("ends with 1 when nothing is known, with 64 for what is no id, with 77 for who may not look", () =>
    withQueue(async (command) => {
      const unknown = await command.run(["postmq", "events", "4fABCDEF"]);
      const err = "events: no events are known of 4fABCDEF\n";
      assert.deepEqual(unknown, { code: 1, out: "", err });
      const wrong = await command.run(["postmq", "events", "4f\u001b[2J"]);
      assert.deepEqual([wrong.code, wrong.out], [64, ""]);
      assert.match(wrong.err, /invalid mail queue id: 4f\?\[2J\n$/);
      assert.equal((await command.run(["postmq", "events"])).code, 64);
      assert.equal((await command.run(["postmq", "events", "4fA", "4fB"])).code, 64);
      assert.equal((await command.run(["postmq", "events", "--xml", "4fA"])).code, 64);
      const env = { POSTMQ_AUTHORIZED_MAILQ_USERS: "bob" };
      assert.equal((await command.run(["postmq", "events", "4fA"], { env })).code, 77);
    }));
});
