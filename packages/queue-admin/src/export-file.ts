/**
 * The file of an export: made anew, never over another one; or gone on with, from the last batch that is known to be gone
 * from the queues.
 *
 * With --delete a batch is written and synced, then deleted in the queues, then a checkpoint is written behind it. The
 * deletion moves a place in Redis in the same script. So a run that goes on knows of the batch behind the last
 * checkpoint whether it was deleted: if so it stays, else it is cut off, since its messages are in their queues again.
 *
 * Source: docs/BACKUP.md; spec sendmail-queue.md §7.
 */
import { open, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { dirname } from "node:path";

import { PostmqError } from "@postmq/vocabulary";

import { checkpointLine } from "./export-format.ts";

/** Takes an export's lines. */
export type ExportOutput = {
  write(part: string): Promise<void>;
};

const checkpointStart = Buffer.from('\n{"checkpoint":');
const blockBytes = 64 * 1024;
/** A header is shorter. */
const longestHeader = 64 * 1024;
const newline = 10;

export class ExportFile implements ExportOutput, AsyncDisposable {
  readonly #file: FileHandle;
  readonly #path: string;
  #at = 0;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * @param advice what to do when there is a file of that name
   * @throws PMQ_EXPORT_FILE when there is one, or it can't be made
   */
  static async create(path: string, advice = "name another"): Promise<ExportFile> {
    try {
      const created = new ExportFile(await open(path, "wx+", 0o600), path);
      await created.#syncDirectory();
      return created;
    } catch (error) {
      const isThere = error instanceof Error && "code" in error && error.code === "EEXIST";
      throw trouble(path, isThere ? `is there already: ${advice}` : error);
    }
  }

  /** @throws PMQ_EXPORT_FILE */
  static async reopen(path: string): Promise<ExportFile> {
    try {
      const file = new ExportFile(await open(path, "r+"), path);
      file.#at = (await file.#file.stat()).size;
      return file;
    } catch (error) {
      throw trouble(path, error);
    }
  }

  async #syncDirectory(): Promise<void> {
    await using directory = await open(dirname(this.#path), "r");
    await directory.sync();
  }

  get position(): number {
    return this.#at;
  }

  async write(part: string): Promise<void> {
    const bytes = Buffer.from(part);
    try {
      for (let from = 0; from < bytes.length;) {
        const { bytesWritten } = await this.#file.write(
          bytes,
          from,
          bytes.length - from,
          this.#at + from,
        );
        from += bytesWritten;
      }
    } catch (error) {
      throw trouble(this.#path, error);
    }
    this.#at += bytes.length;
  }

  async sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      throw trouble(this.#path, error);
    }
  }

  /** Takes the file away; nothing may be written any more. @throws PMQ_EXPORT_FILE */
  async remove(): Promise<void> {
    try {
      await unlink(this.#path);
    } catch (error) {
      throw trouble(this.#path, error);
    }
  }

  async cutAt(position: number): Promise<void> {
    try {
      await this.#file.truncate(position);
      await this.#file.sync();
    } catch (error) {
      throw trouble(this.#path, error);
    }
    this.#at = position;
  }

  /** The first line, without its end. @throws PMQ_EXPORT_FILE when it has none */
  async firstLine(): Promise<string> {
    const head = await this.#read(0, longestHeader);
    const end = head.indexOf(newline);
    if (end < 0) throw trouble(this.#path, "does not begin as an export does");
    return head.toString("utf8", 0, end);
  }

  /** The last checkpoint, and where what follows it begins; batch 0: there is none, and that is behind the first line. */
  async lastCheckpoint(): Promise<{ readonly batch: number; readonly end: number }> {
    for (let to = this.#at; to > 0;) {
      const from = Math.max(0, to - blockBytes);
      // A checkpoint that stands across two blocks is found in the one before.
      const block = await this.#read(from, to - from + checkpointStart.length + 20);
      for (let at = block.lastIndexOf(checkpointStart); at >= 0;) {
        const found = /^\n\{"checkpoint":(\d{1,15})\}\n/.exec(
          block.toString("latin1", at, at + 40),
        );
        if (found !== null) return { batch: Number(found[1]), end: from + at + found[0].length };
        if (at === 0) break;
        at = block.lastIndexOf(checkpointStart, at - 1);
      }
      to = from;
    }
    return { batch: 0, end: Buffer.byteLength(await this.firstLine()) + 1 };
  }

  async #read(from: number, length: number): Promise<Buffer> {
    const block = Buffer.alloc(length);
    let read = 0;
    while (read < length) {
      const { bytesRead } = await this.#file.read(block, read, length - read, from + read);
      if (bytesRead === 0) break;
      read += bytesRead;
    }
    return block.subarray(0, read);
  }

  /**
   * Brings the file to where the queues are: what follows the last checkpoint stays if it was deleted, else it is cut off.
   *
   * @param deletedBatch what the place in Redis says; undefined: there is none, so that nothing may be cut off
   * @returns the last batch that is in the file and gone from the queues
   * @throws PMQ_EXPORT_FILE when the two don't fit together
   */
  async goOn(deletedBatch: number | undefined): Promise<number> {
    const { batch, end } = await this.lastCheckpoint();
    if (deletedBatch === undefined) {
      if (this.#at === end) return batch;
      throw trouble(this.#path, "how far it came is not known here, or no longer: begin a new one");
    }
    if (deletedBatch === batch) {
      await this.cutAt(end);
      return batch;
    }
    if (deletedBatch !== batch + 1) {
      throw trouble(this.#path, `ends with batch ${batch}, and ${deletedBatch} was deleted last`);
    }
    // The batch's lines were synced whole before it was deleted: a last line without an end is a checkpoint begun.
    await this.cutAt(await this.#lastLineEnd(end));
    await this.write(checkpointLine(deletedBatch));
    await this.sync();
    return deletedBatch;
  }

  /** Behind the last newline. @param least there or further on */
  async #lastLineEnd(least: number): Promise<number> {
    for (let to = this.#at; to > least;) {
      const from = Math.max(least, to - blockBytes);
      const at = (await this.#read(from, to - from)).lastIndexOf(newline);
      if (at >= 0) return from + at + 1;
      to = from;
    }
    return least;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

function trouble(path: string, why: unknown): PostmqError {
  const text = why instanceof Error ? why.message : String(why);
  return new PostmqError("PMQ_EXPORT_FILE", `${path}: ${text}`, {
    ...(why instanceof Error ? { cause: why } : {}),
  });
}
