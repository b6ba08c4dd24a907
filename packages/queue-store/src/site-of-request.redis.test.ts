import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import { unpackRequest } from "./packing.ts";
import { assertConsistent, lead, stored } from "./store.test-support.ts";

const atSite = { transport: "smtp", nexthop: "example.com", site: "mx:mx.example.net" };

describe("the site of a request", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("destination_grouping: stays with it through claim and dot, and is there after a take-over", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { recipients: ["a@x.example"] });
        const { scheduling, fence } = await lead(under.store);
        const take = { fence, from: "incoming", maxMessages: 1, maxRecipients: 10 } as const;
        const [message] = await scheduling.importMessages(take);
        assert.ok(message !== undefined);
        const [name] = await scheduling.dispatch(fence, [
          { id, messageGeneration: message.generation, destination: atSite, recipients: [0] },
        ]);
        assert.ok(name !== undefined);
        const worker = await under.store.delivering({ concurrency: 1 });
        const [claimed] = await worker.claim([name]);
        assert.ok(typeof claimed === "object");
        assert.deepEqual(claimed.destination, atSite);
        assert.equal(await worker.markDotSent(name), true);
        await scheduling.reopenActive(fence);
        const [again] = await scheduling.importMessages(take);
        assert.deepEqual(
          again?.openRequests.map(({ destination }) => destination),
          [atSite],
        );
        await assertConsistent(under);
      },
      { redis },
    ));

  it("is absent from requests that were written without one", () =>
    withStore(
      async (under) => {
        const id = await stored(under.store.intake(), { recipients: ["a@x.example"] });
        const old = unpackRequest(id, 1, "1\nc\nworker.1\nsmtp\nexample.com\n0-2");
        assert.deepEqual(old?.destination, { transport: "smtp", nexthop: "example.com" });
        assert.deepEqual(old?.recipients, [0, 1, 2]);
      },
      { redis },
    ));
});
