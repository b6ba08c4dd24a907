import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseMainCf } from "./main-cf.ts";

describe("parseMainCf", () => {
  const parse = (text: string) => Object.fromEntries(parseMainCf(text, "main.cf"));

  it("takes name = value, with and without white space, and empty values", () => {
    assert.deepEqual(parse("a = 1\nb=2 \nc =\n"), { a: "1", b: "2", c: "" });
  });

  it("continues a value on lines that begin with white space, comments in between left out", () => {
    assert.deepEqual(parse("a = 1,\n# note\n  # another\n\n  2,\n\t3\nb = 4"), {
      a: "1, 2, 3",
      b: "4",
    });
  });

  it("takes the last of two settings", () => {
    assert.deepEqual(parse("a = 1\na = 2"), { a: "2" });
  });

  it("names file and line of what is no setting", () => {
    assert.throws(() => parse("a = 1\nnonsense"), /main\.cf, line 2/);
    assert.throws(() => parse("  a = 1"), /line 1: a line that begins with white space/);
  });
});
