/**
 * `npm test`: every test that needs minutes at most; `-- --full` (`npm run test:full`) the long ones too; `-- --long` these only.
 *
 * Tests beside the sources run first, several files at once; then those that run whole systems as processes, two
 * files at a time, since they mostly wait; the long ones one by one, so that each has the machine for itself. All of
 * them run in a session and a temporary directory of their own: what is still alive or listed there afterwards was
 * leaked by a test, is named and ended, and fails the run. Other arguments are patterns of files to run instead, or
 * options for `node --test`.
 *
 * Source: DESIGN §7; STYLE §9.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { endLeftProcesses } from "./test-run/left-processes.ts";

type Phase = {
  readonly name: string;
  readonly files: readonly string[];
  readonly filesAtOnce: number;
  /** For one file, or one test in it. */
  readonly timeoutMs: number;
};

type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number };

const checkout = join(import.meta.dirname, "..");
const none: Counts = { passed: 0, failed: 0, skipped: 0 };

type Wanted = { readonly isQuick: boolean; readonly isLong: boolean };

function phases({ isQuick, isLong }: Wanted, patterns: readonly string[]): readonly Phase[] {
  if (patterns.length > 0) {
    return [{ name: "chosen", files: find(patterns), filesAtOnce: 1, timeoutMs: 1_200_000 }];
  }
  // One more than there are cores: now and then each waits for a deadline or for Redis.
  const filesAtOnce = 1 + Math.max(2, availableParallelism());
  const beside = [
    "packages/*/src/**/*.test.ts",
    "services/*/src/**/*.test.ts",
    "scripts/**/*.test.ts",
  ];
  const quick = [
    {
      name: "beside the sources",
      files: find([...beside, "test/*.test.ts"]),
      filesAtOnce,
      timeoutMs: 240_000,
    },
    {
      name: "journeys",
      files: find(["test/journeys/**/*.test.ts"]),
      filesAtOnce: 2,
      timeoutMs: 480_000,
    },
  ];
  const long = {
    name: "long",
    files: find(["test/full/**/*.test.ts", "test/parity/**/*.test.ts"]),
    filesAtOnce: 1,
    timeoutMs: 1_200_000,
  };
  return [...(isQuick ? quick : []), ...(isLong ? [long] : [])];
}

function find(patterns: readonly string[]): readonly string[] {
  const found = patterns.flatMap((pattern) => globSync(pattern, { cwd: checkout }));
  return [...new Set(found)].toSorted();
}

/** Runs the files of a phase under `node --test`. */
async function run(phase: Phase, options: readonly string[], directory: string): Promise<Counts> {
  const countsFile = join(directory, "counts.json");
  rmSync(countsFile, { force: true });
  const child = spawn(
    process.execPath,
    [
      "--test",
      `--test-concurrency=${phase.filesAtOnce}`,
      `--test-timeout=${phase.timeoutMs}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      `--test-reporter=${join(import.meta.dirname, "test-run/counts-reporter.ts")}`,
      `--test-reporter-destination=${countsFile}`,
      ...options,
      ...phase.files,
    ],
    // A session of its own (detached) tells its processes from all others.
    { cwd: checkout, detached: true, stdio: "inherit", env: testEnvironment(directory) },
  );
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on("SIGINT", forward).on("SIGTERM", forward);
  const [status] = await once(child, "exit");
  process.off("SIGINT", forward).off("SIGTERM", forward);
  const left = await endLeftProcesses({ session: child.pid ?? 0, directory });
  for (const { pid, command } of left) console.error(`leaked process ${pid}: ${command}`);
  const counts = readCounts(countsFile);
  const unaccounted = left.length + (status !== 0 && counts.failed === 0 ? 1 : 0);
  return { ...counts, failed: counts.failed + unaccounted };
}

/** Temporary files where leaks are looked for; compiled modules are kept, since each journey starts dozens of processes. */
function testEnvironment(directory: string): NodeJS.ProcessEnv {
  const compiled = join(checkout, "node_modules/.cache/compiled");
  return { ...process.env, TMPDIR: directory, NODE_COMPILE_CACHE: compiled };
}

function readCounts(countsFile: string): Counts {
  try {
    return { ...none, ...JSON.parse(readFileSync(countsFile, "utf8")) };
  } catch {
    // The runner ended before it had a summary; its exit status says so too.
    return none;
  }
}

async function main(): Promise<number> {
  const { values, positionals, tokens } = parseArgs({
    options: {
      full: { type: "boolean", default: false },
      long: { type: "boolean", default: false },
    },
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const options = tokens.flatMap((token) =>
    token.kind === "option" && token.name !== "full" && token.name !== "long"
      ? [token.value === undefined ? token.rawName : `${token.rawName}=${token.value}`]
      : [],
  );
  const directory = mkdtempSync(join(tmpdir(), "pmq-"));
  let total = none;
  try {
    const wanted = {
      isQuick: values.long !== true,
      isLong: values.long === true || values.full === true,
    };
    for (const phase of phases(wanted, positionals)) {
      if (phase.files.length === 0) continue;
      console.log(`\n== ${phase.name}: ${phase.files.length} files`);
      const counts = await run(phase, options, directory);
      total = {
        passed: total.passed + counts.passed,
        failed: total.failed + counts.failed,
        skipped: total.skipped + counts.skipped,
      };
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const seconds = Math.round(process.uptime());
  console.log(
    `\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped in ${seconds} s`,
  );
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

process.exitCode = await main();
