/** What came of an attempt, when the power goes while it is written: all of it or none of it is in the record. */
import assert from "node:assert/strict";
import { readFileSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId, RecipientOutcome } from "@postmq/vocabulary";
import { assertConsistent, dispatched, lead, stored } from "./store.test-support.ts";

/** So that their states stand in two keys. */
const recipients = Array.from({ length: 1_002 }, (_, n) => `u${n}@example.com`);

const outcomes: readonly RecipientOutcome[] = [
  { recipient: 0, kind: "sent", status: enhancedStatus("2.0.0"), reason: "250 2.0.0 Ok" },
  { recipient: 1, kind: "deferred", status: enhancedStatus("4.2.1"), reason: "mailbox is busy" },
  { recipient: 1_001, kind: "failed", status: enhancedStatus("5.1.1"), reason: "no such user" },
];

const none = { undone: 1_002, deferred: 0, requests: 1 };
const all = { undone: 1_000, deferred: 1, requests: 0 };

/** The file that Redis appends each write to. */
function appendedFile({ dir }: RedisServer): string {
  const directory = join(dir, "appendonlydir");
  const [name, ...more] = readdirSync(directory).filter((file) => file.endsWith(".incr.aof"));
  assert.ok(name !== undefined && more.length === 0);
  return join(directory, name);
}

/** Where each command begins that was appended from there on, a place within each, and the end. */
function placesIn(appended: Buffer, from: number): readonly number[] {
  const begins: number[] = [];
  for (let at = from; at < appended.length;) {
    begins.push(at);
    const lineEnd = appended.indexOf("\r\n*", at);
    at = lineEnd < 0 ? appended.length : lineEnd + 2;
  }
  return [...begins.flatMap((at) => [at, at + 10]), appended.length];
}

async function recorded({ openAnother }: StoreUnderTest, id: QueueId) {
  await using store = await openAnother({ processName: "looking" });
  const message = await store.looking().message(id);
  const listed = message?.recipients ?? [];
  return {
    undone: message?.undoneRecipients,
    deferred: listed.filter(({ state }) => state.kind === "deferred").length,
    requests: (await store.looking().openRequests(id)).length,
  };
}

describe("outcomes of an attempt", () => {
  it("Q12 are all recorded or none, at whatever byte the power goes", () =>
    withStore(async (under) => {
      const { redis } = under;
      const id = await stored(under.store.intake(), { recipients });
      const led = await lead(under.store);
      const [name] = await dispatched(led);
      assert.ok(name !== undefined);
      const worker = await under.store.delivering({ concurrency: 5 });
      await worker.claim([name]);
      const file = appendedFile(redis);
      const before = readFileSync(file).length;
      await worker.end({ name, end: "tried", outcomes, feedback: { kind: "good" } });
      await redis.kill9();

      const appended = readFileSync(file);
      const found = new Map<string, number>();
      for (const place of placesIn(appended, before)) {
        writeFileSync(file, appended);
        truncateSync(file, place);
        await redis.restart();
        const what = JSON.stringify(await recorded(under, id));
        found.set(what, (found.get(what) ?? 0) + 1);
        await assertConsistent(under);
        await redis.kill9();
      }
      assert.deepEqual([...found.keys()], [JSON.stringify(none), JSON.stringify(all)]);
      assert.ok((found.get(JSON.stringify(none)) ?? 0) > 10, "cuts within the write");
      await redis.restart();
    }));
});
