import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { withStore } from "@postmq/testing";
import type { StoreUnderTest } from "@postmq/testing";
import { parseQueueId } from "@postmq/vocabulary";

import { commandRunner } from "./command.test-support.ts";
import type { Runner } from "./command.test-support.ts";

function withCommand(test: (command: Runner, under: StoreUnderTest) => Promise<void>) {
  return withStore(async (under) => {
    const instanceName = "checked";
    const place = { redisUrl: under.redis.url, instanceName };
    using command = commandRunner(place);
    const args = ["sendmail", "-f", "s@x.example", "a@d.example"];
    assert.equal((await command.run(args, { input: "Subject: x\n\nx\n" })).code, 0);
    await test(command, { ...under, instanceName });
  });
}

describe("postmq check", () => {
  it("says that nothing is wrong, exit 0", () =>
    withCommand(async (command) => {
      const { code, out, err } = await command.run(["postmq", "check"]);
      assert.deepEqual({ code, err }, { code: 0, err: "" });
      assert.equal(
        out,
        "-- nobody schedules: no qmgr leads.\n" +
          "-- 1 messages, 1 contents, 5 indexes, 0 claims: nothing is wrong.\n",
      );
    }));

  it("names what is wrong, exit 65; mends it with --repair, exit 0", () =>
    withCommand(async (command, { redis }) => {
      const [id = ""] = (await redis.cli("ZRANGE", "postmq:{checked}:q:maildrop", "0", "-1")).split(
        "\n",
      );
      await redis.cli("DEL", "postmq:{checked}:q:maildrop");
      // What somebody put there must not reach the terminal as it is.
      await redis.cli("ZADD", "postmq:{checked}:e:hold", "1", "evil\u001b[2J");
      const found = await command.run(["postmq", "check"]);
      assert.equal(found.code, 65);
      assert.match(found.out, new RegExp(`^${id}: is missing in q:maildrop$`, "m"));
      assert.match(found.out, /^evil\?\[2J: stands in e:hold, where it does not belong$/m);
      assert.match(found.out, /, 0 claims: 2 findings\.$/m);
      assert.equal((await command.run(["mailq"])).out, "Mail queue is empty\n");
      const json = await command.run(["postmq", "check", "--repair", "--json"]);
      assert.equal(json.code, 0);
      const lines = json.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      assert.deepEqual(
        lines.find(({ where }) => where === id),
        { kind: "index", where: id, text: "is missing in q:maildrop", outcome: "mended" },
      );
      assert.equal(lines.at(-1).summary.is_clean, true);
      assert.match((await command.run(["mailq"])).out, /in 1 Request/);
      assert.equal((await command.run(["postmq", "check"])).code, 0);
    }));

  it("names a move that nobody finished, and finishes it with --repair", () =>
    withCommand(async (command, { redis, openAnother }) => {
      const store = await openAnother({ instanceName: "checked" });
      const id = parseQueueId(await redis.cli("ZRANGE", "postmq:{checked}:q:maildrop", "0", "-1"));
      assert.ok(id !== undefined);
      const copying = store.copying();
      const read = await copying.readCopy(id);
      assert.ok(typeof read === "object");
      const { version } = read;
      await copying.markMoving([{ move: copying.moveOf(read), version }], "file:backup");
      assert.equal((await command.run(["postmq", "check"])).code, 0);
      // As if that were long ago.
      await redis.cli("ZADD", "postmq:{checked}:moving", "1", id);
      const found = await command.run(["postmq", "check"]);
      assert.equal(found.code, 65);
      assert.match(
        found.out,
        new RegExp(`^${id}: its move to file:backup was never finished$`, "m"),
      );
      const mended = await command.run(["postmq", "check", "--repair"]);
      assert.equal(mended.code, 0, mended.out);
      assert.match((await command.run(["mailq"])).out, /in 1 Request/);
    }));

  it("refuses bad usage with 64, users who may not look with 77, a Redis that is away with 69", () =>
    withCommand(async (command) => {
      assert.equal((await command.run(["postmq", "check", "--mend"])).code, 64);
      assert.equal((await command.run(["postmq", "check", "x"])).code, 64);
      const env = { POSTMQ_AUTHORIZED_MAILQ_USERS: "bob" };
      assert.equal((await command.run(["postmq", "check"], { env })).code, 77);
      const away = { POSTMQ_REDIS_URL: "redis://127.0.0.1:1" };
      assert.equal((await command.run(["postmq", "check"], { env: away })).code, 69);
    }));
});
