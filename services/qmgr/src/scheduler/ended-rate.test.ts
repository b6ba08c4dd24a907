import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EndedRate } from "./ended-rate.ts";

describe("EndedRate", () => {
  it("counts what ended within the last minute, to ten seconds", () => {
    const rate = new EndedRate();
    for (let second = 0; second < 60; second += 1) rate.add(1_000_000 + second * 1000);
    assert.equal(rate.perMinute(1_000_000 + 59_000), 60);
    assert.equal(rate.perMinute(1_000_000 + 80_000), 30);
    assert.equal(rate.perMinute(1_000_000 + 130_000), 0);
  });

  it("has forgotten everything after a long time, and a clock that stepped back does no harm", () => {
    const rate = new EndedRate();
    rate.add(5_000_000);
    rate.add(4_000_000);
    assert.equal(rate.perMinute(5_000_000), 2);
    assert.equal(rate.perMinute(50_000_000), 0);
  });
});
