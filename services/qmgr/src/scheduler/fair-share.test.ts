import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FairShare } from "./fair-share.ts";

function starts(share: FairShare, key: string, count: number): readonly number[] {
  return Array.from({ length: count }, () => {
    const start = share.start(key);
    share.charge(key);
    return start;
  });
}

describe("FairShare", () => {
  it("starts each further job of a key later, by one over its weight", () => {
    const share = new FairShare((key) => (key === "double" ? 2 : 1));
    assert.deepEqual(starts(share, "a", 3), [0, 1, 2]);
    assert.deepEqual(starts(share, "double", 3), [0, 0.5, 1]);
  });

  it("lets a key that was idle start at the job in service, with no turns saved up", () => {
    const share = new FairShare(() => 1);
    starts(share, "a", 10_000);
    share.served(7000);
    assert.equal(share.start("b"), 7000);
    share.served(6000);
    assert.equal(share.start("b"), 7000, "its time never goes back");
  });

  it("remembers few of many keys, and none of those that are behind", () => {
    const share = new FairShare(() => 1);
    starts(share, "busy", 100);
    share.served(50);
    for (let n = 0; n < 10_000; n += 1) share.charge(`key ${n}`);
    share.served(60);
    share.charge("one more");
    assert.equal(share.start("busy"), 100);
    assert.equal(share.start("key 1"), 60);
  });
});
