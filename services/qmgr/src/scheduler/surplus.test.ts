import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { shareOfActive, Surplus } from "./surplus.ts";

describe("shares of active", () => {
  it("S31 a destination may hold a fifth, and at least one message", () => {
    assert.equal(shareOfActive(20_000), 4000);
    assert.equal(shareOfActive(9), 1);
    assert.equal(shareOfActive(1), 1);
  });

  it("S31 brings back as many as have room, and only when it is worth while or urgent", () => {
    const of = (held: number, away: number, isUrgent: boolean, room = 1000) => {
      const surplus = new Surplus(100);
      surplus.add("a", away);
      return surplus.takeRecalls(() => held, room, isUrgent)[0]?.most ?? 0;
    };
    assert.equal(of(51, 1000, false), 0);
    assert.equal(of(50, 1000, false), 50);
    assert.equal(of(51, 1000, true), 49);
    assert.equal(of(0, 3, false), 3);
    assert.equal(of(100, 1000, true), 0);
    assert.equal(of(130, 1000, true), 0);
    assert.equal(of(0, 1000, true, 7), 7);
  });

  it("S31 keeps room for those that were called and are not yet here, until all that was due has come", () => {
    const surplus = new Surplus(100);
    const called = () => surplus.takeRecalls(() => 0, 1000, true);
    surplus.add("a", 300);
    surplus.add("b", 20);
    assert.deepEqual(called(), [
      { name: "a", most: 100 },
      { name: "b", most: 20 },
    ]);
    surplus.recalled("a", { found: 100, left: 200 });
    surplus.recalled("b", { found: 15, left: 0 });
    assert.deepEqual(called(), []);
    assert.equal(surplus.cameBack("a"), true);
    assert.deepEqual(called(), [{ name: "a", most: 1 }]);
    assert.deepEqual(surplus.allCame().toSorted(), ["a", "b"]);
    assert.deepEqual([surplus.of("a"), surplus.of("b")], [200, 0]);
    assert.equal(surplus.cameBack("b"), false);
  });

  it("S31 serves all names in turns, those last that were called last", () => {
    const surplus = new Surplus(100);
    for (const name of ["a", "b", "c"]) surplus.add(name, 50);
    const called = () =>
      surplus.takeRecalls(() => 0, 60, true).map(({ name, most }) => `${name} ${most}`);
    assert.deepEqual(called(), ["a 50", "b 10"]);
    assert.deepEqual(called(), ["c 50", "a 10"]);
  });

  it("S31 counts what goes away while the answer to a call is on its way", () => {
    const surplus = new Surplus(100);
    surplus.add("a", 10);
    surplus.takeRecalls(() => 0, 10, true);
    surplus.add("a");
    surplus.recalled("a", { found: 10, left: 0 });
    assert.equal(surplus.of("a"), 11);
  });
});
