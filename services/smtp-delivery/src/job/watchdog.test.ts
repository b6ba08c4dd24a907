import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";

import { startWatchdog } from "./watchdog.ts";

describe("the watchdog", () => {
  it("S35: bites when the time is over, but not while outcomes wait for Redis", () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      let holdsFacts = true;
      using _watchdog = startWatchdog({
        limitMs: 5_000,
        what: "the delivery of x",
        holdsFacts: () => holdsFacts,
      });
      mock.timers.tick(8_000);
      holdsFacts = false;
      assert.throws(() => mock.timers.tick(1_000), /x has taken longer than daemon_timeout/);
    } finally {
      mock.timers.reset();
    }
  });

  it("S35: does nothing once the delivery has ended", () => {
    mock.timers.enable({ apis: ["setTimeout"] });
    try {
      const watchdog = startWatchdog({ limitMs: 5_000, what: "x", holdsFacts: () => false });
      watchdog[Symbol.dispose]();
      mock.timers.tick(10_000);
    } finally {
      mock.timers.reset();
    }
  });
});
