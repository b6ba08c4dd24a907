import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { wantsFailureReport, whyNobodyIsTold } from "./who-is-told.ts";

describe("wantsFailureReport", () => {
  it("D30 tells of a recipient without NOTIFY, and of one with FAILURE", () => {
    assert.equal(wantsFailureReport({}), true);
    assert.equal(wantsFailureReport({ notify: [] }), true);
    assert.equal(wantsFailureReport({ notify: ["DELAY", "FAILURE"] }), true);
  });

  it("D30 tells nothing of NEVER, nor where FAILURE was not asked for", () => {
    assert.equal(wantsFailureReport({ notify: ["NEVER"] }), false);
    assert.equal(wantsFailureReport({ notify: ["SUCCESS"] }), false);
  });
});

describe("whyNobodyIsTold", () => {
  const names = { myorigin: "mail.example", doubleBounceSender: "double-bounce" };

  it("D29 never answers the null sender, by any of its names", () => {
    for (const sender of ["", "MAILER-DAEMON", "mailer-daemon@Mail.Example"]) {
      assert.notEqual(whyNobodyIsTold(sender, names), undefined, sender);
    }
  });

  it("D28 drops what a notice to the postmaster would bounce to", () => {
    assert.notEqual(whyNobodyIsTold("double-bounce@mail.example", names), undefined);
  });

  it("tells everybody else", () => {
    assert.equal(whyNobodyIsTold("mailer-daemon@elsewhere.example", names), undefined);
    assert.equal(whyNobodyIsTold("joe@mail.example", names), undefined);
  });
});
