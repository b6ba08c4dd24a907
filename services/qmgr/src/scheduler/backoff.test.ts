import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { backoffMs } from "./backoff.ts";

describe("backoffMs", () => {
  const limits = { minimalMs: 300_000, maximalMs: 4_000_000 };

  it("S5 rests as long as the message has been here, between the two limits", () => {
    assert.equal(backoffMs(600_000, limits), 600_000);
    assert.equal(backoffMs(1_200_000, limits), 1_200_000);
  });

  it("S5 never rests shorter than minimal_backoff_time or longer than maximal_backoff_time", () => {
    assert.equal(backoffMs(2_000, limits), 300_000);
    assert.equal(backoffMs(4_800_000, limits), 4_000_000);
  });

  it("S5 takes the minimum for a message whose create time is unknown or to come", () => {
    assert.equal(backoffMs(-5_000, limits), 300_000);
    assert.equal(backoffMs(Number.NaN, limits), 300_000);
  });
});
