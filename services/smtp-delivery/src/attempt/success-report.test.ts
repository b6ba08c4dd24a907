import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { successReportFor } from "./success-report.ts";
import type { SuccessFacts } from "./success-report.ts";

const plain: SuccessFacts = {
  offersDsn: false,
  isLmtp: false,
  assumesFinal: false,
  confirmsDelay: false,
};

describe("success reports", () => {
  it("D31: one is owed by us when the next hop does not speak DSN", () => {
    assert.equal(successReportFor({ notify: ["SUCCESS"] }, plain), "relayed");
    assert.equal(successReportFor({ notify: ["SUCCESS", "FAILURE"] }, plain), "relayed");
  });

  it("D31: a next hop with DSN takes the duty over", () => {
    const facts = { ...plain, offersDsn: true };
    assert.equal(successReportFor({ notify: ["SUCCESS"] }, facts), undefined);
  });

  it("D30: nobody else is told of a success", () => {
    assert.equal(successReportFor({}, plain), undefined);
    assert.equal(successReportFor({ notify: ["FAILURE", "DELAY"] }, plain), undefined);
    assert.equal(successReportFor({ notify: ["NEVER"] }, plain), undefined);
  });

  it("D31: an LMTP server without DSN may count as the last one", () => {
    const facts = { ...plain, isLmtp: true };
    assert.equal(successReportFor({ notify: ["SUCCESS"] }, facts), "relayed");
    const final = { ...facts, assumesFinal: true };
    assert.equal(successReportFor({ notify: ["SUCCESS"] }, final), "delivered");
    assert.equal(successReportFor({ notify: ["SUCCESS"] }, { ...final, isLmtp: false }), "relayed");
  });

  it("S13: who was warned of a delay hears that it is over, whatever the next hop speaks", () => {
    const facts = { ...plain, confirmsDelay: true, offersDsn: true };
    assert.equal(successReportFor({}, facts), "relayed");
    assert.equal(successReportFor({ notify: ["DELAY"] }, facts), "relayed");
    assert.equal(successReportFor({ notify: ["FAILURE"] }, facts), undefined);
    assert.equal(successReportFor({ notify: ["NEVER"] }, facts), undefined);
  });
});
