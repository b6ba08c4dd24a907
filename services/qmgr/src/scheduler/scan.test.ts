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

  it("S2 goes on with deferred when nothing is new", () => {
    const turns = new Scan();
    turns.full();
    turns.want("deferred");
    assert.equal(turns.take(), "deferred");
  });

  it("S3 remembers a request that comes during a pass, and many as one", () => {
    const turns = new Scan();
    turns.want("deferred");
    assert.equal(turns.take(), "deferred");
    for (let n = 0; n < 5; n += 1) turns.want("deferred");
    assert.equal(turns.take(), "deferred");
    assert.equal(turns.take(), undefined);
  });

  it("S4 ignores due times in a flush, of what lay in deferred when it was asked for", () => {
    const turns = new Scan();
    assert.equal(turns.flushMs, undefined);
    turns.flush(5000);
    assert.equal(turns.flushMs, 5000);
    assert.equal(turns.endFlush(), 5000);
    assert.equal(turns.flushMs, undefined);
    assert.equal(turns.endFlush(), undefined);
  });

  it("S37 looks into incoming and deferred for a flush, and nowhere else", () => {
    const turns = new Scan();
    turns.flush(5000);
    assert.deepEqual(new Set([turns.take(), turns.take()]), new Set(["incoming", "deferred"]));
    assert.equal(turns.take(), undefined);
  });

  it("S38 makes one pass of flushes that come while one is under way, up to the latest", () => {
    const turns = new Scan();
    for (const askedMs of [5000, 7000, 6000]) turns.flush(askedMs);
    assert.equal(turns.endFlush(), 7000);
    assert.equal(turns.endFlush(), undefined);
  });
});
