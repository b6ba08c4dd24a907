import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Cleaning, FinishedContent, OpenedMessage } from "@postmq/queue-store";
import { startRedis, waitFor, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { assertConsistent, stored } from "./store.test-support.ts";

async function content(cleaning: Cleaning, id: QueueId, text: string): Promise<FinishedContent> {
  const writer = cleaning.openContent(id);
  await writer.write(Buffer.from(text));
  return writer.finish();
}

async function opened(cleaning: Cleaning, id: QueueId): Promise<OpenedMessage> {
  const answer = await cleaning.open(id);
  assert.ok(typeof answer !== "string", "not opened");
  return answer;
}

/** A cleanup process that dies: its heartbeat is taken away. */
async function kill(under: StoreUnderTest, claim: string): Promise<void> {
  await under.redis.cli("DEL", `postmq:{${under.instanceName}}:w:${claim}`);
}

async function claimOf(under: StoreUnderTest, id: QueueId): Promise<string> {
  return (await under.redis.cli("HGET", `postmq:{${under.instanceName}}:m:${id}`, "cl")).trim();
}

describe("cleaning", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("hands a message on with new recipients and content, the old ones gone (spec queues.md §3.4)", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const cleaning = under.store.cleaning();
        const message = await opened(cleaning, id);
        assert.match((await cleaning.readContent(message.content)).toString(), /^Subject: test/);
        const into = {
          queue: "incoming",
          envelope: { ...message.envelope, sender: "new@sender.example" },
          recipients: [{ address: "a@example.org" }, { address: "b@example.org" }],
          content: await content(cleaning, id, "Received: x\r\n\r\nnew\r\n"),
        } as const;
        assert.equal(await cleaning.release(message, into), "moved");
        assert.equal(await cleaning.release(message, into), "already");
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.queue, "incoming");
        assert.equal(listed?.totalRecipients, 2);
        assert.equal(listed?.envelope.sender, "new@sender.example");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("leaves a message that a live process has open alone", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const cleaning = under.store.cleaning();
        await opened(cleaning, id);
        assert.equal(await cleaning.open(id), "busy");
        assert.equal(await (await under.openAnother()).cleaning().open(id), "busy");
      },
      { redis },
    ));

  it("opens a message that two rings name at once only once, and others alone after it", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const cleaning = under.store.cleaning();
        const id = await stored(intake, { queue: "maildrop" });
        const answers = await Promise.all([cleaning.open(id), cleaning.open(id)]);
        const [message, ...more] = answers.filter((answer) => typeof answer !== "string");
        assert.ok(message !== undefined);
        assert.deepEqual(more, []);
        assert.ok(answers.includes("busy"));
        await cleaning.giveBack(message);
        const suspect = await stored(intake, { queue: "maildrop" });
        const other = (await under.openAnother()).cleaning();
        await opened(other, suspect);
        await kill(under, await claimOf(under, suspect));
        await opened(cleaning, suspect);
      },
      { redis },
    ));

  it("gives a refused recipient its report and delivers the rest", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const cleaning = under.store.cleaning();
        const message = await opened(cleaning, id);
        const failed = { status: enhancedStatus("5.1.3"), reason: "bad address syntax" };
        await cleaning.release(message, {
          queue: "incoming",
          envelope: message.envelope,
          recipients: [{ address: "good@example.org" }, { address: "bad@example.org", failed }],
          content: await content(cleaning, id, "x"),
        });
        const listed = await under.store.looking().message(id);
        assert.equal(listed?.undoneRecipients, 1);
        await assertConsistent(under);
      },
      { redis },
    ));

  it("discards whole: nothing of the message stays", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const cleaning = under.store.cleaning();
        const message = await opened(cleaning, id);
        const into = {
          queue: "gone",
          envelope: message.envelope,
          recipients: [],
          content: await content(cleaning, id, ""),
        } as const;
        assert.equal(await cleaning.release(message, into), "moved");
        assert.equal(await under.store.looking().message(id), undefined);
        assert.equal(await cleaning.open(id), "stale");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("takes over from a process that died, and drops what the dead one still says (fault 4)", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        const frozen = under.store.cleaning();
        const message = await opened(frozen, id);
        await kill(under, await claimOf(under, id));
        const second = (await under.openAnother({ processName: "second" })).cleaning();
        const again = await opened(second, id);
        const into = async (cleaning: Cleaning) =>
          ({
            queue: "incoming",
            envelope: message.envelope,
            recipients: message.recipients,
            content: await content(cleaning, id, "x"),
          }) as const;
        assert.equal(await second.release(again, await into(second)), "moved");
        assert.equal(await frozen.release(message, await into(frozen)), "stale");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("opens a message alone after a crash, and parks it after crash_limit crashes alone (fault 39)", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const poison = await stored(intake, { queue: "maildrop" });
        const neighbour = await stored(intake, { queue: "maildrop" });
        for (let crash = 0; crash < 4; crash += 1) {
          const dying = (await under.openAnother({ processName: `dying${crash}` })).cleaning();
          const beside = crash === 0 ? undefined : await dying.open(neighbour);
          assert.ok(beside === undefined || typeof beside === "object");
          const waiting = dying.open(poison);
          if (beside !== undefined && typeof beside === "object") await dying.giveBack(beside);
          assert.equal(typeof (await waiting), "object");
          await kill(under, await claimOf(under, poison));
        }
        const last = under.store.cleaning();
        assert.equal(await last.open(poison), "parked");
        const listed = await under.store.looking().message(poison);
        assert.equal(listed?.queue, "corrupt");
        assert.match(listed?.corruptReason ?? "", /crashed 3 times/);
        assert.equal(typeof (await last.open(neighbour)), "object");
        await assertConsistent(under);
      },
      { redis },
    ));

  it("parks a key that is no record, and an envelope that is no JSON (fault 40)", () =>
    withStore(
      async (under) => {
        const intake = under.store.intake();
        const key = (id: string) => `postmq:{${under.instanceName}}:m:${id}`;
        const rubbish = await stored(intake, { queue: "maildrop" });
        await redis.cli("SET", key(rubbish), "rubbish");
        const torn = await stored(intake, { queue: "maildrop" });
        await redis.cli("HSET", key(torn), "e", "{");
        const cleaning = under.store.cleaning();
        assert.equal(await cleaning.open(rubbish), "parked");
        assert.equal(await cleaning.open(torn), "parked");
        const page = await under.store.looking().list("corrupt", { limit: 10 });
        assert.deepEqual(
          page.messages.map((message) => message.id).toSorted(),
          [rubbish, torn].toSorted(),
        );
      },
      { redis },
    ));

  it("A1 parks nothing that an operator deleted, or that moved on, while it was read", () =>
    withStore(
      async (under) => {
        const { store } = under;
        const cleaning = store.cleaning();
        const ids = [await stored(store.intake(), { queue: "maildrop" })];
        ids.push(await stored(store.intake(), { queue: "maildrop" }));
        const [gone, moved] = await Promise.all(ids.map((id) => opened(cleaning, id)));
        assert.ok(gone !== undefined && moved !== undefined);
        await store.acting().act("delete", [gone.id]);
        await cleaning.release(moved, {
          queue: "incoming",
          envelope: moved.envelope,
          recipients: [{ address: "a@example.org" }],
          content: await content(cleaning, moved.id, "x\r\n"),
        });
        assert.equal(await cleaning.park(gone, "a part of the content is missing"), "stale");
        assert.equal(await cleaning.park(moved, "a part of the content is missing"), "stale");
        const page = await store.looking().list("corrupt", { limit: 10 });
        assert.deepEqual(page.messages, []);
        assert.equal((await store.looking().message(moved.id))?.queue, "incoming");
      },
      { redis },
    ));

  it("rings for the leader, unless it looks by itself", () =>
    withStore(
      async (under) => {
        const cleaning = under.store.cleaning();
        const rung: QueueId[] = [];
        const listener = await under.store.listen("incoming", { concurrency: 1 }, async (bell) => {
          rung.push(...bell.ids);
        });
        const clean = async () => {
          const id = await stored(under.store.intake(), { queue: "maildrop" });
          const message = await opened(cleaning, id);
          await cleaning.release(message, {
            queue: "incoming",
            envelope: message.envelope,
            recipients: [{ address: "a@example.org" }],
            content: await content(cleaning, id, "x\r\n"),
          });
          return id;
        };
        const looking = `postmq:{${under.instanceName}}:looking`;
        const first = await clean();
        await waitFor(() => rung.length === 1);
        await redis.cli("SET", looking, "1");
        await clean();
        await redis.cli("DEL", looking);
        const third = await clean();
        await waitFor(() => rung.length === 2);
        assert.deepEqual(rung, [first, third]);
        await listener.close();
      },
      { redis },
    ));

  it("rings again for what was stored but not rung for", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { queue: "maildrop" });
        await redis.cli("DEL", `postmq:{${under.instanceName}}:maildrop:wait`);
        const heard: QueueId[] = [];
        const listener = await under.store.listen("maildrop", { concurrency: 1 }, async (bell) => {
          heard.push(...bell.ids);
        });
        const fence = await under.store.leadership().acquire();
        assert.ok(fence !== undefined);
        assert.equal(await under.store.scheduling().sweep(fence, 0), 1);
        await waitFor(() => heard.includes(id), { describe: "the sweep's ring" });
        await listener.close();
      },
      { redis },
    ));
});
