import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PanicError, PostmqError } from "@postmq/vocabulary";
import { exitStatusFor } from "./exit-status.ts";

describe("exitStatusFor", () => {
  it("tells what the operator must mend from what may pass, and from bugs", () => {
    const failure = (code: ConstructorParameters<typeof PostmqError>[0]) =>
      new PostmqError(code, "");
    assert.equal(exitStatusFor(failure("PMQ_CONFIG_INVALID")), 78);
    assert.equal(exitStatusFor(failure("PMQ_STORE_UNFIT")), 78);
    assert.equal(exitStatusFor(failure("PMQ_TABLE_UNREADABLE")), 78);
    assert.equal(exitStatusFor(failure("PMQ_STORE_IDENTITY")), 75);
    assert.equal(exitStatusFor(Object.assign(new Error(), { code: "EADDRINUSE" })), 71);
    assert.equal(exitStatusFor(new PanicError("panic: x")), 70);
    assert.equal(exitStatusFor("x"), 70);
  });
});
