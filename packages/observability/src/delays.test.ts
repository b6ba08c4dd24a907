import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatDelay, formatDelays } from "./delays.ts";

describe("delays", () => {
  const shown = (seconds: number, decimals = 2) => formatDelay(seconds * 1000, decimals);

  it("delivery 8: have two significant digits, at most two decimals, no trailing zeros", () => {
    assert.deepEqual(
      [0, 0.004, 0.005, 0.07, 0.3, 0.304, 1.2, 1.24, 9.96, 12, 12.4, 99.6, 312, 312.6].map(
        (seconds) => shown(seconds),
      ),
      ["0", "0", "0.01", "0.07", "0.3", "0.3", "1.2", "1.2", "10", "12", "12", "100", "312", "313"],
    );
  });

  it("delay_logging_resolution_limit sets the decimals", () => {
    assert.equal(shown(0.00123, 6), "0.0012");
    assert.equal(shown(0.00123, 3), "0.001");
    assert.equal(shown(1.26, 0), "1");
  });

  it("delivery 8: delay is the sum of delays=a/b/c/d, and a step of the clock counts as 0", () => {
    const delays = { beforeActive: 1000, inActive: 20, connectionSetup: 300, transmission: -5 };
    assert.equal(formatDelays(delays, 2), "delay=1.3, delays=1/0.02/0.3/0");
  });
});
