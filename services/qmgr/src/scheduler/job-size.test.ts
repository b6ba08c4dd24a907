import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { jobSize } from "./job-size.ts";

const idle = { waiting: 1, window: 20, totalWaiting: 1, capacity: 50, msPerRequest: 2 };

describe("jobSize", () => {
  it("makes each request its own job while the window has room for all", () => {
    assert.equal(jobSize({ ...idle, waiting: 15, totalWaiting: 15 }), 1);
  });

  it("spreads a destination's backlog over its window", () => {
    assert.equal(jobSize({ ...idle, waiting: 200, totalWaiting: 200 }), 10);
  });

  it("grows with the whole backlog when many destinations share the workers", () => {
    assert.equal(jobSize({ ...idle, waiting: 40, totalWaiting: 1000 }), 20);
  });

  it("lets requests go side by side at a destination whose speed is not known, whatever the backlog elsewhere", () => {
    const unknown = { waiting: 16, window: 5, totalWaiting: 5000, msPerRequest: undefined };
    assert.equal(jobSize({ ...idle, ...unknown }), 4);
  });

  it("never takes more than is waiting, and at least one", () => {
    assert.equal(jobSize({ ...idle, waiting: 3, totalWaiting: 10_000 }), 3);
    assert.equal(jobSize({ ...idle, waiting: 1, totalWaiting: 1, msPerRequest: 60_000 }), 1);
  });

  it("holds a job to some 200 ms of work at the destination's pace", () => {
    const busy = { ...idle, waiting: 5000, totalWaiting: 5000 };
    assert.equal(jobSize({ ...busy, msPerRequest: 20 }), 10);
    assert.equal(jobSize({ ...busy, msPerRequest: 1000 }), 2);
    assert.equal(jobSize({ ...busy, msPerRequest: undefined }), 10);
    assert.equal(jobSize({ ...busy, msPerRequest: 0.1 }), 100);
  });

  it("does without a window when the limit is 0 (none)", () => {
    assert.equal(jobSize({ ...idle, waiting: 100, totalWaiting: 100, window: Infinity }), 2);
  });
});
