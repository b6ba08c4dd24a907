import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { headersOf, returnsWhole } from "./returned-content.ts";

describe("returnsWhole", () => {
  it("D32 returns a message up to bounce_size_limit, and the headers of a larger one", () => {
    assert.equal(returnsWhole("whole", 50_000, 50_000), true);
    assert.equal(returnsWhole("whole", 50_001, 50_000), false);
  });

  it("never returns more than was wanted (RET=HDRS, S13, D31)", () => {
    assert.equal(returnsWhole("headers", 10, 50_000), false);
  });
});

describe("headersOf", () => {
  it("takes the headers as they stand, without the empty line", () => {
    const headers = "Subject: a\r\n b\r\nTo: c@x\r\n";
    assert.equal(headersOf(Buffer.from(`${headers}\r\nbody\r\n`)).toString(), headers);
  });
});
