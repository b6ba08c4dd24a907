import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Coalescer } from "./coalescer.ts";

describe("Coalescer", () => {
  it("sends the first at once, and what arrives meanwhile as one call", async () => {
    const calls: (readonly number[])[] = [];
    const releases: (() => void)[] = [];
    const coalescer = new Coalescer<number, number>(
      async (items) => {
        calls.push(items);
        await new Promise<void>((resolve) => releases.push(resolve));
        return items.map((item) => item * 2);
      },
      { lanes: 1, maxItems: 3 },
    );
    const answers = [1, 2, 3, 4, 5].map((item) => coalescer.add(item));
    assert.deepEqual(calls, [[1]]);
    for (const expected of [[2, 3, 4], [5]]) {
      releases.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(calls.at(-1), expected);
    }
    releases.shift()?.();
    assert.deepEqual(await Promise.all(answers), [2, 4, 6, 8, 10]);
  });

  it("rejects every item of a call that fails, and goes on", async () => {
    let isDown = true;
    const coalescer = new Coalescer<number, number>(
      async (items) => {
        if (isDown) throw new Error("away");
        return items;
      },
      { lanes: 1, maxItems: 10 },
    );
    await assert.rejects(coalescer.add(1), /away/);
    isDown = false;
    assert.equal(await coalescer.add(2), 2);
  });

  it("bounds a call by weight, but never starves an item heavier than the bound", async () => {
    const calls: (readonly number[])[] = [];
    const coalescer = new Coalescer<number, number>(
      async (items) => {
        calls.push(items);
        await Promise.resolve();
        return items;
      },
      { lanes: 1, maxItems: 10, weight: { of: (item) => item, max: 10 } },
    );
    await Promise.all([1, 99, 4, 4, 4].map((item) => coalescer.add(item)));
    assert.deepEqual(calls, [[1], [99], [4, 4], [4]]);
  });
});
