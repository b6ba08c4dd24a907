import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { enhancedStatus } from "@postmq/vocabulary";
import type { RecipientOutcome } from "@postmq/vocabulary";

import { statusFilter } from "./status-filter.ts";

const failed: RecipientOutcome = {
  recipient: 3,
  kind: "failed",
  status: enhancedStatus("5.7.1"),
  reason: "no such luck",
};

function filtered(outcome: RecipientOutcome, value: string | undefined) {
  const problems: string[] = [];
  const asked: string[] = [];
  const lookup = (key: string) => {
    asked.push(key);
    return value;
  };
  const { kind, status, reason } = statusFilter(lookup, (text) => problems.push(text))(outcome);
  return { shown: `${kind} ${status} ${reason}`, problems, asked };
}

describe("status filters", () => {
  it("D14: look for status and text, and change nothing that they do not know", () => {
    const { shown, asked } = filtered(failed, undefined);
    assert.deepEqual(asked, ["5.7.1 no such luck"]);
    assert.equal(shown, "failed 5.7.1 no such luck");
  });

  it("D14: turn a bounce into a deferral, and back", () => {
    assert.equal(filtered(failed, "4.7.1 wait a while").shown, "deferred 4.7.1 wait a while");
    const deferred = { ...failed, kind: "deferred", status: enhancedStatus("4.0.0") } as const;
    assert.equal(filtered(deferred, "5.0.0 never").shown, "failed 5.0.0 never");
  });

  it("D14: change the words of a success, but make none and undo none", () => {
    const sent = { ...failed, kind: "sent", status: enhancedStatus("2.0.0") } as const;
    assert.equal(filtered(sent, "2.5.0 fine").shown, "sent 2.5.0 fine");
    assert.equal(filtered(sent, "5.0.0 no").shown, "sent 2.0.0 no such luck");
    const made = filtered(failed, "2.0.0 fine");
    assert.equal(made.shown, "failed 5.7.1 no such luck");
    assert.equal(made.problems.length, 1);
  });

  it("D14: leave an outcome as it is when the value makes no sense", () => {
    for (const value of ["", "5.7.1", "later please", "9.9.9 x"]) {
      const { shown, problems } = filtered(failed, value);
      assert.equal(shown, "failed 5.7.1 no such luck", value);
      assert.equal(problems.length, 1, value);
    }
  });
});
