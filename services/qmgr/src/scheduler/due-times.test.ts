import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DueTimes } from "./due-times.ts";

describe("DueTimes", () => {
  it("S6 lets a message be due exactly after its rest while few fall due together", () => {
    const times = new DueTimes(() => 0.999);
    for (let n = 0; n < 100; n += 1) assert.equal(times.add(1000, 300_000), 301_000);
  });

  it("S6 spreads those above a hundred in a second over up to a twentieth of their rest, never earlier", () => {
    let next = 0;
    const times = new DueTimes(() => (next += 0.0001) % 1);
    const due = Array.from({ length: 5000 }, () => times.add(1000, 300_000));
    const spread = due.slice(100);
    assert(spread.every((ms) => ms > 301_000 && ms <= 301_000 + 15_000));
    const seconds = Map.groupBy(due, (ms) => Math.ceil(ms / 1000));
    assert(seconds.size > 7, `${seconds.size} seconds`);
  });

  it("S6 counts each second by itself", () => {
    const times = new DueTimes(() => 0.5);
    for (let n = 0; n < 150; n += 1) times.add(0, 300_000);
    assert.equal(times.add(1000, 300_000), 301_000);
    assert.notEqual(times.add(0, 300_000), 300_000);
  });

  it("remembers no seconds that are long past", () => {
    const times = new DueTimes(() => 0.5);
    for (let second = 0; second < 10_000; second += 1) times.add(second * 1000, 300_000);
    assert(times.size <= 400, `${times.size} seconds`);
  });
});
