import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Redis } from "ioredis";
import { startRedis, TcpProxy, waitFor } from "@postmq/testing";
import { isPostmqError, makeQueueId } from "@postmq/vocabulary";
import { StagedContentWriter } from "./content.ts";

describe("content stored ahead", () => {
  it("V7 expires though its writer died before it heard of the first chunk", async () => {
    await using redis = await startRedis();
    await using proxy = await TcpProxy.start(redis.port);
    const connection = new Redis({ port: proxy.port, maxRetriesPerRequest: 0 });
    try {
      await connection.ping();
      const id = makeQueueId(1e15, 1);
      const prefix = "postmq:{x}";
      const writer = new StagedContentWriter(connection, {
        prefix,
        id,
        inlineId: id,
        onWrite: () => undefined,
      });
      // The script is known: it is sent once.
      await writer.write(Buffer.alloc(300_000, "x"));
      await redis.cli("FLUSHDB");
      proxy.holdReplies();
      const written = assert.rejects(
        async () => writer.write(Buffer.alloc(300_000, "x")),
        (error) => isPostmqError(error),
      );
      const [key = ""] = await waitFor(async () => {
        const keys = (await redis.cli("KEYS", `${prefix}:c:*`)).split("\n");
        return keys[0] === "" ? undefined : keys;
      });
      assert.ok(Number(await redis.cli("TTL", key)) > 0);
      connection.disconnect();
      await written;
    } finally {
      connection.disconnect();
    }
  });
});
