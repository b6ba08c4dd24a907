/**
 * Each rule of the scheduler and of delivery has a test that fails when the rule is taken out: ten of each, picked by
 * seed.
 *
 * The package or service is copied, the rule is taken out of the copy, and the tests named after the rule run there.
 * SEED picks (it is printed); BROKEN=all tries the whole table.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { deliveryMutations } from "../support/delivery-mutations.ts";
import { mutated, ruleMutations, workspaceOf } from "../support/rule-mutations.ts";
import type { RuleMutation } from "../support/rule-mutations.ts";

const checkout = join(import.meta.dirname, "../..");
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const triesAll = process.env["BROKEN"] === "all";
const atOnce = 2;

/** So many of them, by seed: the order is that of a hash of seed and place. Ten are of ten rules. */
function picked(table: readonly RuleMutation[]): readonly RuleMutation[] {
  const hashed = table.map((mutation, at) => {
    let hash = Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(at + 1, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39);
    return { mutation, hash: (hash ^ (hash >>> 15)) >>> 0 };
  });
  const shuffled = hashed.toSorted((a, b) => a.hash - b.hash).map(({ mutation }) => mutation);
  if (triesAll) return shuffled;
  const oneForEach = new Map(shuffled.map((mutation) => [mutation.rule, mutation]));
  return [...oneForEach.values()].slice(0, 10);
}

/** The names of the rule's tests that fail without it. */
async function failing(mutation: RuleMutation): Promise<readonly string[]> {
  const directory = mkdtempSync(join(tmpdir(), "postmq-broken-"));
  try {
    const workspace = workspaceOf(mutation);
    cpSync(join(checkout, workspace), join(directory, workspace), { recursive: true });
    symlinkSync(join(checkout, "node_modules"), join(directory, "node_modules"));
    writeFileSync(join(directory, mutation.file), mutated(checkout, mutation));
    const report = await runTests(mutation, directory);
    const names = [...report.matchAll(/^\s*not ok \d+ - (.*)$/gm)].map((match) => match[1] ?? "");
    return names.filter((name) => new RegExp(`^(?:[A-Z]?\\d+,? )*${mutation.rule}\\b`).test(name));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runTests({ rule, tests }: RuleMutation, directory: string): Promise<string> {
  // Of a runner inside a runner, node --test would run nothing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const options = ["--test-reporter=tap", "--test-timeout=20000"];
  const child = spawn(
    process.execPath,
    ["--test", ...options, `--test-name-pattern=\\b${rule}\\b`, ...tests],
    { cwd: directory, env, stdio: ["ignore", "pipe", "ignore"] },
  );
  let report = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (report += text));
  await once(child, "close");
  return report;
}

const tables = { scheduling: ruleMutations, delivery: deliveryMutations };

for (const [name, table] of Object.entries(tables)) {
  describe(`${name} without a rule (SEED=${seed})`, () => {
    it("fails the tests named after the rule", async (context) => {
      const left = [...picked(table)];
      const unnoticed: string[] = [];
      const breakRules = async (): Promise<void> => {
        for (let mutation = left.shift(); mutation !== undefined; mutation = left.shift()) {
          const [name] = await failing(mutation);
          const { rule, file, text, becomes } = mutation;
          const broken = `${rule} ${file}\n  - ${text.trim()}\n  + ${becomes.trim()}`;
          context.diagnostic(`${broken}\n  fails: ${name ?? "nothing"}`);
          if (name === undefined) unnoticed.push(broken);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, breakRules));
      assert.deepEqual(unnoticed, []);
    });
  });
}
