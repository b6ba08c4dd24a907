import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { localOutcome } from "./local-transport.ts";

describe("localOutcome", () => {
  it("S18 fails what goes to error and defers what goes to retry, with the next hop as reason", () => {
    assert.deepEqual(
      localOutcome({ transport: "error", nexthop: "5.1.1 no local mailboxes here" }, false),
      {
        kind: "failed",
        status: "5.1.1",
        reason: "no local mailboxes here",
      },
    );
    assert.deepEqual(
      localOutcome({ transport: "retry", nexthop: "4.3.0 address resolver failure" }, false),
      {
        kind: "deferred",
        status: "4.3.0",
        reason: "address resolver failure",
      },
    );
  });

  it("S18 counts what goes to discard as sent, with the next hop as reason", () => {
    for (const softBounce of [false, true]) {
      assert.deepEqual(localOutcome({ transport: "discard", nexthop: "not wanted" }, softBounce), {
        kind: "sent",
        status: "2.0.0",
        reason: "not wanted",
      });
    }
  });

  it("leaves every other transport to the workers", () => {
    assert.equal(localOutcome({ transport: "smtp", nexthop: "example.com" }, false), undefined);
  });

  it("D13 defers instead of failing under soft_bounce", () => {
    assert.deepEqual(localOutcome({ transport: "error", nexthop: "5.1.1 no" }, true), {
      kind: "deferred",
      status: "4.1.1",
      reason: "no",
    });
  });

  it("replaces a status of the wrong class and adds one where none is given", () => {
    assert.equal(
      localOutcome({ transport: "error", nexthop: "4.1.1 later" }, false)?.status,
      "5.0.0",
    );
    assert.deepEqual(localOutcome({ transport: "retry", nexthop: "closed for repair" }, false), {
      kind: "deferred",
      status: "4.0.0",
      reason: "closed for repair",
    });
  });
});
