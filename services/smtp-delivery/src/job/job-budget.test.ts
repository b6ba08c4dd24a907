import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { mayTryNext } from "./job-budget.ts";

const fresh = { runningMs: 0, hasSiteTrouble: false, isDraining: false };

describe("the budget of a job", () => {
  it("PROTOTYPE 6.6: takes nothing more after trouble with the site", () => {
    assert.equal(mayTryNext(fresh, 3), true);
    assert.equal(mayTryNext({ ...fresh, hasSiteTrouble: true }, 3), false);
  });

  it("PROTOTYPE 6.6: takes nothing more after 5 s, but always one", () => {
    assert.equal(mayTryNext({ ...fresh, runningMs: 4_999 }, 1), true);
    assert.equal(mayTryNext({ ...fresh, runningMs: 5_000 }, 1), false);
    assert.equal(mayTryNext({ ...fresh, runningMs: 60_000 }, 0), true);
  });

  it("P10 takes nothing more, not even the first, when the process drains", () => {
    assert.equal(mayTryNext({ ...fresh, isDraining: true }, 0), false);
  });
});
