import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { startRedis } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";

import { withQueueAt } from "./queue.test-support.ts";
import type { QueueUnderTest } from "./queue.test-support.ts";

describe("the verbs of postmq that act on a selection", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withQueue = (test: (under: QueueUnderTest) => Promise<void>) => withQueueAt(redis, test);

  it("act on what is selected, in one command each", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const [a, b] = [await keep({ to: "x@near.example" }), await keep({ sender: "" })];
      const held = await command.run(["postmq", "hold", "--domain", "NEAR.example"]);
      assert.deepEqual(held, { code: 0, out: "1 message placed on hold\n", err: "" });
      assert.deepEqual([await queueOf(a), await queueOf(b)], ["hold", "incoming"]);
      const null_ = await command.run([
        "postmq",
        "delete",
        "--sender=<>",
        "--queue",
        "incoming,hold",
      ]);
      assert.equal(null_.out, "1 message deleted\n");
      const released = await command.run(["postmq", "release", "--newer-than", "1h"]);
      assert.equal(released.out, "1 message released from hold\n");
      assert.equal(
        (await command.run(["postmq", "retry", a])).out,
        "1 message moved to incoming, due now\n",
      );
      assert.equal(
        (await command.run(["postmq", "expire", "--size", "<1M"])).out,
        "1 message force-expired\n",
      );
      assert.equal((await command.run(["postmq", "requeue", "--all"])).out, "1 message requeued\n");
      assert.deepEqual([await queueOf(a), await queueOf(b)], ["maildrop", undefined]);
    }));

  it("need --all for an empty selection: exit 64, and nothing is changed", () =>
    withQueue(async ({ store, command, keep, queueOf }) => {
      const id = await keep();
      for (const verb of ["delete", "hold", "release", "requeue", "expire", "retry"]) {
        const ran = await command.run(["postmq", verb, "--dry-run"]);
        assert.deepEqual([ran.code, ran.out], [64, ""]);
        assert.match(ran.err, /nothing is selected; .* --all .* Nothing was changed\n$/);
      }
      assert.equal(await queueOf(id), "incoming");
      assert.deepEqual((await store.auditing().readAudit({ limit: 9 })).entries, []);
      assert.equal((await command.run(["postmq", "delete", "--all"])).out, "1 message deleted\n");
    }));

  it("name what makes no sense, and change nothing", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const id = await keep();
      const refused: readonly (readonly [args: readonly string[], words: RegExp])[] = [
        [["--queue", "deffered"], /^delete: fatal: --queue: "deffered" names no queue/],
        [[`${id}*`], /^delete: fatal: --id: ".*\*" is no queue id/],
        [["--older-than", "5"], /--older-than: "5" is no age/],
        [["--reason-matches", "a(?!b)", "--all"], /--reason-matches: .* at character 2/],
        [["--sender", ""], /--sender: "" is empty/],
        [["--nosuch", "x", "--all"], /unknown option --nosuch/],
        [["--domain"], /option --domain needs a value/],
        [["--all=yes"], /option --all takes no value/],
      ];
      for (const [args, words] of refused) {
        const ran = await command.run(["postmq", "delete", ...args]);
        assert.deepEqual([ran.code, ran.out], [64, ""], args.join(" "));
        assert.match(ran.err, words);
      }
      const odd = await command.run(["postmq", "release", "--queue", "incoming"]);
      assert.equal(odd.code, 64);
      assert.match(odd.err, /queue: "incoming" is none that release takes messages from/);
      assert.equal(await queueOf(id), "incoming");
    }));

  it("say how they are used, and take a configuration by -c and --config", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const id = await keep();
      for (const verb of ["delete", "list", "aside", "export"]) {
        const help = await command.run(["postmq", verb, "--help"]);
        assert.equal(help.code, 0);
        assert.match(help.out, new RegExp(`^usage: postmq ${verb} .*\\n(.*\\n)*selection: `));
        for (const option of ["-c", "--config"]) {
          const ran = await command.run(["postmq", verb, "--all", option, "/nonexistent"]);
          assert.match(ran.err, /\/nonexistent, which does not exist|one of --to/, verb);
        }
      }
      assert.equal(await queueOf(id), "incoming");
    }));

  it("count and show samples in a dry run", () =>
    withQueue(async ({ command, keep, queueOf }) => {
      const ids = await Promise.all(Array.from({ length: 12 }, () => keep({ sender: "" })));
      const dry = await command.run(["postmq", "delete", "--dry-run", "--sender", "<>"]);
      assert.equal(dry.code, 0);
      const lines = dry.out.split("\n");
      assert.equal(lines[0], "12 messages would be deleted (sender=<>)");
      assert.match(lines[1] ?? "", /^ {2}\w+ incoming 0 [-\d]+T[\d:.]+Z <> to b@far\.example$/);
      assert.deepEqual([lines.length, lines[11]], [13, "... and 2 more"]);
      assert.equal(await queueOf(ids[0] ?? assert.fail()), "incoming");
    }));

  it("note the selection, the reason and the count", () =>
    withQueue(async ({ store, command, keep }) => {
      await keep();
      await command.run(["postmq", "hold", "--domain", "far.example", "--reason", "ticket 7"]);
      const { entries } = await store.auditing().readAudit({ limit: 9 });
      const note = {
        who: "alice",
        by: "postmq hold",
        action: "hold",
        selection: "domain=far.example",
        reason: "ticket 7",
      };
      assert.deepEqual(
        entries.map(({ atMs: _atMs, ...entry }) => entry),
        [
          { ...note, outcome: "done", count: 1 },
          { ...note, outcome: "started" },
        ],
      );
    }));

  it("postmq list shows a selection as mailq and postqueue -j show the queue", () =>
    withQueue(async ({ command, keep }) => {
      const a = await keep();
      await keep({ sender: "b@two.example" });
      const listed = await command.run(["postmq", "list", "--sender-domain", "one.example"]);
      assert.match(listed.out, new RegExp(`^----Queue ID.*\n${a} `));
      assert.match(listed.out, /\n-- 0 Kbytes in 1 Request\.\n$/);
      const json = await command.run(["postmq", "list", "--json", a]);
      assert.partialDeepStrictEqual(JSON.parse(json.out), { queue_id: a });
      assert.equal((await command.run(["postmq", "list"])).out, (await command.run(["mailq"])).out);
      assert.equal((await command.run(["postmq", "list", "AB"])).out, "Mail queue is empty\n");
      const env = { POSTMQ_AUTHORIZED_MAILQ_USERS: "bob" };
      assert.equal((await command.run(["postmq", "list"], { env })).code, 77);
    }));
});
