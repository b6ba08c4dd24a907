import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { compileReason } from "./reason-pattern.ts";
import type { ReasonPattern } from "./reason-pattern.ts";
import { slowPattern, slowReasons } from "./slow-reasons.test-support.ts";

describe("a pattern over reasons", () => {
  it("looks once at a reason that many recipients share", () => {
    const reasons = slowReasons(60);
    // The least of some: the machine may have been busy with something else.
    const least = (time: () => number) => Math.min(...Array.from({ length: 5 }, time));
    const firstMs = least(() => timed(compileReason(slowPattern), reasons));
    const pattern = compileReason(slowPattern);
    timed(pattern, reasons);
    const againMs = least(() => timed(pattern, reasons));
    assert.ok(againMs < firstMs / 5, `${againMs} ms, at first ${firstMs} ms`);
  });

  it("gives the same verdict of more reasons than it remembers", () => {
    const pattern = compileReason("7$");
    const texts = Array.from({ length: 2500 }, (_, i) => `refused ${i % 1700}`);
    for (const text of texts) assert.equal(pattern.test(text), text.endsWith("7"), text);
  });
});

function timed({ test }: ReasonPattern, reasons: readonly string[]): number {
  const begunMs = performance.now();
  for (const reason of reasons) test(reason);
  return performance.now() - begunMs;
}
