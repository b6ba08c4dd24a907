import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ConcurrencyFeedback } from "@postmq/config";
import { afterGood, afterTrouble, freshWindow, initialWindow, revivedWindow } from "./feedback.ts";
import type { WindowRules, WindowState } from "./feedback.ts";
import { destinationRules } from "./scheduling.test-support.ts";

const never: WindowRules = { ...destinationRules, failedCohortLimit: 0 };

function fixed(value: number): ConcurrencyFeedback {
  return { kind: "fixed", value };
}

/** The windows after each of so many troubles in a row. */
function troubles(count: number, rules: WindowRules, start = freshWindow(rules)) {
  return walk(count, start, (state) => afterTrouble(state, rules));
}

/** The windows after each of so many good reports, with all places taken. */
function goods(count: number, rules: WindowRules, start = freshWindow(rules)) {
  return walk(count, start, (state) => afterGood(state, rules, state.window));
}

function walk(count: number, start: WindowState, step: (state: WindowState) => WindowState) {
  const windows: number[] = [];
  let state = start;
  for (let n = 0; n < count && state.window > 0; n += 1) {
    state = step(state);
    windows.push(state.window);
  }
  return windows;
}

describe("a destination's window", () => {
  it("S23 begins at initial_destination_concurrency, lowered to the limit if larger", () => {
    assert.equal(initialWindow(destinationRules), 5);
    assert.equal(initialWindow({ ...destinationRules, concurrencyLimit: 5 }), 5);
    assert.equal(initialWindow({ ...destinationRules, concurrencyLimit: 4 }), 4);
    assert.equal(initialWindow({ ...destinationRules, concurrencyLimit: 0 }), 5);
  });

  it("S25 grows by one with each good report while all places are taken, up to the limit", () => {
    assert.deepEqual(goods(3, destinationRules), [6, 7, 8]);
    assert.equal(goods(15, destinationRules).at(-1), 20);
    assert.deepEqual(goods(17, destinationRules).slice(-3), [20, 20, 20]);
    assert.equal(goods(100, { ...destinationRules, concurrencyLimit: 0 }).at(-1), 105);
  });

  it("S25 grows only while the window is below busy + initial", () => {
    const at10 = { ...freshWindow(destinationRules), window: 10 };
    assert.equal(afterGood(at10, destinationRules, 6).window, 11);
    assert.equal(afterGood(at10, destinationRules, 5).window, 10);
  });

  it("S25 forgets failed cohorts with one good report, even at the limit", () => {
    const worn = { window: 20, success: 0, failure: 0, failedCohorts: 0.9 };
    assert.equal(afterGood(worn, destinationRules, 20).failedCohorts, 0);
    assert.equal(afterGood({ ...worn, window: 5 }, destinationRules, 5).failedCohorts, 0);
  });

  it("S25 a step up ends what was counted towards a step down", () => {
    const half = { window: 5, success: 0, failure: 0.5, failedCohorts: 0 };
    assert.equal(afterGood(half, destinationRules, 5).failure, 0);
    const slow = { ...destinationRules, positiveFeedback: fixed(0.25) };
    assert.equal(afterGood(half, slow, 5).failure, 0.5, "no step yet");
  });

  it("S26 walks 5, 4, 3, 2, dead by the defaults: at the fourth failure in a row", () => {
    assert.deepEqual(troubles(9, destinationRules), [4, 3, 2, 0]);
    let state = freshWindow(destinationRules);
    const cohorts: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      state = afterTrouble(state, destinationRules);
      cohorts.push(Number(state.failedCohorts.toFixed(3)));
    }
    assert.deepEqual(cohorts, [0.2, 0.45, 0.783, 1.283]);
  });

  it("S26 is dead at the first failure with a window of one", () => {
    assert.deepEqual(troubles(1, { ...destinationRules, initialConcurrency: 1 }), [0]);
  });

  it("S26 needs as many cohorts as the limit says, to the billionth", () => {
    const steady = { ...destinationRules, negativeFeedback: fixed(0), initialConcurrency: 3 };
    assert.deepEqual(troubles(9, { ...steady, failedCohortLimit: 1 }), [3, 3, 0]);
    assert.deepEqual(troubles(9, { ...steady, failedCohortLimit: 2 }), [3, 3, 3, 3, 3, 0]);
    const thirds = { ...never, negativeFeedback: fixed(2 / 3) };
    assert.deepEqual(troubles(4, thirds), [4, 3, 3, 2], "two steps down in three troubles");
    const sevenths = { ...steady, initialConcurrency: 7 };
    assert.equal(troubles(9, sevenths).length, 7);
  });

  it("S26 a step down ends what was counted towards a step up", () => {
    const half = { window: 5, success: 0.5, failure: 0, failedCohorts: 0 };
    assert.equal(afterTrouble(half, never).success, 0);
    const slow = { ...never, negativeFeedback: fixed(0.25) };
    assert.equal(afterTrouble({ ...half, failure: 0.5 }, slow).success, 0.5, "no step yet");
  });

  it("S27 is never dead with a failed_cohort_limit of 0, and the window never below one", () => {
    assert.deepEqual(troubles(8, never), [4, 3, 2, 1, 1, 1, 1, 1]);
  });

  it("S27 grows at the end of 1/g good reports", () => {
    assert.deepEqual(
      goods(8, { ...destinationRules, positiveFeedback: fixed(0.25) }),
      [5, 5, 5, 6, 6, 6, 6, 7],
    );
    assert.deepEqual(goods(3, { ...destinationRules, positiveFeedback: fixed(0) }), [5, 5, 5]);
  });

  it("S27 shrinks at the start of 1/f troubles", () => {
    assert.deepEqual(
      troubles(9, { ...never, negativeFeedback: fixed(0.25) }),
      [4, 4, 4, 4, 3, 3, 3, 3, 2],
    );
    assert.deepEqual(troubles(3, { ...never, negativeFeedback: fixed(0) }), [5, 5, 5]);
  });

  it("S27 takes 1/concurrency and 1/sqrt_concurrency of the window as it is", () => {
    const byWindow = { kind: "concurrency", numerator: 1 } as const;
    assert.deepEqual(
      goods(12, { ...destinationRules, positiveFeedback: byWindow }),
      [5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7, 7],
      "5 for the first step, 6 for the second, rounded by half of one",
    );
    const byRoot = { kind: "sqrtConcurrency", numerator: 1 } as const;
    const of16 = { ...destinationRules, initialConcurrency: 16, positiveFeedback: byRoot };
    assert.deepEqual(goods(4, of16), [16, 16, 16, 17]);
  });

  it("S28 comes back with as much as runs, or as at first, and nothing counted", () => {
    const clean = { success: 0, failure: 0, failedCohorts: 0 };
    assert.deepEqual(revivedWindow(destinationRules, 0), { window: 5, ...clean });
    assert.deepEqual(revivedWindow(destinationRules, 3), { window: 3, ...clean });
  });
});
