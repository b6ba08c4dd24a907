import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { drainGraceMs, watchDrain } from "./drain-deadline.ts";

describe("watchDrain", () => {
  it("P10 gives up on a drain after its grace period, which is shorter than the 30 s of those who kill", (test) => {
    test.mock.timers.enable({ apis: ["setTimeout"] });
    const controller = new AbortController();
    const givenUp = test.mock.fn();
    watchDrain(controller.signal, givenUp);
    test.mock.timers.tick(100 * drainGraceMs);
    controller.abort();
    test.mock.timers.tick(drainGraceMs - 1);
    assert.equal(givenUp.mock.callCount(), 0);
    test.mock.timers.tick(1);
    assert.equal(givenUp.mock.callCount(), 1);
    assert.ok(drainGraceMs < 30_000);
  });
});
