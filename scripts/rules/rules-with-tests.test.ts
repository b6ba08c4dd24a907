import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { rulesWithTests, specs } from "./rules-with-tests.ts";

for (const spec of specs) {
  describe(spec.file, () => {
    const rules = rulesWithTests(join(import.meta.dirname, "../.."), spec);

    it(`has the rules ${spec.letter}1 to ${spec.letter}${spec.count}, each once`, () => {
      const ids = Array.from({ length: spec.count }, (_, n) => `${spec.letter}${n + 1}`);
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
}
