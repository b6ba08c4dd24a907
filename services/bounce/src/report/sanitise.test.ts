import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { oneLine, wrap } from "./sanitise.ts";

describe("oneLine", () => {
  it("lets nothing end a line", () => {
    assert.equal(oneLine("a\r\nBcc: x\0\u0085\u2028b", true), "a??Bcc: x???b");
  });

  it("keeps what is beyond ASCII only where UTF-8 is spoken", () => {
    assert.equal(oneLine("jürgen", true), "jürgen");
    assert.equal(oneLine("jürgen", false), "j?rgen");
  });
});

describe("wrap", () => {
  it("breaks at 79 columns and indents what follows by 4", () => {
    const lines = wrap(Array.from({ length: 40 }, () => "word").join(" ")).split("\r\n");
    assert(lines.length > 2);
    assert(lines.every((line) => line.length <= 79));
    assert(lines.slice(1).every((line) => line.startsWith("    word")));
  });

  it("loses nothing but the breaks", () => {
    const text = `<"a  b"@x.example>: ${"reason ".repeat(30)}end`;
    assert.equal(wrap(text).replaceAll("\r\n   ", ""), text);
  });

  it("keeps every line below 998 characters", () => {
    assert(
      wrap(`to: ${"x".repeat(5000)}`)
        .split("\r\n")
        .every((line) => line.length < 998),
    );
  });
});
