/**
 * Operators at work on a long queue: operations that are killed or stopped and started again, two operators at once, and
 * runs of the queue that are watched.
 *
 * Source: spec http-api.md §2 "/v1/operations", sendmail-queue.md §5, §7.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, it } from "node:test";

import { checkInstance } from "@postmq/queue-store";
import {
  Child,
  FakeSmtpServer,
  run,
  seededRandom,
  sendMail,
  startPostmq,
  startRedis,
  testMail,
  waitFor,
  withStore,
} from "@postmq/testing";
import type { Store } from "@postmq/queue-store";
import type { MessageQueue } from "@postmq/vocabulary";

import { fillDeferred } from "../support/fill-deferred.ts";

const program = join(import.meta.dirname, "../../packages/commands/bin/postmq");
const messages = 8_000;

async function depth(store: Store, queue: MessageQueue): Promise<number> {
  return (await store.looking().depths()).find((each) => each.queue === queue)?.messages ?? 0;
}

describe("operations on a long queue", () => {
  it("are killed and stopped at any moment, started again, run by two at once, and nothing is lost", async (t) => {
    await using redis = await startRedis();
    const env = { POSTMQ_REDIS_URL: redis.url };
    const filling = { messages, domains: 500, senders: 300, contentBytes: 200 };
    await fillDeferred(redis, filling);
    const random = seededRandom(20_261_122);
    await withStore(
      async ({ store }) => {
        const selected = ["hold", "--queue", "deferred", "--attempts", "<100", "--size", "<1M"];
        // On a slow machine the first of them may come to their end before they are killed.
        for (let kills = 0; kills < 3 && (await depth(store, "deferred")) > 0; kills += 1) {
          const before = await depth(store, "hold");
          const child = new Child(program, selected, { env });
          const isAtWork = async () => (await depth(store, "hold")) > before;
          await waitFor(async () => !child.isRunning || (await isAtWork()), {
            describe: "some to be held",
          });
          await pause(random.between(0, 200));
          await child.kill9();
        }
        const startedMs = performance.now();
        const left = await depth(store, "deferred");
        const again = await run(program, selected, { env });
        const seconds = (performance.now() - startedMs) / 1000;
        t.diagnostic(`by a selection: ${left} held in ${seconds.toFixed(1)} s`);
        assert.deepEqual([again.code, again.stdout], [0, `${left} messages placed on hold\n`]);
        assert.equal(await depth(store, "hold"), messages);
        assert.deepEqual(await checkInstance(redis.url, "default"), []);

        const [all, some] = await Promise.all([
          run(program, ["postsuper", "-H", "ALL"], { env }),
          run(program, ["delete", "--sender-domain", "s1.example.net"], { env }),
        ]);
        assert.deepEqual([all.code, some.code], [0, 0], all.stderr + some.stderr);
        const deleted = Number(/^\d+/.exec(some.stdout)?.[0]);
        const rest = (await depth(store, "hold")) + (await depth(store, "deferred"));
        assert.equal(rest, messages - deleted);

        const stopping = new Child(program, ["postsuper", "-d", "ALL"], { env });
        await waitFor(async () => (await depth(store, "deferred")) < rest, {
          describe: "deletion",
        });
        const { code } = await stopping.terminate();
        const isStopped = stopping.stderr.includes("stopped; start it again for the rest");
        assert.equal(code, isStopped ? 75 : 0, stopping.stderr);
        const end = await run(program, ["postsuper", "-d", "ALL"], { env });
        const counts = [stopping.stderr, end.stderr].map((text) =>
          Number(/Deleted: (\d+) message/.exec(text)?.[1]),
        );
        assert.equal((counts[0] ?? 0) + (counts[1] ?? 0), rest);
        assert.deepEqual(await checkInstance(redis.url, "default"), []);
      },
      { redis, store: { instanceName: "default" } },
    );
  });
});

describe("a run of the queue that is watched", () => {
  it("sendmail -q -v shows the deliveries of what was deferred, and ends when each was tried", async () => {
    const busy = new Set(["later@dest.example.com", "never@dest.example.com"]);
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) =>
        stage === "rcpt" && busy.has(recipient)
          ? { reply: "450 4.2.1 mailbox is busy" }
          : undefined,
    });
    await using system = await startPostmq({
      services: ["smtpd", "cleanup", "qmgr", "smtp-delivery", "bounce"],
      parameters: { relayhost: sink.relayhost },
    });
    for (const to of busy) await sendMail(system.smtpPort, testMail({ to: [to] }));
    await waitFor(
      async () => {
        const { stdout } = await system.command("postmq", ["list", "--queue", "deferred"]);
        return stdout.includes("in 2 Requests");
      },
      { describe: () => `both deferred\n${system.lastLines()}` },
    );
    busy.delete("later@dest.example.com");
    const { code, stdout, stderr } = await system.command("sendmail", ["-q", "-v"]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(
      stdout,
      /^(\w+): to=<later@dest\.example\.com>, relay=\S+, dsn=2\.\d\.\d, status=sent \(250 .*\)\n\1: removed$/m,
    );
    assert.match(
      stdout,
      /^(\w+): to=<never@dest\.example\.com>, relay=\S+, dsn=4\.2\.1, status=deferred \(.*busy.*\)\n\1: in deferred$/m,
    );
    const selected = await system.command("sendmail", ["-v", "-qRnever", "-q!Slater"]);
    assert.match(selected.stdout, /^1 message was moved to incoming, due now\n\w+: to=<never@/);
    // Another instance, which nobody schedules: this process runs it itself.
    await system.command("sendmail", ["-oQother", "-f", "a@b.example", "there@dest.example.com"]);
    const other = await system.command("sendmail", ["-oQother", "-q", "-v"]);
    assert.equal(other.code, 0, other.stderr);
    assert.ok(
      sink.accepted.some(({ recipients }) => recipients.includes("there@dest.example.com")),
    );
    const led = await system.command("sendmail", ["-oQdefault", "-q"]);
    assert.deepEqual([led.code, led.stdout, led.stderr], [0, "", ""]);
  });
});
