import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { isExpired } from "./lifetime.ts";

describe("isExpired", () => {
  const limits = { maximalMs: 1000, bounceMs: 400 };

  it("S10 gives up at create time plus maximal_queue_lifetime, not before", () => {
    assert.equal(isExpired({ createdMs: 5000, sender: "a@x" }, 5999, limits), false);
    assert.equal(isExpired({ createdMs: 5000, sender: "a@x" }, 6000, limits), true);
  });

  it("S10 holds the null sender to bounce_queue_lifetime, capped by maximal_queue_lifetime", () => {
    assert.equal(isExpired({ createdMs: 5000, sender: "" }, 5399, limits), false);
    assert.equal(isExpired({ createdMs: 5000, sender: "" }, 5400, limits), true);
    const wrongWay = { maximalMs: 1000, bounceMs: 9000 };
    assert.equal(isExpired({ createdMs: 5000, sender: "" }, 6000, wrongWay), true);
  });

  it("S10 means one attempt only by a lifetime of 0", () => {
    const once = { maximalMs: 0, bounceMs: 0 };
    assert.equal(isExpired({ createdMs: 5000, sender: "a@x" }, 5000, once), true);
  });
});
