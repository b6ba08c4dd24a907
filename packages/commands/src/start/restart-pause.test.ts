import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { nextRestartPauseMs } from "./restart-pause.ts";

describe("nextRestartPauseMs", () => {
  it("grows with each quick death, to 5 s at most", () => {
    const pauses: number[] = [];
    let pauseMs = 0;
    for (let death = 0; death < 9; death++)
      pauses.push((pauseMs = nextRestartPauseMs(pauseMs, 50)));
    assert.deepEqual(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
  });

  it("starts over after a run that went well", () => {
    assert.equal(nextRestartPauseMs(5_000, 10_000), 100);
    assert.equal(nextRestartPauseMs(5_000, 9_999), 5_000);
  });
});
