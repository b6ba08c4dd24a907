import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseQueueId } from "@postmq/vocabulary";
import { openMessage } from "./message.ts";
import type { ActiveMessage } from "./message.ts";
import { crashReason, decide } from "./settlement.ts";

const limits = {
  backoff: { minimalMs: 300, maximalMs: 4000 },
  lifetime: { maximalMs: 100_000, bounceMs: 50_000 },
  crashLimit: 3,
};

function message(changes: Partial<ActiveMessage>): ActiveMessage {
  const id = parseQueueId("M1");
  assert(id !== undefined);
  const opened = openMessage(
    {
      id,
      generation: 7,
      arrivalMs: 0,
      createdMs: 0,
      envelope: { sender: "s@x.example", origin: "smtp" },
      sizeBytes: 1,
      totalRecipients: 10,
      undoneRecipients: 1,
      unreportedRecipients: 0,
      recipients: [],
      nextRecipient: 10,
      attempts: 0,
      crashes: 0,
      isFinished: false,
      isMoreBehind: false,
      openRequests: [],
    },
    0,
  );
  return { ...opened, ...changes };
}

function decided(changes: Partial<ActiveMessage>, nowMs = 1000): string {
  const decision = decide(message(changes), nowMs, limits);
  if (decision.kind === "read") return `read from ${decision.from}`;
  const { settlement } = decision;
  assert.equal(settlement.generation, 7);
  switch (settlement.action) {
    case "defer":
      return `defer until ${settlement.dueMs}${settlement.countAttempt ? ", tried" : ""}`;
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
});
