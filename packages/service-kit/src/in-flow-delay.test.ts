import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { waitFor } from "@postmq/testing";

import { InFlowDelay } from "./in-flow-delay.ts";
import type { Flow } from "./in-flow-delay.ts";

const dry: Flow = { flowIsDry: () => true, flowTokens: async () => 0 };
const plenty: Flow = { flowIsDry: () => false, flowTokens: () => assert.fail("asked for nobody") };

/** Tokens that the test puts there, given out once each. */
class Counted implements Flow {
  left = 0;
  readonly askedAtMs: number[] = [];

  flowIsDry(): boolean {
    return true;
  }

  async flowTokens(): Promise<number> {
    this.askedAtMs.push(performance.now());
    const { left } = this;
    this.left = 0;
    return left;
  }
}

describe("InFlowDelay", () => {
  it("S33 lets a message through at once while tokens are left, and always if in_flow_delay is 0", () => {
    assert.equal(new InFlowDelay(1000, plenty).wait(), undefined);
    assert.equal(new InFlowDelay(0, dry).wait(), undefined);
  });

  it("S33 makes each message wait by itself, and lets it go on though no token came", async () => {
    const delay = new InFlowDelay(40, dry);
    const startMs = performance.now();
    await Promise.all([delay.wait(), delay.wait(), delay.wait()]);
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs >= 39, `${tookMs} ms`);
  });

  it("S33 lets as many go as tokens have come, first come first, long before in_flow_delay", async () => {
    const flow = new Counted();
    const delay = new InFlowDelay(60_000, flow);
    const gone: number[] = [];
    const waits = [0, 1, 2, 3, 4].map(async (n) => {
      await delay.wait();
      gone.push(n);
    });
    flow.left = 2;
    await waitFor(() => gone.length === 2);
    const asked = flow.askedAtMs.length;
    await waitFor(() => flow.askedAtMs.length > asked + 1);
    assert.deepEqual(gone, [0, 1]);
    flow.left = 9;
    await Promise.all(waits);
    assert.deepEqual(gone, [0, 1, 2, 3, 4]);
  });

  it("S33 lets none overtake those who wait", async () => {
    const flow = new Counted();
    let isDry = true;
    flow.flowIsDry = () => isDry;
    const delay = new InFlowDelay(60_000, flow);
    const first = delay.wait();
    isDry = false;
    const second = delay.wait();
    assert.notEqual(second, undefined);
    flow.left = 2;
    await Promise.all([first, second]);
    const third = delay.wait();
    delay.end();
    assert.equal(third, undefined);
  });

  it("S33 asks one question at a time, 20 ms apart, however many wait, and none when nobody does", async () => {
    const flow = new Counted();
    const delay = new InFlowDelay(60_000, flow);
    const waits = Array.from({ length: 50 }, () => delay.wait());
    await waitFor(() => flow.askedAtMs.length >= 4);
    flow.left = 50;
    await Promise.all(waits.filter((wait) => wait !== undefined));
    const { askedAtMs } = flow;
    const asked = askedAtMs.length;
    for (let i = 1; i < asked; i++) {
      const apartMs = (askedAtMs[i] ?? 0) - (askedAtMs[i - 1] ?? 0);
      assert.ok(apartMs >= 18, `${apartMs} ms`);
    }
    flow.left = 1;
    const nextMs = performance.now();
    await delay.wait();
    assert.equal(askedAtMs.length, asked + 1);
    assert.ok((askedAtMs.at(-1) ?? 0) >= nextMs);
  });

  it("S33 waits no longer than in_flow_delay for an answer that does not come", async () => {
    const silent: Flow = { flowIsDry: () => true, flowTokens: () => new Promise(() => undefined) };
    const delay = new InFlowDelay(40, silent);
    await delay.wait();
    await delay.wait();
  });

  it("ends all waits when the process is to end, and begins none", async () => {
    const delay = new InFlowDelay(60_000, dry);
    const waits = [delay.wait(), delay.wait()];
    delay.end();
    await Promise.all(waits.filter((wait) => wait !== undefined));
    assert.equal(delay.wait(), undefined);
  });
});
