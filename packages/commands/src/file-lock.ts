/**
 * A lock that one process holds, on a file of its own.
 *
 * Node has no flock, but SQLite takes real file locks: a connection with an exclusive transaction open holds one. The
 * kernel frees it when the process ends, by kill -9 too, so no stale lock is ever left to judge; a frozen process holds
 * it still. The file stays empty, since nothing is written in the transaction, and it is never removed: somebody else may
 * have it open already.
 */
import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";

/** Whoever only looks whether a lock is held is in the way for less than this. */
const patienceMs = 200;

/** Held until disposed of, or until the process ends. */
export type FileLock = Disposable;

/**
 * Makes the file if need be, and takes its lock.
 *
 * @returns undefined: another process holds it
 */
export function lockFile(path: string): FileLock | undefined {
  const database = new DatabaseSync(path, { timeout: patienceMs });
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!isLocked(error)) throw error;
    return undefined;
  }
  return { [Symbol.dispose]: () => database.close() };
}

/** Whether a process holds it, this one included. */
export function isFileLocked(path: string): boolean {
  if (!existsSync(path)) return false;
  const database = new DatabaseSync(path, { timeout: 0, readOnly: true });
  try {
    // Any reading asks for a shared lock, which an exclusive one refuses.
    database.exec("SELECT 1 FROM sqlite_schema");
    return false;
  } catch (error) {
    if (!isLocked(error)) throw error;
    return true;
  } finally {
    database.close();
  }
}

function isLocked(error: unknown): boolean {
  const sqliteBusy = 5;
  return error instanceof Error && "errcode" in error && error.errcode === sqliteBusy;
}
