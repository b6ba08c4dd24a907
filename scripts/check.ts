/**
 * `npm run check`: types, lint, format, dead code; every step runs, and any failure fails the whole.
 *
 * Source: STYLE §11.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

const steps: readonly {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
}[] = [
  { name: "types (tsc)", command: ["tsc", "-p", "."] },
  { name: "lint (oxlint)", command: ["oxlint", "--type-aware", "--deny-warnings"] },
  { name: "format (oxfmt)", command: ["oxfmt", "--check", "."] },
  { name: "dead code (knip)", command: ["knip", "--no-progress", "--no-config-hints"] },
];

const failed = steps.filter(({ name, command: [program, ...parameters] }) => {
  process.stdout.write(`== ${name}\n`);
  const { status, error } = spawnSync(`node_modules/.bin/${program}`, parameters, {
    cwd: root,
    stdio: "inherit",
  });
  if (error !== undefined) process.stdout.write(`${program} can't be run: ${error.message}\n`);
  return status !== 0;
});

for (const { name } of failed) process.stdout.write(`failed: ${name}\n`);
if (failed.length === 0) process.stdout.write("all checks passed\n");
process.exitCode = failed.length === 0 ? 0 : 1;
