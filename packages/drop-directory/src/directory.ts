/** The drop directory's names, and what is done to its entries as a whole. */
import { lstat, open, readdir, rename, unlink } from "node:fs/promises";
import { join } from "node:path";

import { parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

const temporarySuffix = ".tmp";
const corruptSuffix = ".corrupt";
/** Source: spec Q8; postsuper(1) -p. */
const staleAfterMs = 7 * 24 * 3600 * 1000;

/** The name of a message that is still being written: never that of a queue id. */
export function temporaryName(id: QueueId): string {
  return `${id}${temporarySuffix}`;
}

/** Entries named like messages, oldest first; whether they are messages shows when they are opened. */
export async function listDropped(directory: string): Promise<readonly QueueId[]> {
  const names = await readdir(directory);
  return names
    .map(parseQueueId)
    .filter((id) => id !== undefined)
    .toSorted();
}

/** Removes a message that has been taken in, for good. One that is gone already is fine. */
export async function removeDropped(directory: string, id: QueueId): Promise<void> {
  await unlink(join(directory, id)).catch(unlessMissing);
  await syncDirectory(directory);
}

/**
 * Renames an entry that is no readable message, so that it is kept for a person and tried no more.
 *
 * @returns its new name, or undefined when it was gone
 */
export async function setAside(directory: string, id: QueueId): Promise<string | undefined> {
  let name = `${id}${corruptSuffix}`;
  for (let copy = 1; await exists(join(directory, name)); copy += 1) {
    name = `${id}${corruptSuffix}.${copy}`;
  }
  try {
    await rename(join(directory, id), join(directory, name));
  } catch (error) {
    unlessMissing(error);
    return undefined;
  }
  await syncDirectory(directory);
  return name;
}

/** Removes what was left half written more than 7 days ago. @returns how many. Source: spec Q8. */
export async function purgeStaleTemporaries(directory: string, nowMs: number): Promise<number> {
  let purged = 0;
  for (const name of await readdir(directory)) {
    if (!name.endsWith(temporarySuffix)) continue;
    if (parseQueueId(name.slice(0, -temporarySuffix.length)) === undefined) continue;
    const path = join(directory, name);
    const status = await lstat(path).catch(unlessMissing);
    if (status === undefined || !status.isFile() || nowMs - status.mtimeMs <= staleAfterMs)
      continue;
    await unlink(path).catch(unlessMissing);
    purged += 1;
  }
  return purged;
}

/** Makes what was done to a directory's entries durable. */
export async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory, "r");
  await handle.sync();
}

export function isMissing(error: unknown): boolean {
  return hasCode(error, "ENOENT");
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function unlessMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

export async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(unlessMissing)) !== undefined;
}
