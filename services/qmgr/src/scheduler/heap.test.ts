import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Heap } from "./heap.ts";

describe("Heap", () => {
  it("gives what was put in, smallest first, whatever the order of puts and takes", () => {
    const heap = new Heap<number>((a, b) => a - b);
    const model: number[] = [];
    for (let n = 0; n < 2000; n += 1) {
      const item = (n * 7919) % 1009;
      heap.push(item);
      model.push(item);
      if (n % 3 !== 0) continue;
      model.sort((a, b) => a - b);
      assert.equal(heap.first, model[0]);
      assert.equal(heap.pop(), model.shift());
    }
    model.sort((a, b) => a - b);
    while (model.length > 0) assert.equal(heap.pop(), model.shift());
    assert.equal(heap.size, 0);
    assert.equal(heap.pop(), undefined);
    assert.equal(heap.first, undefined);
  });
});
