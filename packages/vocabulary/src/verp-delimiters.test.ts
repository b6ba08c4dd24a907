import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { areVerpDelimiters, verpDelimitersOf } from "./verp-delimiters.ts";

describe("VERP delimiters", () => {
  it("D33 are two of the characters that are allowed", () => {
    const isFit = (text: string) => areVerpDelimiters(text, "-=+");
    const fit = ["+=", "--", "==", "=-"];
    assert.deepEqual(fit.filter(isFit), fit);
    assert.deepEqual(["", "+", "+=+", "+ ", "a=", "😀"].filter(isFit), []);
  });

  it("D33 don't count with the null sender", () => {
    assert.equal(verpDelimitersOf({ sender: "a@x.example", verpDelimiters: "+=" }), "+=");
    assert.equal(verpDelimitersOf({ sender: "a@x.example" }), undefined);
    assert.equal(verpDelimitersOf({ sender: "", verpDelimiters: "+=" }), undefined);
  });
});
