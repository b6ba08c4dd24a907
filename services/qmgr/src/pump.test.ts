import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Pump } from "./pump.ts";

describe("Pump", () => {
  it("runs one step at a time and takes what arrives meanwhile in one further step", async () => {
    const gate = Promise.withResolvers<void>();
    const batches: number[] = [];
    let waiting = 1;
    let running = 0;
    const pump = new Pump(async () => {
      running += 1;
      assert.equal(running, 1);
      batches.push(waiting);
      waiting = 0;
      await gate.promise;
      running -= 1;
      return false;
    }, unexpected);
    pump.wake();
    await Promise.resolve();
    for (let n = 0; n < 5; n += 1) {
      waiting += 1;
      pump.wake();
    }
    gate.resolve();
    await turn();
    assert.deepEqual(batches, [1, 5]);
    await pump.stop();
  });

  it("goes on by itself while a step says that there is more", async () => {
    let left = 3;
    const pump = new Pump(() => {
      left -= 1;
      return Promise.resolve(left > 0);
    }, unexpected);
    pump.wake();
    await turn();
    assert.equal(left, 0);
  });

  it("stops and tells when a step fails", async () => {
    const errors: unknown[] = [];
    let steps = 0;
    const pump = new Pump(
      () => {
        steps += 1;
        return Promise.reject(new Error("fenced"));
      },
      (error) => errors.push(error),
    );
    pump.wake();
    await turn();
    pump.wake();
    await turn();
    assert.equal(steps, 1);
    assert.equal(errors.length, 1);
  });
});

function unexpected(error: unknown): never {
  throw error;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
