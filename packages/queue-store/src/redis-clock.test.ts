import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clockOffsetMs } from "./redis-clock.ts";

describe("the clock of Redis", () => {
  /** Redis is 1 000 000 ms beyond this process. */
  const told = (askedMs: number, redisReadMs: number, heardMs: number) => ({
    askedMs,
    redisMs: 1_000_000 + redisReadMs,
    heardMs,
  });

  it("is behind by no more than the first answer took, and never ahead", () => {
    assert.equal(clockOffsetMs(undefined, told(10, 12, 30)), 999_982);
  });

  it("comes nearer with a quick answer, and is not set back by a late one", () => {
    const first = clockOffsetMs(undefined, told(10, 12, 30));
    const quick = clockOffsetMs(first, told(1_000, 1_001, 1_002));
    assert.equal(quick, 999_999);
    assert.equal(clockOffsetMs(quick, told(2_000, 2_001, 2_500)), quick);
  });

  it("follows when the clock of Redis is set", () => {
    assert.equal(
      clockOffsetMs(999_999, { askedMs: 3_000, redisMs: 1_000, heardMs: 3_002 }),
      -2_000,
    );
    assert.equal(clockOffsetMs(-2_000, told(4_000, 4_001, 4_002)), 999_999);
  });
});
