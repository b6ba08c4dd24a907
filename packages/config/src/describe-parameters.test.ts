import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { describeParameters } from "./describe-parameters.ts";

describe("docs/PARAMETERS.md", () => {
  it("is what the table says (else run scripts/write-parameters.ts)", () => {
    const file = new URL("../../../docs/PARAMETERS.md", import.meta.url);
    assert.equal(readFileSync(file, "utf8"), describeParameters());
  });
});
