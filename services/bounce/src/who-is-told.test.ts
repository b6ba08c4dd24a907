import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { ReportKind } from "@postmq/queue-store";
import type { Envelope, NotifyCondition } from "@postmq/vocabulary";

import { later, refused, relayed } from "./report/report-input.test-support.ts";
import { reportSettings } from "./report-settings.test-support.ts";
import { owedNotices, wantsReport } from "./who-is-told.ts";

const states = { failure: refused, expired: later, delay: later, success: relayed };

function owed(
  kind: ReportKind,
  fields: {
    readonly sender?: string;
    readonly ret?: Envelope["ret"];
    readonly requireTls?: boolean;
    readonly classes?: readonly string[];
    readonly hasVerpReports?: boolean;
    readonly verpDelimiters?: string;
    /** NOTIFY of each recipient; undefined: none given. */
    readonly notify?: readonly (readonly NotifyCondition[] | undefined)[];
  } = {},
) {
  const {
    sender = "sender@x.example",
    ret,
    requireTls = false,
    classes = [],
    hasVerpReports = true,
    verpDelimiters,
    notify = [undefined],
  } = fields;
  const recipients = notify.map((words, number) => ({
    ...states[kind],
    number,
    notify: words ?? [],
  }));
  const envelope: Envelope = {
    sender,
    origin: "smtp",
    requireTls,
    ...(ret === undefined ? {} : { ret }),
    ...(verpDelimiters === undefined ? {} : { verpDelimiters }),
  };
  const policy = { ...reportSettings, notifyClasses: new Set(classes), hasVerpReports };
  const { notices, whyNobody } = owedNotices({ kind, envelope, recipients }, policy);
  return {
    whyNobody,
    notices: notices.map(({ about, ...notice }) => ({
      ...notice,
      about: about.map(({ number }) => number),
    })),
  };
}

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

  it("D31 tells of every success that is owed, since delivery knows which are, but never of NEVER", () => {
    assert.equal(wantsReport({ notify: ["SUCCESS"] }, "success"), true);
    assert.equal(wantsReport({}, "success"), true);
    assert.equal(wantsReport({ notify: ["NEVER"] }, "success"), false);
  });
});

describe("owedNotices to a sender", () => {
  const report = { to: "sender", from: "", recipient: "sender@x.example", about: [0] };

  it("owes one report from the null sender, with the whole original after a failure", () => {
    assert.deepEqual(owed("failure").notices, [{ ...report, kind: "failure", content: "whole" }]);
    assert.deepEqual(owed("expired").notices, [{ ...report, kind: "expired", content: "whole" }]);
  });

  it("returns headers with RET=HDRS, and with delays and successes whatever RET says", () => {
    assert.equal(owed("failure", { ret: "HDRS" }).notices[0]?.content, "headers");
    assert.equal(owed("failure", { ret: "FULL" }).notices[0]?.content, "whole");
    assert.equal(owed("delay", { ret: "FULL" }).notices[0]?.content, "headers");
    assert.equal(owed("success", { ret: "FULL" }).notices[0]?.content, "headers");
  });

  it("returns headers of a message that may travel under TLS alone (RFC 8689 §5)", () => {
    const asked = { requireTls: true, ret: "FULL", classes: ["2bounce"] } as const;
    assert.equal(owed("failure", asked).notices[0]?.content, "headers");
    assert.equal(owed("failure", { ...asked, sender: "" }).notices[0]?.content, "headers");
  });

  it("D30 leaves out who is not to be told of, and a notice that would tell of nobody", () => {
    const notify = [["NEVER"], undefined, ["SUCCESS", "DELAY"], ["FAILURE"]] as const;
    assert.deepEqual(owed("failure", { notify }).notices[0]?.about, [1, 3]);
    assert.deepEqual(owed("delay", { notify }).notices[0]?.about, [1, 2]);
    const none = owed("failure", { notify: [["NEVER"], ["DELAY"]] });
    assert.deepEqual(none.notices, []);
    assert.match(none.whyNobody?.text ?? "", /NOTIFY/);
  });
});

describe("owedNotices about mail with VERP", () => {
  const both = { verpDelimiters: "+=", notify: [undefined, undefined] } as const;
  const shown = (kind: ReportKind, fields: Parameters<typeof owed>[1]) =>
    owed(kind, fields).notices.map(
      ({ to, recipient, about }) => `${to} ${recipient} ${about.join()}`,
    );
  // The recipient as the sender knows it: before rewriting.
  const named = "sender sender+info=near.example@x.example";

  it("D33 is a report of a failure for each recipient, to the sender that names it", () => {
    assert.deepEqual(shown("failure", both), [`${named} 0`, `${named} 1`]);
    assert.deepEqual(shown("expired", both), [`${named} 0`, `${named} 1`]);
  });

  it("D33 is one warning of the delay, and one report of success, to the sender as it is", () => {
    assert.deepEqual(shown("delay", both), ["sender sender@x.example 0,1"]);
    assert.deepEqual(shown("success", both), ["sender sender@x.example 0,1"]);
  });

  it("D33 is one report to the sender as it is under disable_verp_bounces", () => {
    const off = { ...both, hasVerpReports: false };
    assert.deepEqual(shown("failure", off), ["sender sender@x.example 0,1"]);
  });

  it("D28 D33 has a copy for the postmaster with each of them", () => {
    const copy = "postmaster bounces@example";
    const notify = [undefined, ["NEVER"] as const];
    assert.deepEqual(shown("failure", { ...both, notify, classes: ["bounce"] }), [
      `${named} 0`,
      `${copy} 0`,
      `${copy} 1`,
    ]);
  });

  it("D30 D33 is nothing when nobody is to be told", () => {
    const { notices, whyNobody } = owed("failure", { ...both, notify: [["NEVER"], ["DELAY"]] });
    assert.deepEqual(notices, []);
    assert.match(whyNobody?.text ?? "", /NOTIFY/);
  });

  it("D28 D33 names nobody when the sender is the null address, or double-bounce", () => {
    assert.deepEqual(shown("failure", { ...both, sender: "", classes: ["bounce"] }), [
      "postmaster double@pm.example 0,1",
    ]);
    assert.deepEqual(shown("failure", { ...both, sender: "double-bounce@example" }), []);
  });
});

