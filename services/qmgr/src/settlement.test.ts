import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ActiveMessage } from "./message.ts";
import { message as anyMessage } from "./scheduler/scheduling.test-support.ts";
import { crashReason, decide } from "./settlement.ts";

const limits = {
  backoff: { minimalMs: 300, maximalMs: 4000 },
  lifetime: { maximalMs: 100_000, bounceMs: 50_000 },
  delayWarningMs: 0,
  dueAt: (nowMs: number, restMs: number) => nowMs + restMs,
  crashLimit: 3,
};

function message(changes: Partial<ActiveMessage>): ActiveMessage {
  const opened = anyMessage(
    {},
    { generation: 7, totalRecipients: 10, undoneRecipients: 1, nextRecipient: 10 },
  );
  return { ...opened, ...changes };
}

function decided(changes: Partial<ActiveMessage>, nowMs = 1000, by = limits): string {
  const decision = decide(message(changes), nowMs, by);
  if (decision.kind === "read") return `read from ${decision.from}`;
  const { settlement } = decision;
  assert.equal(settlement.generation, 7);
  switch (settlement.action) {
    case "defer":
      return [
        `defer until ${settlement.dueMs}`,
        ...(settlement.countAttempt ? ["tried"] : []),
        ...(settlement.surplusOf === undefined ? [] : [`surplus of ${settlement.surplusOf}`]),
      ].join(", ");
    case "report":
      return `report ${settlement.kind}`;
    case "corrupt":
      return `corrupt: ${settlement.reason}`;
    case "remove":
      return "remove";
  }
}

describe("decide", () => {
  it("Q7 removes a message of which nothing is left", () => {
    assert.equal(decided({}), "remove");
  });

  it("Q5 reports failures before anything is said about what is deferred", () => {
    assert.equal(decided({ unreported: 1, deferred: 3, wasTried: true }), "report failure");
  });

  it("D31 reports successes after failures, and before it is decided about what is deferred", () => {
    const both = { unreportedSuccesses: 1, deferred: 1, wasTried: true };
    assert.equal(decided({ ...both, unreported: 1 }), "report failure");
    assert.equal(decided(both), "report success");
    assert.equal(decided(both, 100_000), "report success");
    assert.equal(decided({ unreportedSuccesses: 1 }), "report success");
    assert.equal(decided({ unreportedSuccesses: 1, nextRecipient: 4 }), "read from 4");
    assert.equal(decided({ ...both, isReportLate: true }), "defer until 2000, tried");
  });

  it("S5 defers by age", () => {
    assert.equal(decided({ deferred: 1, wasTried: true }, 1000), "defer until 2000, tried");
    assert.equal(decided({ deferred: 1, wasTried: true }, 100), "defer until 400, tried");
  });

  it("S10 returns what is too old, the null sender's mail sooner", () => {
    assert.equal(decided({ deferred: 1, wasTried: true }, 100_000), "report expired");
    assert.equal(decided({ deferred: 1, wasTried: true }, 60_000), "defer until 64000, tried");
    assert.equal(decided({ deferred: 1, wasTried: true, sender: "" }, 60_000), "report expired");
  });

  it("S11 gives up nothing without an attempt in this run", () => {
    assert.equal(decided({ deferred: 1 }, 100_000), "defer until 104000");
  });

  it("Q6 defers when the report was not queued in time", () => {
    assert.equal(decided({ unreported: 1, isReportLate: true }), "defer until 2000");
  });

  it("D33 reads all recipients before it asks for a report", () => {
    assert.equal(decided({ unreported: 1, nextRecipient: 4 }), "read from 4");
  });

  it("counts from the record when in doubt, before anything else", () => {
    assert.equal(decided({ mustRecount: true, unreported: 1, deferred: 1 }), "read from 0");
  });

  it("parks what must be parked, whatever is left to do", () => {
    const changes = { corruptReason: "unreadable", mustRecount: true, deferred: 1 };
    assert.equal(decided(changes), "corrupt: unreadable");
  });
});

describe("crashReason", () => {
  it("P8 allows two crashes in company and crash_limit alone", () => {
    assert.equal(crashReason(4, 3), undefined);
    assert.match(crashReason(5, 3) ?? "", /5 delivery processes crashed/);
  });

  it("S12 gives up what an operator wants returned, with the reasons that it has", () => {
    const changes = { deferred: 1, wasTried: true, isForceExpired: true };
    assert.equal(decided(changes, 100), "report expired");
  });

  it("S13 warns once of a delay, when it is long enough and something is still to be tried", () => {
    const warning = { ...limits, delayWarningMs: 5000 };
    const late = { deferred: 1, wasTried: true };
    assert.equal(decided(late, 4000, warning), "report delay");
    assert.equal(decided(late, 3999, warning), "defer until 7998, tried");
    assert.equal(decided({ ...late, wasWarned: true }, 4000, warning), "defer until 8000, tried");
    assert.equal(decided({ ...late, sender: "" }, 4000, warning), "defer until 8000, tried");
    assert.equal(decided(late, 100_000, warning), "report expired");
    assert.equal(decided(late, 4000), "defer until 8000, tried");
  });

  it("S31 sends a message that waits for room back without an attempt", () => {
    const waiting = { surplusOf: "smtp:x" };
    assert.equal(decided(waiting, 1000), "defer until 1300, surplus of smtp:x");
    const partly = { ...waiting, deferred: 1, wasTried: true };
    assert.equal(decided(partly, 1000), "defer until 2000, tried");
    assert.equal(decided(partly, 1_000_000), "defer until 1004000, tried");
  });
});
