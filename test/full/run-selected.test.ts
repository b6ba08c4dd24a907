/**
 * Some messages of a queue that was moved aside, run by sendmail itself.
 *
 * Source: spec sendmail-queue.md §5, §7.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { FakeSmtpServer, startPostmq, waitFor } from "@postmq/testing";

import { addressesAt, assertEachOnce, countCopies, flood } from "../support/flood.ts";
import { probeDepth } from "../support/redis-probe.ts";

describe("sendmail -oQNAME with a selection", () => {
  it("runs the instance itself when nobody does, and delivers those that are meant", async () => {
    await using stack = new AsyncDisposableStack();
    let isUp = false;
    const sink = stack.use(
      await FakeSmtpServer.start({
        keepsContent: false,
        decide: ({ stage }) =>
          stage === "rcpt" && !isUp ? { reply: "450 4.2.1 later" } : undefined,
      }),
    );
    const system = stack.use(
      await startPostmq({
        parameters: {
          relayhost: sink.relayhost,
          minimal_backoff_time: "1h",
          maximal_backoff_time: "2h",
        },
      }),
    );
    const wanted = addressesAt("wanted.example.com", 20);
    const other = addressesAt("other.example.com", 20);
    await flood(system.smtpPort, [...wanted, ...other]);
    await waitFor(async () => (await probeDepth(system.redis, "deferred")) === 40, {
      describe: () => system.lastLines(),
    });
    const moved = await system.command("postmq", ["aside", "--to", "omqueue", "--all"]);
    assert.equal(moved.stdout, "Moved: 40 messages\n");
    isUp = true;
    const run = await system.command("sendmail", ["-oQomqueue", "-qR@wanted.", "-v"]);
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, /^20 messages were moved to incoming, due now$/m);
    assert.match(run.stderr, /: instance omqueue: left: 20 in deferred$/m);
    assertEachOnce(wanted, countCopies([sink]));
    assert.equal(sink.messages.length, wanted.length);
    const notes = await system.redis.cli("XRANGE", "postmq:{omqueue}:audit", "-", "+");
    assert.match(notes, /recipient_contains=@wanted\./);
  });
});
