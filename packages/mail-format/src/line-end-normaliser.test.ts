import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { LineEndNormaliser } from "./line-end-normaliser.ts";

function normalise(...chunks: readonly (string | Buffer)[]): string {
  const normaliser = new LineEndNormaliser();
  const output = chunks.map((chunk) => normaliser.write(Buffer.from(chunk)));
  return Buffer.concat([...output, normaliser.end()]).toString("latin1");
}

const piece = fc.constantFrom(
  "a",
  ".",
  "\r",
  "\n",
  "\r\n",
  "\r\n.\r\n",
  "\n.\n",
  "\0",
  "\u00E9",
  "long ".repeat(30),
);
const chunks = fc.array(fc.array(piece).map((pieces) => pieces.join("")));

describe("LineEndNormaliser", () => {
  it("makes a bare LF a line end (V28)", () => {
    assert.equal(normalise("a\n.\nb\r\n"), "a\r\n.\r\nb\r\n");
  });

  it("makes a lone CR a space (R19)", () => {
    assert.equal(normalise("a\rb\r\n\r.\r\r\nc\r\n"), "a b\r\n . \r\nc\r\n");
  });

  it("adds a missing last newline, and none to an empty message (D19)", () => {
    assert.equal(normalise("a"), "a\r\n");
    assert.equal(normalise("a\r"), "a \r\n");
    assert.equal(normalise("a\r\n"), "a\r\n");
    assert.equal(normalise(""), "");
    assert.equal(normalise(), "");
  });

  it("knows a CRLF that is cut between two chunks", () => {
    assert.equal(normalise("a\r", "\nb\r", "c\r\n"), "a\r\nb c\r\n");
  });

  it("never hands on a bare LF or a lone CR, and always ends with a line end", () => {
    fc.assert(
      fc.property(chunks, (parts) => {
        const output = normalise(...parts);
        assert.doesNotMatch(output, /\r(?!\n)|(?<!\r)\n/);
        assert.ok(output === "" || output.endsWith("\r\n"));
      }),
    );
  });

  it("gives the same wherever the chunks are cut", () => {
    fc.assert(
      fc.property(chunks, (parts) => {
        assert.equal(normalise(...parts), normalise(parts.join("")));
        assert.equal(normalise(...parts.join("").split("")), normalise(parts.join("")));
      }),
    );
  });

  it("leaves content that is right already as it is, without copying it", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom("", "a", ".", "x y", "\u00E9")), (lines) => {
        const content = Buffer.from(lines.map((line) => `${line}\r\n`).join(""));
        const normaliser = new LineEndNormaliser();
        const output = normaliser.write(content);
        assert.ok(content.length === 0 || output.buffer === content.buffer);
        assert.ok(output.equals(content));
        assert.equal(normaliser.end().length, 0);
      }),
    );
  });

  it("does not copy long content for a line end that its search window cuts", () => {
    const content = Buffer.from(`${"x".repeat(65_535)}\r\ny\r\n`);
    assert.equal(new LineEndNormaliser().write(content).buffer, content.buffer);
  });

  it("finds strays on both sides of its search window", () => {
    for (const before of [65_534, 65_535, 65_536, 65_537]) {
      const front = "x".repeat(before);
      assert.equal(normalise(`${front}\r\ny`), `${front}\r\ny\r\n`);
      assert.equal(normalise(`${front}\ny`), `${front}\r\ny\r\n`);
      assert.equal(normalise(`${front}\ry`), `${front} y\r\n`);
    }
  });
});
