/**
 * One `npm start` at a time on one data directory.
 *
 * Node has no flock, but SQLite takes real file locks: a connection with an exclusive transaction open holds one
 * on `data_directory/start.lock`. The kernel frees it when the process ends, by kill -9 too, so no stale lock is
 * ever left to judge. The file stays empty, since nothing is written in the transaction.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { PostmqError } from "@postmq/vocabulary";

/** Held until disposed of, or until the process ends. */
export type DataLock = { readonly release: () => void };

/**
 * Makes the directory if need be, and takes its lock.
 *
 * @throws PMQ_ALREADY_RUNNING when another process holds it.
 */
export function lockDataDirectory(dataDirectory: string): DataLock {
  mkdirSync(dataDirectory, { recursive: true });
  const pidFile = join(dataDirectory, "start.pid");
  const database = new DatabaseSync(join(dataDirectory, "start.lock"), { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!isLocked(error)) throw error;
    throw new PostmqError(
      "PMQ_ALREADY_RUNNING",
      `already running${holder(pidFile)} on ${dataDirectory}`,
      {
        facts: { dataDirectory },
        cause: error,
      },
    );
  }
  writeFileSync(pidFile, `${process.pid}\n`);
  return { release: () => database.close() };
}

function isLocked(error: unknown): boolean {
  const sqliteBusy = 5;
  return error instanceof Error && "errcode" in error && error.errcode === sqliteBusy;
}

/** Who holds the lock, for people; the file may lag behind the lock for a moment. */
function holder(pidFile: string): string {
  try {
    return ` as process ${readFileSync(pidFile, "utf8").trim()}`;
  } catch {
    // The holder has not written it yet.
    return "";
  }
}
