import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { headersOf, returnsWhole } from "./returned-content.ts";

describe("returnsWhole", () => {
  const kind = "failure";

  it("D32 returns a message up to bounce_size_limit, and the headers of a larger one whatever RET says", () => {
    assert.equal(returnsWhole({ kind, sizeBytes: 50_000, ret: undefined }, 50_000), true);
    assert.equal(returnsWhole({ kind, sizeBytes: 50_001, ret: "FULL" }, 50_000), false);
  });

  it("returns the headers only when the sender asked for that (RET=HDRS)", () => {
    assert.equal(returnsWhole({ kind, sizeBytes: 10, ret: "HDRS" }, 50_000), false);
    assert.equal(returnsWhole({ kind, sizeBytes: 10, ret: "FULL" }, 50_000), true);
  });

  it("S13 never returns more than headers with a delay warning", () => {
    assert.equal(returnsWhole({ kind: "delay", sizeBytes: 10, ret: "FULL" }, 50_000), false);
  });
});

describe("headersOf", () => {
  it("takes the headers as they stand, without the empty line", () => {
    const headers = "Subject: a\r\n b\r\nTo: c@x\r\n";
    assert.equal(headersOf(Buffer.from(`${headers}\r\nbody\r\n`)).toString(), headers);
  });
});
