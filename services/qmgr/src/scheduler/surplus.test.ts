import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { roomForRecall, shareOfActive } from "./surplus.ts";

describe("shares of active", () => {
  it("S31 a destination may hold a fifth, and at least one message", () => {
    assert.equal(shareOfActive(20_000), 4000);
    assert.equal(shareOfActive(9), 1);
    assert.equal(shareOfActive(1), 1);
  });

  it("S31 brings back as many as have room, and only when it is worth while or urgent", () => {
    const of = (held: number, away: number, isUrgent: boolean) =>
      roomForRecall({ held, away, share: 100 }, isUrgent);
    assert.equal(of(51, 1000, false), 0);
    assert.equal(of(50, 1000, false), 50);
    assert.equal(of(51, 1000, true), 49);
    assert.equal(of(0, 3, false), 3);
    assert.equal(of(100, 1000, true), 0);
    assert.equal(of(130, 1000, true), 0);
  });
});
