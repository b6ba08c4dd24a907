/**
 * Lists each rule of docs/spec/scheduling.md, delivery.md and admin-tools.md with the tests that show it:
 * `node scripts/list-rules.ts [S21 …]`. It ends with 1 when a rule has none.
 */
import { join } from "node:path";
import { rulesWithTests, specs } from "./rules/rules-with-tests.ts";

const wanted = process.argv.slice(2);
const rules = specs
  .flatMap((spec) => rulesWithTests(join(import.meta.dirname, ".."), spec))
  .filter(({ id }) => wanted.length === 0 || wanted.includes(id));
for (const { id, tests } of rules) {
  for (const { file, name } of tests) console.log(`${id.padEnd(4)} ${file}: ${name}`);
  if (tests.length > 0) continue;
  console.error(`${id.padEnd(4)} has no test`);
  process.exitCode = 1;
}
