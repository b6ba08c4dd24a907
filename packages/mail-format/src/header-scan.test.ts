import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { scanHeaders } from "./header-scan.ts";

const scan = (text: string) => scanHeaders(Buffer.from(text, "utf8"));
const names = (text: string) => scan(text).headers.map((header) => header.name);

describe("scanHeaders", () => {
  it("finds each header with its continuation lines, and the body after the empty line", () => {
    const content = Buffer.from("Subject: one\r\n two\r\nTO : a@b\r\n\r\nbody: no\r\n");
    const { headers, headersEnd, bodyOffset } = scanHeaders(content);
    assert.deepEqual(
      headers.map((header) => [header.name, header.value()]),
      [
        ["subject", "one two"],
        ["to", "a@b"],
      ],
    );
    assert.equal(content.subarray(headersEnd).toString(), "\r\nbody: no\r\n");
    assert.equal(content.subarray(bodyOffset).toString(), "body: no\r\n");
  });

  it("ends the headers at the first line that is none, without an empty line", () => {
    const { headersEnd, bodyOffset } = scan("A: 1\r\nno header here\r\n");
    assert.equal(headersEnd, "A: 1\r\n".length);
    assert.equal(bodyOffset, headersEnd);
  });

  it("takes a first line that starts with a blank for body text", () => {
    assert.deepEqual(names(" A: 1\r\nB: 2\r\n"), []);
  });

  it("reads lines that end with LF alone", () => {
    const { headers, bodyOffset } = scan("A: 1\nB: 2\n\nx");
    assert.deepEqual(
      headers.map((header) => header.value()),
      ["1", "2"],
    );
    assert.equal(bodyOffset, "A: 1\nB: 2\n\n".length);
  });

  it("recomposes to the same bytes, whatever the bytes are", () => {
    const line = fc.oneof(
      fc.constantFrom(
        "A: b",
        "Received: x",
        " folded",
        "\tfolded",
        "",
        "no colon",
        ":",
        "X :y",
        "\u00E9: z",
      ),
      fc.string(),
    );
    const end = fc.constantFrom("\r\n", "\n", "\r", "");
    fc.assert(
      fc.property(fc.array(fc.tuple(line, end)), (lines) => {
        const content = Buffer.from(lines.map(([text, ending]) => text + ending).join(""));
        const { headers, headersEnd, bodyOffset } = scanHeaders(content);
        const rest = content.subarray(headersEnd);
        const recomposed = Buffer.concat([...headers.map((header) => header.raw), rest]);
        assert.ok(recomposed.equals(content));
        assert.match(content.toString("latin1", headersEnd, bodyOffset), /^(?:\r?\n)?$/);
      }),
    );
  });

  it("takes a time that grows with the headers, not with their square", () => {
    const content = Buffer.from(`A: b\r\n${" x\r\n".repeat(300_000)}${"B: c\r\n".repeat(300_000)}`);
    const { headers } = scanHeaders(content);
    assert.equal(headers.length, 300_001);
  });
});
