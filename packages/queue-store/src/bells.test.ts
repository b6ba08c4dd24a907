import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readBell, readDeliveryBell } from "./bells.ts";

describe("a delivery job", () => {
  it("S32 says whether to keep the connection, and whether to be alone, by a one and nothing else", () => {
    const request = { id: "4cTEST1", number: 2, generation: 3 };
    const r = [["4cTEST1", 2, 3]];
    assert.deepEqual(readDeliveryBell({ r }), {
      requests: [request],
      keepsConnection: false,
      isAlone: false,
    });
    assert.deepEqual(readDeliveryBell({ r, k: 1, a: 1 }), {
      requests: [request],
      keepsConnection: true,
      isAlone: true,
    });
    for (const k of [true, "1", 2, null, {}]) {
      assert.equal(readDeliveryBell({ r, k }).keepsConnection, false);
    }
  });

  it("loses what is no request", () => {
    const requests = [{ id: "4cTEST1", number: 1, generation: 1 }];
    const r = [["4cTEST1", 1, 1], ["../x", 1, 1], ["4cTEST1", 1.5, 1], ["4cTEST1"], 7, null];
    assert.deepEqual(readDeliveryBell({ r }).requests, requests);
    for (const rubbish of [null, 7, "x", [], {}, { r: "x" }]) {
      assert.deepEqual(readDeliveryBell(rubbish).requests, []);
      assert.deepEqual(readBell(rubbish).ids, []);
    }
  });
});
