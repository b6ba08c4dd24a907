import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeXtext, encodeXtext } from "./xtext.ts";

describe("xtext", () => {
  it("writes '+', '=', blanks and what is not ASCII as +HH (RFC 3461 §4)", () => {
    assert.equal(encodeXtext("a+b=c d\u00E9"), "a+2Bb+3Dc+20d+C3+A9");
    assert.equal(decodeXtext("a+2Bb+3Dc+20d+C3+A9"), "a+b=c d\u00E9");
  });

  it("decodes what it encoded", () => {
    const printable = fc
      .string({ unit: "grapheme" })
      .filter((text) => !/[\p{Cc}\uFFFD]/u.test(text));
    fc.assert(fc.property(printable, (text) => decodeXtext(encodeXtext(text)) === text));
  });

  it("refuses malformed text and hidden control characters (security 3)", () => {
    for (const text of ["a b", "a=b", "+", "+2", "+2b", "+0D+0A", "a+00", "+7F", "+FF", "\u00E9"]) {
      assert.equal(decodeXtext(text), undefined, text);
    }
  });
});
