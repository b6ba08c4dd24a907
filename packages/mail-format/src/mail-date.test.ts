import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { asctime, formatMailDate } from "./mail-date.ts";

describe("formatMailDate", () => {
  it("has the form of RFC 5322 §3.3 and names the very second", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_102_444_800 }), (second) => {
        const text = formatMailDate(second * 1000 + 999);
        assert.match(text, /^[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}$/);
        assert.equal(Date.parse(text), second * 1000);
      }),
    );
  });
});

describe("asctime", () => {
  it("pads the day to two columns", () => {
    assert.equal(asctime(new Date(2026, 10, 2, 8, 12, 24).getTime()), "Mon Nov  2 08:12:24 2026");
    assert.equal(asctime(new Date(2026, 10, 21, 18, 12, 24).getTime()), "Sat Nov 21 18:12:24 2026");
  });
});