describe("owedNotices to the postmaster", () => {
  const copy = {
    to: "postmaster",
    from: "double-bounce@example",
    about: [0],
    content: "headers",
  };

  it("D28 is no copy by default, nor with classes of other events", () => {
    for (const classes of [["resource", "software"], ["2bounce", "delay"], ["protocol"]]) {
      assert.equal(owed("failure", { classes }).notices.length, 1);
    }
    assert.equal(owed("delay", { classes: ["bounce", "2bounce"] }).notices.length, 1);
  });

  it("D28 is a copy of failures with the class bounce, of delays with delay, of successes never", () => {
    const failed = { ...copy, recipient: "bounces@example" };
    const classes = ["bounce", "delay"];
    assert.deepEqual(owed("failure", { classes }).notices[1], { ...failed, kind: "failure" });
    assert.deepEqual(owed("expired", { classes }).notices[1], { ...failed, kind: "expired" });
    assert.deepEqual(owed("delay", { classes }).notices[1], {
      ...copy,
      kind: "delay",
      recipient: "delays@example",
    });
    assert.equal(owed("success", { classes }).notices.length, 1);
  });

  it("D30 tells of all recipients, whatever NOTIFY says to the sender", () => {
    const { notices, whyNobody } = owed("failure", {
      classes: ["bounce"],
      notify: [["NEVER"], ["DELAY"]],
    });
    assert.deepEqual(
      notices.map(({ to, about }) => ({ to, about })),
      [{ to: "postmaster", about: [0, 1] }],
    );
    assert.equal(whyNobody, undefined);
  });
});

describe("owedNotices about mail from the null sender", () => {
  const names = ["", "MAILER-DAEMON", "mailer-daemon@Example"];

  it("D28 D29 is nothing by default, by any of its names", () => {
    for (const sender of names) {
      for (const kind of ["failure", "expired", "delay", "success"] as const) {
        const { notices, whyNobody } = owed(kind, { sender, classes: ["resource", "software"] });
        assert.deepEqual(notices, [], `${kind} ${sender}`);
        assert.equal(whyNobody?.isLoud, false);
      }
    }
  });

  it("D28 is a double bounce with all of it, with the class 2bounce or bounce", () => {
    for (const sender of names) {
      for (const classes of [["2bounce"], ["bounce"]]) {
        assert.deepEqual(owed("failure", { sender, classes, ret: "HDRS" }).notices, [
          {
            to: "postmaster",
            kind: "failure",
            from: "double-bounce@example",
            recipient: "double@pm.example",
            about: [0],
            content: "whole",
          },
        ]);
      }
    }
    assert.deepEqual(owed("failure", { sender: "", classes: ["delay"] }).notices, []);
  });

  it("D28 D31 tells the postmaster of its delay with the class delay, of its success with 2bounce", () => {
    const delay = owed("delay", { sender: "", classes: ["delay"] }).notices;
    assert.deepEqual(
      delay.map(({ from, recipient }) => ({ from, recipient })),
      [{ from: "double-bounce@example", recipient: "delays@example" }],
    );
    assert.deepEqual(owed("success", { sender: "", classes: ["bounce"] }).notices, []);
    const success = owed("success", { sender: "", classes: ["2bounce"] }).notices;
    assert.deepEqual(
      success.map(({ from, recipient, to }) => ({ from, recipient, to })),
      [{ from: "double-bounce@example", recipient: "double@pm.example", to: "sender" }],
    );
  });
});

describe("owedNotices about a notice to the postmaster", () => {
  const classes = ["bounce", "2bounce", "delay"];

  it("D28 is nothing at all, and loud when such a notice is lost", () => {
    for (const sender of ["double-bounce@example", "Double-Bounce@EXAMPLE", "double-bounce"]) {
      const lost = owed("failure", { sender, classes });
      assert.deepEqual(lost.notices, []);
      assert.deepEqual(lost.whyNobody, {
        text: "undeliverable postmaster notification discarded",
        isLoud: true,
      });
      assert.equal(owed("expired", { sender, classes }).whyNobody?.isLoud, true);
      assert.equal(owed("delay", { sender, classes }).whyNobody?.isLoud, false);
      assert.equal(owed("success", { sender, classes }).whyNobody?.isLoud, false);
    }
  });

  it("is of the local address alone: everybody else is told", () => {
    for (const sender of ["double-bounce@elsewhere.example", "mailer-daemon@elsewhere.example"]) {
      assert.equal(owed("failure", { sender }).notices[0]?.recipient, sender);
    }
  });
});
