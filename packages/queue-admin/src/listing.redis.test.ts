import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Intake } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { QueueId } from "@postmq/vocabulary";
import { listMessages } from "./listing.ts";

async function stored(intake: Intake, recipients: readonly string[]): Promise<QueueId> {
  const id = intake.newId();
  const content = await intake.openContent(id).finish();
  await intake.commit({
    id,
    queue: "hold",
    envelope: { sender: "from@sender.example", origin: "smtp" },
    recipients: recipients.map((address) => ({ address })),
    content,
  });
  return id;
}

describe("listMessages", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("gives every recipient that is not done, however many a message has", () =>
    withStore(
      async ({ store, instanceName }) => {
        const addresses = Array.from({ length: 2500 }, (_, i) => `u${i}@example.com`);
        const id = await stored(store.intake(), addresses);
        const record = `postmq:{${instanceName}}:m:${id}`;
        // The first 600 are done, and one beside the record.
        const done = Array.from({ length: 600 }, (_, i) => [`s${i}`, "d"]).flat();
        await redis.cli("HSET", record, ...done, "u", "1899");
        await redis.cli("HSET", `${record}:0:1`, "s1700", "d");
        const looking = store.looking();
        const listed = await Array.fromAsync(listMessages(looking));
        assert.deepEqual(
          listed[0]?.recipients.map(({ number }) => number),
          [...addresses.keys()].filter((number) => number >= 600 && number !== 1700),
        );
        // Whoever reads one message gets the first 1 000 of them.
        const shown = await looking.message(id);
        assert.equal(shown?.recipients.length, 1000);
        assert.equal(shown.recipients.at(-1)?.number, 1599);
      },
      { redis },
    ));

  it("shows each message once over any number of pages, long ones among them", () =>
    withStore(
      async ({ store }) => {
        const intake = store.intake();
        const ids: QueueId[] = [];
        for (let i = 0; i < 260; i += 1) {
          const length = i % 100 === 7 ? 900 : 1;
          const recipients = Array.from({ length }, (_, k) => `u${k}@example.com`);
          ids.push(await stored(intake, recipients));
        }
        const listed = await Array.fromAsync(listMessages(store.looking()));
        assert.deepEqual(listed.map(({ id }) => id).toSorted(), ids.toSorted());
      },
      { redis },
    ));
});
