/**
 * The writing side of the drop directory: a message is there whole and durable, or not at all.
 *
 * It is written under a name that no reader takes, synced, renamed to its queue id, and the directory is synced.
 * A crash before the rename leaves a temporary file, which pickup purges when it is 7 days old.
 *
 * Source: spec queues.md §3.1, Q8.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";

import { exists, hasCode, syncDirectory, temporaryName } from "./directory.ts";
import { formatDropHeader } from "./drop-header.ts";
import type { DroppedMessage } from "./drop-header.ts";

/**
 * Stores a message for pickup. When this returns it is on disk.
 *
 * The directory is made, for this user only, if it is missing. One that is meant for several users must exist and
 * be sticky (mode 1733, as root's).
 *
 * @throws the file system's error (disk full, no permission, a directory that anybody could tamper with)
 */
export async function dropMessage(
  directory: string,
  message: DroppedMessage,
  content: readonly Buffer[],
): Promise<void> {
  await makeDropDirectory(directory);
  const temporary = join(directory, temporaryName(message.id));
  try {
    await writeWhole(temporary, [header(message, content), ...content]);
    await rename(temporary, join(directory, message.id));
  } catch (error) {
    // The first error tells more; what can't be removed is purged by pickup.
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  await syncDirectory(directory);
}

function header(message: DroppedMessage, content: readonly Buffer[]): Buffer {
  const hash = createHash("sha256");
  let contentBytes = 0;
  for (const part of content) {
    hash.update(part);
    contentBytes += part.length;
  }
  return formatDropHeader({ message, contentBytes, contentSha256: hash.digest("hex") });
}

async function writeWhole(path: string, parts: readonly Buffer[]): Promise<void> {
  const flags =
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0);
  await using file = await open(path, flags, 0o600);
  await file.writeFile(parts);
  await file.sync();
}

/**
 * Makes the drop directory, for this user only, if it is missing; looks at it with distrust if it is there.
 *
 * Not `mkdir` with `recursive`: that one never returns where a directory can't be made although its parent exists.
 *
 * @throws the file system's error
 */
export async function makeDropDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, "EEXIST")) return await assertSafe(directory);
    const parent = dirname(directory);
    const isParentMissing = hasCode(error, "ENOENT") && !(await exists(parent));
    if (!isParentMissing || parent === directory) throw error;
    await makeDropDirectory(parent);
    return await makeDropDirectory(directory);
  }
  await syncDirectory(dirname(directory));
}

/** In a directory that others may write to, without the sticky bit, anybody could swap files. */
async function assertSafe(directory: string): Promise<void> {
  const { mode } = await lstat(directory);
  const isOpenToAll = (mode & 0o022) !== 0 && (mode & 0o1000) === 0;
  if (isOpenToAll) {
    throw new Error(
      `${directory} is writable by others and not sticky: its mode must be 0700 or 1733`,
    );
  }
}
