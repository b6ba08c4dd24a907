import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Ledger } from "./ledger.ts";

describe("Ledger", () => {
  it("tells lost, doubled, contradictory and unknown outcomes apart", async () => {
    const ledger = new Ledger();
    for (const id of ["1", "2", "3", "4"]) ledger.accept(id, "R@example.com");
    ledger.leaveOpen("5", "r@example.com");
    ledger.deliver("1", "r@example.com");
    ledger.deliver("2", "r@example.com");
    ledger.deliver("2", "r@example.com");
    ledger.bounce("3", "r@example.com");
    ledger.bounce("3", "r@example.com");
    ledger.deliver("5", "r@example.com");
    ledger.deliver("6", "r@example.com");
    assert.deepEqual(ledger.report(), {
      accepted: 4,
      delivered: 2,
      bounced: 1,
      lost: ["4 r@example.com"],
      duplicates: new Map([["2 r@example.com", 1]]),
      contradictions: ["3 r@example.com"],
      unknown: ["6 r@example.com"],
    });
    await assert.rejects(ledger.settle({ timeoutMs: 1 }), /1 of 4 accepted recipients: 4 r@/);
    const settled = await ledger.settle({
      refresh: () => {
        ledger.deliver("4", "r@example.com");
      },
    });
    assert.deepEqual(settled.lost, []);
  });
});
