import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isPostmqError } from "@postmq/vocabulary";

import { parseQshapeQuery, Query } from "./queue-query.ts";

function assertRefused(read: () => unknown, names: RegExp): void {
  assert.throws(read, (error) => isPostmqError(error, "PMQ_USAGE") && names.test(error.message));
}

const query = (raw: object) => new Query(raw, ["queue", "cursor", "limit"]);

describe("a query of showq", () => {
  it("refuses filters that are not there yet, and unknown ones", () => {
    assertRefused(() => query({ tenant: "x" }), /^tenant is not supported by this version/);
    assertRefused(() => query({ frobnicate: "x" }), /^frobnicate is not known/);
  });

  it("takes queues repeated or separated by commas, each once, and no unknown ones", () => {
    assert.deepEqual(query({ queue: ["hold", "active,hold"] }).queues([]), ["hold", "active"]);
    assert.deepEqual(query({}).queues(["deferred"]), ["deferred"]);
    assertRefused(() => query({ queue: "nosuch" }).queues([]), /^queue "nosuch"/);
  });

  it("takes limits from 1 to 1000", () => {
    assert.equal(query({}).limit(), 100);
    assert.equal(query({ limit: "1000" }).limit(), 1000);
    for (const limit of ["0", "1001", "-1", "x", "", "1e3"]) {
      assertRefused(() => query({ limit }).limit(), /^limit must be/);
    }
    assertRefused(() => query({ limit: ["1", "2"] }).limit(), /^limit is given more than once/);
  });

  it("A7, A10: asks qshape's questions with the command's defaults", () => {
    assert.deepEqual(parseQshapeQuery({}), {
      queues: ["incoming", "active"],
      by: "recipient",
      bucketCount: 10,
      unitMinutes: 5,
      isLinear: false,
    });
    const asked = { queue: "hold", by: "sender", parents: "true", buckets: "3", linear: "true" };
    assert.deepEqual(parseQshapeQuery(asked), {
      queues: ["hold"],
      by: "sender",
      bucketCount: 3,
      unitMinutes: 5,
      isLinear: true,
      minSubdomains: 5,
    });
    assertRefused(() => parseQshapeQuery({ by: "both" }), /^by must be one of/);
    assertRefused(() => parseQshapeQuery({ buckets: "1000000" }), /^buckets must be/);
  });
});
