import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { recipientBatch, refillSize } from "./recipient-pool.ts";
import type { Refill } from "./recipient-pool.ts";

const rules = { recipientLimit: 20_000, extraLimit: 1000, refillLimit: 100, refillDelayMs: 5000 };

function size(changes: Partial<Refill>, nowMs = 0): number {
  const refill = { ofTransport: 0, ofMessage: 0, isOvertaking: false, lastRefillMs: 0, ...changes };
  return refillSize(refill, rules, nowMs);
}

describe("refillSize", () => {
  it("fills a message up to a batch, and its transport up to its limit", () => {
    assert.equal(size({}), recipientBatch);
    assert.equal(size({ ofMessage: 4000, ofTransport: 4000 }), 1000);
    assert.equal(size({ ofMessage: 100, ofTransport: 19_800 }), 200);
  });

  it("waits until a hundred are free, or five seconds have passed since the last time", () => {
    assert.equal(size({ ofMessage: 4901, ofTransport: 4901 }, 4999), 0);
    assert.equal(size({ ofMessage: 4900, ofTransport: 4900 }, 4999), 100);
    assert.equal(size({ ofMessage: 4901, ofTransport: 4901 }, 5000), 99);
    assert.equal(size({ ofMessage: 5000, ofTransport: 5000 }, 60_000), 0);
  });

  it("lends half of the rest of the extra pool to one that has overtaken, and to no other", () => {
    assert.equal(size({ ofTransport: 20_000 }), 0);
    assert.equal(size({ ofTransport: 20_000, isOvertaking: true }), 500);
    assert.equal(size({ ofTransport: 20_600, isOvertaking: true }), 200);
    assert.equal(size({ ofTransport: 21_000, isOvertaking: true }, 60_000), 0);
  });
});
