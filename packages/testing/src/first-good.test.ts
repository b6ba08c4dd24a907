import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { firstGood } from "./first-good.ts";

describe("firstGood", () => {
  const rounds = (...values: readonly number[]) => {
    const left = [...values];
    return { left, play: async () => left.shift() ?? assert.fail("one round too many") };
  };
  const isLarge = (value: number) => value > 9;

  it("stops at the first good round", async () => {
    const { left, play } = rounds(3, 12, 20);
    assert.equal(await firstGood(5, play, isLarge), 12);
    assert.deepEqual(left, [20]);
  });

  it("gives the last when none is good, or the better one", async () => {
    assert.equal(await firstGood(3, rounds(1, 7, 4).play, isLarge), 4);
    const higher = (one: number, other: number) => one > other;
    assert.equal(await firstGood(3, rounds(1, 7, 4).play, isLarge, higher), 7);
  });
});
