import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { wantsReport, whyNobodyIsTold } from "./who-is-told.ts";

describe("wantsReport", () => {
  it("D30 tells of a recipient without NOTIFY, and of one with FAILURE", () => {
    assert.equal(wantsReport({}, "failure"), true);
    assert.equal(wantsReport({ notify: [] }, "expired"), true);
    assert.equal(wantsReport({ notify: ["DELAY", "FAILURE"] }, "failure"), true);
  });

  it("D30 tells nothing of NEVER, nor where FAILURE was not asked for", () => {
    assert.equal(wantsReport({ notify: ["NEVER"] }, "failure"), false);
    assert.equal(wantsReport({ notify: ["SUCCESS", "DELAY"] }, "expired"), false);
  });

  it("D30 warns of a delay without NOTIFY, and with DELAY, and else not", () => {
    assert.equal(wantsReport({}, "delay"), true);
    assert.equal(wantsReport({ notify: ["FAILURE", "DELAY"] }, "delay"), true);
    assert.equal(wantsReport({ notify: ["FAILURE"] }, "delay"), false);
    assert.equal(wantsReport({ notify: ["NEVER"] }, "delay"), false);
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
