import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Scan } from "./scan.ts";

describe("Scan", () => {
  it("S1 goes incoming, deferred, incoming, deferred while both have mail", () => {
    const turns = new Scan();
    const order: (string | undefined)[] = [];
    for (let n = 0; n < 4; n += 1) {
      turns.want("incoming");
      turns.want("deferred");
      const source = turns.take();
      if (source !== undefined) turns.succeeded(source);
      order.push(source);
    }
    assert.deepEqual(order, ["incoming", "deferred", "incoming", "deferred"]);
  });

  it("asks a queue only when there may be something in it", () => {
    const turns = new Scan();
    assert.equal(turns.take(), undefined);
    turns.want("deferred");
    assert.equal(turns.take(), "deferred");
    assert.equal(turns.take(), undefined);
  });

  it("S2 takes new mail first when a full active queue has room again", () => {
    const turns = new Scan();
    turns.succeeded("incoming");
    turns.full();
    turns.want("incoming");
    turns.want("deferred");
    assert.equal(turns.take(), "incoming");
  });
});
