import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { compareKeys } from "./order.ts";

describe("compareKeys", () => {
  it("S19 orders jobs by their arrival in active", () => {
    assert.deepEqual([[3], [1], [20], [2]].toSorted(compareKeys), [[1], [2], [3], [20]]);
  });

  it("S21 puts one that overtakes directly before the other, behind those that did so earlier", () => {
    const keys = [[2], [2, 2], [1], [2, 1, 1], [3], [2, 1]];
    assert.deepEqual(keys.toSorted(compareKeys), [[1], [2, 1, 1], [2, 1], [2, 2], [2], [3]]);
  });

  it("orders by fair share first, then by arrival", () => {
    assert.deepEqual(
      [
        [1, 5],
        [0.5, 9],
        [1, 4],
      ].toSorted(compareKeys),
      [
        [0.5, 9],
        [1, 4],
        [1, 5],
      ],
    );
  });
});
