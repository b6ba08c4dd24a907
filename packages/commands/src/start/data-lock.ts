/**
 * One `npm start` at a time on one data directory: a lock on `data_directory/start.lock` (file-lock.ts), and beside it who
 * holds it.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PostmqError } from "@postmq/vocabulary";
import { isFileLocked, lockFile } from "../file-lock.ts";

const lockName = "start.lock";
const pidName = "start.pid";

/** Held until disposed of, or until the process ends. */
export type DataLock = { readonly release: () => void };

/**
 * Makes the directory if need be, and takes its lock.
 *
 * @throws PMQ_ALREADY_RUNNING when another process holds it.
 */
export function lockDataDirectory(dataDirectory: string): DataLock {
  mkdirSync(dataDirectory, { recursive: true });
  const pidFile = join(dataDirectory, pidName);
  const lock = lockFile(join(dataDirectory, lockName));
  if (lock === undefined) {
    throw new PostmqError(
      "PMQ_ALREADY_RUNNING",
      `already running${holder(pidFile)} on ${dataDirectory}`,
      { facts: { dataDirectory } },
    );
  }
  writeFileSync(pidFile, `${process.pid}\n`);
  return { release: () => lock[Symbol.dispose]() };
}

/**
 * The process that holds the lock of a data directory.
 *
 * @returns undefined: nobody does; NaN: somebody who has not yet said who it is
 */
export function lockHolder(dataDirectory: string): number | undefined {
  if (!isFileLocked(join(dataDirectory, lockName))) return undefined;
  return readPid(join(dataDirectory, pidName));
}

function readPid(pidFile: string): number {
  try {
    const text = readFileSync(pidFile, "utf8").trim();
    return /^[1-9]\d*$/.test(text) ? Number(text) : Number.NaN;
  } catch {
    // The holder has not written it yet.
    return Number.NaN;
  }
}

/** Who holds the lock, for people; the file may lag behind the lock for a moment. */
function holder(pidFile: string): string {
  const pid = readPid(pidFile);
  return Number.isNaN(pid) ? "" : ` as process ${pid}`;
}
