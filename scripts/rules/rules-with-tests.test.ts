import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { rulesWithTests } from "./rules-with-tests.ts";

describe("docs/spec/scheduling.md", () => {
  const rules = rulesWithTests(join(import.meta.dirname, "../.."));

  it("has the rules S1 to S38, each once", () => {
    const ids = Array.from({ length: 38 }, (_, n) => `S${n + 1}`);
    assert.deepEqual(
      rules.map(({ id }) => id),
      ids,
    );
  });

  it("has a test for each rule, named after it", () => {
    const untested = rules.filter(({ tests }) => tests.length === 0).map(({ id }) => id);
    assert.deepEqual(untested, []);
  });
});
