import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { WorkBudget } from "./work-budget.ts";

/** Work that ends when told to. */
function jobs(budget: WorkBudget) {
  const running = new Map<number, () => void>();
  let next = 0;
  return {
    running,
    start(amount: number): void {
      const number = next++;
      const work = () => new Promise<void>((resolve) => running.set(number, resolve));
      // The promise ends with the work; the test looks at `running`.
      void budget.within(amount, work);
    },
    async end(number: number): Promise<void> {
      running.get(number)?.();
      running.delete(number);
      await settled();
    },
  };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("WorkBudget", () => {
  it("never runs more than fits, runs all, and in the order asked", async () => {
    const amounts = fc.array(fc.integer({ min: 0, max: 15 }), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(amounts, fc.infiniteStream(fc.nat()), async (list, choices) => {
        const work = jobs(new WorkBudget(10));
        for (const amount of list) work.start(amount);
        await settled();
        const started = new Set<number>();
        while (work.running.size > 0) {
          for (const number of work.running.keys()) started.add(number);
          const total = [...work.running.keys()].reduce(
            (sum, number) => sum + (list[number] ?? 0),
            0,
          );
          const isAlone =
            [...work.running.keys()].filter((number) => (list[number] ?? 0) > 0).length === 1;
          assert.ok(total <= 10 || isAlone);
          assert.deepEqual(
            [...started].toSorted((a, b) => a - b),
            [...started.keys()].map((_, index) => index),
          );
          const keys = [...work.running.keys()];
          await work.end(keys[choices.next().value % keys.length] ?? 0);
        }
        assert.equal(started.size, list.length);
      }),
      { numRuns: 50 },
    );
  });

  it("gives the room back when work fails", async () => {
    const budget = new WorkBudget(1);
    await assert.rejects(
      budget.within(1, () => Promise.reject(new Error("broken"))),
      /broken/,
    );
    assert.equal(await budget.within(1, () => Promise.resolve("next")), "next");
  });
});
