import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { InFlowDelay } from "./in-flow-delay.ts";

const dry = { flowIsDry: () => true };

describe("InFlowDelay", () => {
  it("S33 lets a message through at once while tokens are left, and always if in_flow_delay is 0", () => {
    assert.equal(new InFlowDelay(1000, { flowIsDry: () => false }).wait(), undefined);
    assert.equal(new InFlowDelay(0, dry).wait(), undefined);
  });

  it("S33 makes each message wait by itself, and lets it go on though no token came", async () => {
    const delay = new InFlowDelay(40, dry);
    const startMs = performance.now();
    await Promise.all([delay.wait(), delay.wait(), delay.wait()]);
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs >= 39, `${tookMs} ms`);
  });

  it("ends all waits when the process is to end, and begins none", async () => {
    const delay = new InFlowDelay(60_000, dry);
    const waits = [delay.wait(), delay.wait()];
    delay.end();
    await Promise.all(waits.filter((wait) => wait !== undefined));
    assert.equal(delay.wait(), undefined);
  });
});
