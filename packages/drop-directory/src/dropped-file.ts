/**
 * The reading side of the drop directory: opens a dropped file without trusting anything about it.
 *
 * The name is a checked queue id, so that it can't lead out of the directory. The file is opened first, without
 * following a link and without waiting (a FIFO), and all checks are made on the open file, so that nothing can be
 * swapped in between: a regular file, with one name, writable by its owner only. The content is handed out as it is read;
 * its length and checksum are known to be right only when the reading ends without an error.
 *
 * Source: spec security.md 9; Q8.
 */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import type { Stats } from "node:fs";
import { lstat, open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";

import type { QueueId } from "@postmq/vocabulary";

import { isMissing } from "./directory.ts";
import { parseDropHeader, unreadable } from "./drop-header.ts";
import type { DropHeader, DroppedMessage } from "./drop-header.ts";

const chunkBytes = 256 * 1024;
const longestHeader = 16 * 1024 * 1024;

/**
 * Opens a message of the drop directory.
 *
 * @returns undefined when it is gone
 * @throws PMQ_MESSAGE_UNREADABLE for anything that is not a whole message's file; the file system's error when
 *   nothing can be said about it
 */
export async function openDropped(
  directory: string,
  id: QueueId,
): Promise<DroppedFile | undefined> {
  const path = join(directory, id);
  const handle = await openWithoutWaiting(path);
  if (handle === undefined) return undefined;
  try {
    const status = await handle.stat();
    assertTrustworthy(status);
    const { header, bodyOffset } = await readHeader(handle);
    if (header.message.id !== id) throw unreadable("the file's name is not its queue id");
    if (status.size !== bodyOffset + header.contentBytes) throw unreadable("wrong length");
    return new DroppedFile({ handle, path, status, header, bodyOffset });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

type Opened = {
  readonly handle: FileHandle;
  readonly path: string;
  readonly status: Stats;
  readonly header: DropHeader;
  readonly bodyOffset: number;
};

/** A dropped message, open for reading. */
export class DroppedFile implements AsyncDisposable {
  readonly message: DroppedMessage;
  readonly contentBytes: number;
  readonly #opened: Opened;

  constructor(opened: Opened) {
    this.#opened = opened;
    this.message = withTrueUid(opened.header.message, opened.status.uid);
    this.contentBytes = opened.header.contentBytes;
  }

  /** The content in pieces. @throws PMQ_MESSAGE_UNREADABLE at its end when it is not what was written */
  async *readContent(): AsyncGenerator<Buffer, void, void> {
    const { handle, header, bodyOffset } = this.#opened;
    const hash = createHash("sha256");
    let position = bodyOffset;
    const end = bodyOffset + header.contentBytes;
    while (position < end) {
      const length = Math.min(chunkBytes, end - position);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, position);
      if (bytesRead === 0) throw unreadable("wrong length");
      const bytes = buffer.subarray(0, bytesRead);
      hash.update(bytes);
      position += bytesRead;
      yield bytes;
    }
    if (hash.digest("hex") !== header.contentSha256) throw unreadable("wrong checksum");
  }

  /** Whether the file still stands under its name: another pickup may have taken it meanwhile. */
  async isStillThere(): Promise<boolean> {
    try {
      const { ino, dev } = await lstat(this.#opened.path);
      return ino === this.#opened.status.ino && dev === this.#opened.status.dev;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.handle.close();
  }
}

/** Too many open links, no such device: what links and sockets answer. Other errors say nothing about the file. */
const wrongKindCodes: readonly unknown[] = ["ELOOP", "ENXIO", "ENODEV"];

async function openWithoutWaiting(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isMissing(error)) return undefined;
    const isWrongKind =
      error instanceof Error && "code" in error && wrongKindCodes.includes(error.code);
    throw isWrongKind ? unreadable("not a regular file", error) : error;
  }
}

function assertTrustworthy(status: Stats): void {
  if (!status.isFile()) throw unreadable("not a regular file");
  if (status.nlink !== 1) throw unreadable("it has more than one name");
  if ((status.mode & 0o022) !== 0) throw unreadable("it is writable by others than its owner");
}

async function readHeader(handle: FileHandle) {
  const parts: Buffer[] = [];
  for (let position = 0; position < longestHeader;) {
    const { buffer, bytesRead } = await handle.read(
      Buffer.alloc(chunkBytes),
      0,
      chunkBytes,
      position,
    );
    if (bytesRead === 0) throw unreadable("it ends within its header");
    const bytes = buffer.subarray(0, bytesRead);
    const lineEnd = bytes.indexOf(0x0a);
    if (lineEnd >= 0) {
      const line = Buffer.concat([...parts, bytes.subarray(0, lineEnd)]).toString("utf8");
      return { header: parseDropHeader(line), bodyOffset: position + lineEnd + 1 };
    }
    parts.push(bytes);
    position += bytesRead;
  }
  throw unreadable("its header is too long");
}

/** What a file says about its user counts only if root or we ourselves wrote it; else it is its owner's. */
function withTrueUid(message: DroppedMessage, ownerUid: number): DroppedMessage {
  const { envelope } = message;
  const said = envelope.client?.uid;
  const isTrusted = ownerUid === 0 || ownerUid === process.geteuid?.();
  const uid = isTrusted && said !== undefined ? said : ownerUid;
  const client = { name: "localhost", address: "", protocol: "", ...envelope.client, uid };
  return { ...message, envelope: { ...envelope, client } };
}
