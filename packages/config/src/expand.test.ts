import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { expand, referencedNames } from "./expand.ts";

describe("expand", () => {
  const values: Readonly<Record<string, string>> = { full: "yes", empty: "", name: "full" };
  const of = (text: string) => expand(text, (name) => values[name] ?? `unset(${name})`);

  it("takes $name, ${name} and $(name)", () => {
    assert.equal(of("a $full ${full} $(full)z"), "a yes yes yesz");
  });

  it("takes ${name?text} for a value and ${name:text} for none", () => {
    assert.equal(of("${full?x}${empty?y}"), "x");
    assert.equal(of("${full:x}${empty:y}"), "y");
  });

  it("takes both branches in braces, and expands the one taken", () => {
    assert.equal(of("${full?{$full}:{no}}/${empty?{yes}:{<$full>}}"), "yes/<yes>");
  });

  it("makes $$ one dollar sign", () => {
    assert.equal(of("a$$full"), "a$full");
  });

  it("refuses what it does not understand, instead of misreading it", () => {
    assert.throws(() => of("${{a} == {b} ? {c} : {d}}"), /not supported/);
    assert.throws(() => of("${full"), /not closed/);
    assert.throws(() => of("cost: $ 5"), /must be followed by a name/);
  });

  it("tells which names a value refers to", () => {
    assert.deepEqual(referencedNames("$a ${b?x} $$c $(d)"), ["a", "b", "d"]);
  });
});
