import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import type { Store } from "@postmq/queue-store";
import { startRedis, withStore } from "@postmq/testing";
import type { RedisServer } from "@postmq/testing";
import type { QueueId } from "@postmq/vocabulary";

import { openShowq } from "./looking-on.test-support.ts";

async function held(store: Store, content: Buffer): Promise<QueueId> {
  const intake = store.intake();
  const id = intake.newId();
  const writer = intake.openContent(id);
  for (let from = 0; from < content.length; from += 60_000) {
    await writer.write(content.subarray(from, from + 60_000));
  }
  await intake.commit({
    id,
    queue: "hold",
    envelope: { sender: "s@x.example", origin: "smtp" },
    recipients: [{ address: "a@far.example" }],
    content: await writer.finish(),
  });
  return id;
}

describe("GET /v1/messages/{id}/raw", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis[Symbol.asyncDispose]());

  const withShowq = (test: (store: Store, url: string, instanceName: string) => Promise<void>) =>
    withStore(
      async ({ store, instanceName }) => {
        await using showq = await openShowq(store);
        await test(store, `${showq.url}/messages`, instanceName);
      },
      { redis },
    );

  it("gives the message byte for byte, as a file to keep", () =>
    withShowq(async (store, url) => {
      const content = Buffer.from("Subject: \u00E4\r\n\r\n<script>x</script>\r\n\0\xFF", "latin1");
      const id = await held(store, content);
      const response = await fetch(`${url}/${id}/raw`);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "message/rfc822");
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.match(response.headers.get("content-disposition") ?? "", /^attachment; /);
      assert.deepEqual(Buffer.from(await response.arrayBuffer()), content);
    }));

  it("streams one of several chunks", () =>
    withShowq(async (store, url) => {
      const content = Buffer.alloc(3_000_000, "0123456789abcdef");
      const id = await held(store, content);
      const response = await fetch(`${url}/${id}/raw`);
      assert.equal(response.headers.get("content-length"), "3000000");
      assert.ok(Buffer.from(await response.arrayBuffer()).equals(content));
    }));

  it("gives an empty message", () =>
    withShowq(async (store, url) => {
      const response = await fetch(`${url}/${await held(store, Buffer.alloc(0))}/raw`);
      assert.deepEqual([response.status, await response.text()], [200, ""]);
    }));

  it("ends short of its length when the message goes away meanwhile", () =>
    withShowq(async (store, url, instanceName) => {
      const id = await held(store, Buffer.alloc(30_000_000, "x"));
      const key = await redis.cli("KEYS", `postmq:{${instanceName}}:c:*`);
      const response = await fetch(`${url}/${id}/raw`);
      await redis.cli("DEL", key);
      await assert.rejects(response.arrayBuffer());
    }));

  it("answers 404 for what is not there, 500 for what lost its content, 422 for questions", () =>
    withShowq(async (store, url, instanceName) => {
      for (const id of ["nosuch", "..%2Fx", "4cXyZ0abc1zz"]) {
        assert.equal((await fetch(`${url}/${id}/raw`)).status, 404, id);
      }
      const id = await held(store, Buffer.from("x"));
      assert.equal((await fetch(`${url}/${id}/raw?x=1`)).status, 422);
      await redis.cli("DEL", `postmq:{${instanceName}}:c:${id}`);
      assert.equal((await fetch(`${url}/${id}/raw`)).status, 500);
    }));
});
