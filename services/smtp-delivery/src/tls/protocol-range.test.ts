import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseProtocols } from "./protocol-range.ts";

/** `lowest-highest`. */
function shown(text: string): string {
  const range = parseProtocols(text);
  return range === undefined ? "none" : `${range.min}-${range.max}`;
}

describe("parseProtocols", () => {
  it("takes bounds by name and by number", () => {
    assert.equal(shown(">=TLSv1.2"), "TLSv1.2-TLSv1.3");
    assert.equal(shown(">=tlsv1 <=TLSv1.2"), "TLSv1-TLSv1.2");
    assert.equal(shown(">=0302:<=0x0303"), "TLSv1.1-TLSv1.2");
    assert.equal(shown(">=SSLv3"), "TLSv1-TLSv1.3");
  });

  it("takes exclusions, and nothing above a gap, as Postfix", () => {
    assert.equal(shown("!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"), "TLSv1.2-TLSv1.3");
    assert.equal(shown("!SSLv2 !SSLv3 !TLSv1.1"), "TLSv1-TLSv1");
    assert.equal(shown("!TLSv1.3"), "TLSv1-TLSv1.2");
  });

  it("takes a list of what is allowed", () => {
    assert.equal(shown("TLSv1.2, TLSv1.3"), "TLSv1.2-TLSv1.3");
    assert.equal(shown("TLSv1.1"), "TLSv1.1-TLSv1.1");
  });

  it("takes everything that can be spoken when nothing is said", () => {
    assert.equal(shown(""), "TLSv1-TLSv1.3");
  });

  it("gives nothing for what is malformed or leaves nothing", () => {
    for (const text of ["TLSv1.9", ">=x", "0303", "<=SSLv3", "SSLv3", ">=TLSv1.3 <=TLSv1.2"])
      assert.equal(shown(text), "none", text);
  });
});
