/** The table of ways to break a rule stays in step with the code; that each is noticed is shown in full/broken-rules. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
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

  it("breaks at least thirty different rules of each spec", () => {
    assert(new Set(ruleMutations.map(({ rule }) => rule)).size >= 30);
    assert(new Set(deliveryMutations.map(({ rule }) => rule)).size >= 30);
  });
});
