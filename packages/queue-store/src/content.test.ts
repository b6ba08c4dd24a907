import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Redis } from "ioredis";
import { makeQueueId, panic } from "@postmq/vocabulary";
import { StagedContentWriter } from "./content.ts";

describe("StagedContentWriter", () => {
  it("holds nothing of parts that are empty, however many come", async () => {
    const id = makeQueueId(1e15, 1);
    const writer = new StagedContentWriter(new Redis({ lazyConnect: true }), {
      prefix: "postmq:{x}",
      id,
      inlineId: id,
      onWrite: () => panic("nothing is to be written"),
    });
    const part = Buffer.from("Subject: x\r\n\r\n");
    for (let i = 0; i < 1000; i += 1) assert.equal(writer.write(Buffer.alloc(0)), undefined);
    await writer.write(part);
    await writer.write(Buffer.alloc(0));
    const { inline, ...rest } = await writer.finish();
    // Of several that are held it would be a copy.
    assert.equal(inline, part);
    assert.deepEqual(rest, { contentId: id, sizeBytes: part.length, chunks: 1 });
  });
});
