import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { waitFor } from "@postmq/testing";

import { Deadline } from "./deadline.ts";

describe("a deadline", () => {
  it("is told of when it is met, and not before", async () => {
    const startedMs = performance.now();
    let lateMs: number | undefined;
    using deadline = new Deadline(() => (lateMs = performance.now() - startedMs));
    deadline.set(startedMs + 60);
    await waitFor(() => lateMs !== undefined);
    assert.ok(lateMs !== undefined && lateMs >= 60, `${lateMs} ms`);
  });

  it("moves later and earlier", async () => {
    const startedMs = performance.now();
    const met: string[] = [];
    using late = new Deadline(() => met.push(`moved on, at ${since(startedMs) >= 120}`));
    using early = new Deadline(() => met.push(`brought forward, at ${since(startedMs) >= 30}`));
    late.set(startedMs + 10);
    late.set(startedMs + 120);
    early.set(startedMs + 600_000);
    early.set(startedMs + 30);
    await waitFor(() => met.length === 2);
    // A machine that stalls may tell of both in one go, in any order.
    assert.deepEqual(met.toSorted(), ["brought forward, at true", "moved on, at true"]);
  });

  it("is not told of once it was lifted, and can be set again", async () => {
    let count = 0;
    let hasPassed = false;
    using lifted = new Deadline(() => (count += 1));
    using other = new Deadline(() => (hasPassed = true));
    lifted.set(performance.now() + 10);
    lifted.clear();
    other.set(performance.now() + 40);
    await waitFor(() => hasPassed);
    assert.equal(count, 0);
    lifted.set(performance.now() + 10);
    await waitFor(() => count > 0);
    assert.equal(count, 1);
  });
});

function since(startedMs: number): number {
  return performance.now() - startedMs;
}
