/** The table of ways to break a rule stays in step with the code; that each is noticed is shown in full/broken-rules. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { deliveryMutations } from "./support/delivery-mutations.ts";
import { mutated, ruleMutations } from "./support/rule-mutations.ts";

const checkout = join(import.meta.dirname, "..");

describe("the table of broken rules", () => {
  it("names texts that stand exactly once in their files, and tests that exist", () => {
    for (const mutation of [...ruleMutations, ...deliveryMutations]) {
      mutated(checkout, mutation);
      for (const file of mutation.tests) assert(existsSync(join(checkout, file)), file);
    }
  });

  it("breaks at least thirty different rules of scheduling", () => {
    assert(new Set(ruleMutations.map(({ rule }) => rule)).size >= 30);
  });

  it("breaks each rule of delivery", () => {
    const spec = readFileSync(join(checkout, "docs/spec/delivery.md"), "utf8");
    const rules = [...spec.matchAll(/^(D\d+)\. /gm)].map((match) => match[1]);
    const first34 = Array.from({ length: 34 }, (_, at) => `D${at + 1}`);
    assert.deepEqual(rules.slice(0, 34), first34);
    const broken = new Set(deliveryMutations.map(({ rule }) => rule));
    assert.deepEqual(
      rules.filter((rule) => rule === undefined || !broken.has(rule)),
      [],
    );
  });
});
