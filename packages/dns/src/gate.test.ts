import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { gate } from "./gate.ts";

describe("gate", () => {
  it("lets at most so many through at once, in order, also after failures", async () => {
    const within = gate(3);
    const started: number[] = [];
    let running = 0;
    let most = 0;
    const run = (number: number) =>
      within(async () => {
        started.push(number);
        most = Math.max(most, (running += 1));
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        if (number % 4 === 0) throw new Error("one that fails");
        return number;
      });
    const numbers = Array.from({ length: 20 }, (_, at) => at);
    const ended = await Promise.allSettled(numbers.map(run));
    assert.equal(most, 3);
    assert.deepEqual(started, numbers);
    assert.equal(ended.filter(({ status }) => status === "rejected").length, 5);
  });
});
