/**
 * What operators have in their notes: pipelines of Postfix's tools, run by a shell over the real programs, on a queue
 * with messages in every state. Each does here what it does there.
 *
 * Source: spec admin-tools.md A5; postsuper(1) -d; people's notes.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { Fence, Scheduling, Store } from "@postmq/queue-store";
import { run, startRedis, withStore } from "@postmq/testing";
import type { Finished, RedisServer } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

const program = join(import.meta.dirname, "../../packages/commands/bin/postmq");
const tools = ["mailq", "postmq", "postqueue", "postsuper", "qshape", "sendmail"];

type Mail = { readonly from?: string; readonly to?: readonly string[] };

class Queue {
  readonly #store: Store;
  readonly #intake;
  readonly #looking;
  readonly #scheduling: Scheduling;
  readonly #fence: Fence;

  constructor(store: Store, scheduling: Scheduling, fence: Fence) {
    this.#store = store;
    this.#intake = store.intake();
    this.#looking = store.looking();
    this.#scheduling = scheduling;
    this.#fence = fence;
  }

  async keep(
    queue: "incoming" | "hold" | "active" | "deferred",
    mail: Mail = {},
  ): Promise<QueueId> {
    const { from: sender = "user@example.com", to = ["bob@far.example"] } = mail;
    const id = this.#intake.newId();
    const writer = this.#intake.openContent(id);
    await writer.write(Buffer.from("Subject: x\r\n\r\nx\r\n"));
    await this.#intake.commit({
      id,
      queue: queue === "hold" ? "hold" : "incoming",
      envelope: { sender, origin: "smtp" },
      recipients: to.map((address) => ({ address })),
      content: await writer.finish(),
    });
    if (queue === "active" || queue === "deferred") await this.#import(queue);
    return id;
  }

  async #import(queue: "active" | "deferred"): Promise<void> {
    const fence = this.#fence;
    const wanted = { fence, from: "incoming", maxMessages: 99, maxRecipients: 99 } as const;
    const imported = await this.#scheduling.importMessages(wanted);
    if (queue === "active") return;
    for (const { id, recipients, generation } of imported) {
      const failed = {
        kind: "deferred",
        status: enhancedStatus("4.4.1"),
        reason: "connect to far.example[192.0.2.1]:25: Connection timed out",
      } as const;
      const outcomes = recipients.map(({ number }) => ({ ...failed, recipient: number }));
      await this.#scheduling.recordOutcomes(id, outcomes);
      const dueMs = this.#store.clock.nowMs() + 3_600_000;
      const settlement = { id, generation, action: "defer", dueMs, countAttempt: true } as const;
      await this.#scheduling.settle(fence, [settlement]);
    }
  }

  async of(...ids: readonly QueueId[]): Promise<readonly (MessageQueue | undefined)[]> {
    return await Promise.all(ids.map(async (id) => (await this.#looking.message(id))?.queue));
  }
}

describe("the pipelines in operators' notes", () => {
  let redis: RedisServer;
  let path: string;
  /** What was typed, and what came of it. */
  const transcript: string[] = [];

  before(async () => {
    redis = await startRedis();
    path = mkdtempSync(join(tmpdir(), "postmq-path-"));
    for (const tool of tools) symlinkSync(program, join(path, tool));
  });

  after(async () => {
    rmSync(path, { recursive: true, force: true });
    await redis[Symbol.asyncDispose]();
    console.log(`\n${transcript.join("")}`);
  });

  const withQueue = (
    test: (queue: Queue, shell: (line: string) => Promise<Finished>) => Promise<void>,
  ) => {
    const instanceName = `test-${randomBytes(8).toString("hex")}`;
    return withStore(
      async ({ store }) => {
        const fence = await store.leadership().acquire();
        assert.ok(fence !== undefined);
        const env = {
          PATH: `${path}:/usr/bin:/bin`,
          POSTMQ_REDIS_URL: redis.url,
          POSTMQ_INSTANCE_NAME: instanceName,
        };
        const shell = async (line: string) => {
          const ended = await run("/bin/sh", ["-c", line], { env });
          transcript.push(`$ ${line}\n${ended.stdout}${ended.stderr}`);
          return ended;
        };
        await test(new Queue(store, store.scheduling(), fence), shell);
      },
      { redis, store: { instanceName } },
    );
  };

  it("A5: mailq | grep | cut | postsuper -d - deletes the mail of a sender", () =>
    withQueue(async (queue, shell) => {
      const deferred = await queue.keep("deferred");
      const other = await queue.keep("deferred", { from: "else@example.com" });
      const active = await queue.keep("active");
      const ran = await shell(
        `mailq | grep "user@example.com" | cut -d " " -f1 | cut -d'*' -f1 | postsuper -d -`,
      );
      assert.equal(ran.code, 0);
      assert.deepEqual(
        ran.stderr.split("\n").toSorted(),
        [
          "",
          "postsuper: Deleted: 2 messages",
          `postsuper: ${deferred}: removed`,
          `postsuper: ${active}: removed`,
        ].toSorted(),
      );
      assert.deepEqual(await queue.of(deferred, active, other), [undefined, undefined, "deferred"]);
    }));

  it("postqueue -p | grep MAILER-DAEMON … deletes what has the null sender", () =>
    withQueue(async (queue, shell) => {
      const report = await queue.keep("deferred", { from: "" });
      const other = await queue.keep("deferred");
      const ran = await shell(
        `postqueue -p | grep "MAILER-DAEMON" | cut -d " " -f1 | cut -d"*" -f1 | postsuper -d -`,
      );
      assert.equal(ran.stderr, `postsuper: ${report}: removed\npostsuper: Deleted: 1 message\n`);
      assert.deepEqual(await queue.of(report, other), [undefined, "deferred"]);
    }));

  it("the two forms of postsuper(1) delete mail with exactly one recipient", () =>
    withQueue(async (queue, shell) => {
      const wanted = { to: ["user@far.example"] };
      const [one, two] = [await queue.keep("deferred", wanted), await queue.keep("hold", wanted)];
      const both = await queue.keep("deferred", { to: ["user@far.example", "b@far.example"] });
      const jq = `select(.recipients[0].address == "user@far.example")
        | select(.recipients[1].address == null) | select(.queue_name == "deferred") | .queue_id`;
      const json = await shell(`postqueue -j | jq -r '${jq}' | postsuper -d -`);
      assert.equal(json.stderr, `postsuper: ${one}: removed\npostsuper: Deleted: 1 message\n`);
      const awk = `BEGIN { RS = "" } { if ($8 == "user@far.example" && $9 == "") print $1 }`;
      const text = await shell(
        `mailq | tail -n +2 | grep -v '^ *(' | awk '${awk}' | tr -d '*!' | postsuper -d -`,
      );
      assert.equal(text.stderr, `postsuper: ${two}: removed\npostsuper: Deleted: 1 message\n`);
      assert.deepEqual(await queue.of(one, two, both), [undefined, undefined, "deferred"]);
    }));

  it("qshape incoming active deferred, and qshape -s hold | head, show where the mail is", () =>
    withQueue(async (queue, shell) => {
      await queue.keep("active", { to: ["a@one.example", "b@one.example"] });
      await queue.keep("deferred", { to: ["c@two.example"] });
      await queue.keep("hold");
      const shape = await shell("qshape incoming active deferred");
      assert.match(shape.stdout, /^ +TOTAL +3 .*\n +one\.example +2 .*\n +two\.example +1 /m);
      const senders = await shell("qshape -s hold | head -n 3");
      assert.match(senders.stdout, /^ +T .*\n +TOTAL +1 +1 .*\n +example\.com +1 +1 /);
      assert.equal(senders.stderr, "");
    }));

  it("postsuper -h ALL, -r ALL, -d ALL deferred touch what they say and no more", () =>
    withQueue(async (queue, shell) => {
      const [waiting, fresh] = [await queue.keep("deferred"), await queue.keep("incoming")];
      const held = await queue.keep("hold");
      const all = await shell("postsuper -d ALL deferred");
      assert.deepEqual([all.code, all.stderr], [0, "postsuper: Deleted: 1 message\n"]);
      assert.deepEqual(await queue.of(waiting, fresh, held), [undefined, "incoming", "hold"]);
      const back = await shell("postsuper -h ALL && postsuper -H ALL && postsuper -r ALL");
      assert.equal(
        back.stderr,
        "postsuper: Placed on hold: 1 message\npostsuper: Released from hold: 2 messages\n" +
          "postsuper: Requeued: 2 messages\n",
      );
      assert.deepEqual(await queue.of(fresh, held), ["maildrop", "maildrop"]);
    }));

  it("postqueue -p | tail -n 1 counts; mailq | head ends quietly", () =>
    withQueue(async (queue, shell) => {
      for (let i = 0; i < 3; i += 1) await queue.keep("hold");
      const ran = await shell("postqueue -p | tail -n 1; mailq | head -n 1");
      assert.match(ran.stdout, /^-- 0 Kbytes in 3 Requests\.\n----Queue ID----- /);
      assert.equal(ran.stderr, "");
    }));

  it("everything from one sender, and all older than five days, is one command each", () =>
    withQueue(async (queue, shell) => {
      const [one, two] = [await queue.keep("deferred"), await queue.keep("hold", { from: "" })];
      const dry = await shell("postmq delete --queue deferred --older-than 5d --dry-run");
      assert.match(dry.stdout, /^0 messages would be deleted \(queue=deferred arrived_to=/);
      const gone = await shell(
        "postmq delete --sender User@EXAMPLE.com; postmq delete --sender user@example.com",
      );
      assert.equal(gone.stdout, "0 messages deleted\n1 message deleted\n");
      assert.deepEqual(await queue.of(one, two), [undefined, "hold"]);
      const mistaken = await shell('postmq delete --sender "$NOSUCH" --all');
      assert.equal(mistaken.code, 64);
      assert.deepEqual(await queue.of(two), ["hold"]);
    }));
});
