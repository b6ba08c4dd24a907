import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { timelineBytes } from "./timeline-trimming.ts";

const mb = 1024 * 1024;

describe("the memory of timelines", () => {
  it("is event_memory, but no more than an eighth of maxmemory", () => {
    assert.equal(timelineBytes(64 * mb, { maxBytes: 0, isFull: false }), 64 * mb);
    assert.equal(timelineBytes(64 * mb, { maxBytes: 1024 * mb, isFull: false }), 64 * mb);
    assert.equal(timelineBytes(64 * mb, { maxBytes: 256 * mb, isFull: false }), 32 * mb);
  });

  it("P9 is a quarter of that while Redis is above redis_memory_high_water", () => {
    assert.equal(timelineBytes(64 * mb, { maxBytes: 256 * mb, isFull: true }), 8 * mb);
    assert.equal(timelineBytes(0, { maxBytes: 256 * mb, isFull: true }), 0);
  });
});
