import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseDurationMs } from "./duration.ts";

describe("spans of time", () => {
  it("are numbers with units, and several may join", () => {
    assert.equal(parseDurationMs("5d"), 432_000_000);
    assert.equal(parseDurationMs("1h30m"), 5_400_000);
    assert.equal(parseDurationMs("2W"), 1_209_600_000);
    assert.equal(parseDurationMs("0s"), 0);
  });

  it("need a unit unless there is one for bare numbers", () => {
    assert.equal(parseDurationMs("15"), undefined);
    assert.equal(parseDurationMs("15", "m"), 900_000);
    assert.equal(parseDurationMs("1h15", "m"), undefined);
  });

  it("are nothing else", () => {
    for (const text of ["", "d", "-5d", "5 d", "5y", "1.5h", "5d ", "1".repeat(10) + "s"])
      assert.equal(parseDurationMs(text, "m"), undefined, text);
  });
});
