/**
 * Writing messages to an export, in batches: as they stand; or, to delete them, once they are out of their queues.
 *
 * To delete: a batch is taken out of its queues, so that it changes no more, written, synced, and dropped; what is in the
 * way of that puts it back and cuts it off the file; a message that can't be read whole stays alone, as the unreadable do.
 * A process that dies leaves a batch that stands as moving: it is put back within minutes (finish-moves.ts), and cut off by
 * the next run. So each message is in a queue or in the file.
 *
 * Source: docs/BACKUP.md; spec sendmail-queue.md §7.
 */
import type { Copying, Move, MovingAway, ReadCopy } from "@postmq/queue-store";
import { isPostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { inBatches } from "./copy-batches.ts";
import type { ExportFile, ExportOutput } from "./export-file.ts";
import {
  checkpointLine,
  contentPart,
  incompleteEnd,
  messageEnd,
  messageHead,
} from "./export-format.ts";
import type { ExportCounts } from "./export-format.ts";
import { fileMove } from "./finish-moves.ts";

type Side = Copying & MovingAway;

const none: ExportCounts = { messages: 0, busy: 0, unreadable: 0 };
const perRead = 50;

/**
 * Exports messages as they stand, and leaves them where they are.
 *
 * @yields the counts so far, after each page
 */
export async function* exportMessages(
  copying: Copying,
  output: ExportOutput,
  pages: AsyncIterable<readonly QueueId[]>,
): AsyncGenerator<ExportCounts, void, void> {
  let counts = none;
  for await (const page of pages) {
    for (let at = 0; at < page.length; at += perRead) {
      for (const read of await copying.readCopies(page.slice(at, at + perRead))) {
        if (read === "absent") continue;
        if (read === "changing") {
          counts = { ...counts, busy: counts.busy + 1 };
          continue;
        }
        if (read === "unreadable") {
          counts = { ...counts, unreadable: counts.unreadable + 1 };
          continue;
        }
        await writeAsItStands(copying, output, read);
        counts = { ...counts, messages: counts.messages + 1 };
      }
    }
    yield counts;
  }
}

/**
 * Exports messages and deletes them, those that nobody is at work on.
 *
 * @param options.lastBatch the last one that is in the file and gone
 * @param options.exportId names the place in Redis
 */
export async function* exportAndDelete(
  copying: Side,
  file: ExportFile,
  pages: AsyncIterable<readonly QueueId[]>,
  options: { readonly exportId: string; readonly lastBatch: number },
): AsyncGenerator<ExportCounts, void, void> {
  let counts = none;
  let batch = options.lastBatch;
  for await (const page of pages) {
    for (let at = 0; at < page.length; at += perRead) {
      const reads = await copying.readCopies(page.slice(at, at + perRead));
      const readable = reads.filter((read) => typeof read !== "string");
      const unreadable = reads.filter((read) => read === "unreadable").length;
      const changing = reads.filter((read) => read === "changing").length;
      const free = readable.filter(({ isClaimed }) => !isClaimed);
      counts = {
        ...counts,
        unreadable: counts.unreadable + unreadable,
        busy: counts.busy + readable.length - free.length + changing,
      };
      for (const some of inBatches(free)) {
        const step = await exportBatch(copying, file, some, {
          exportId: options.exportId,
          batch: batch + 1,
        });
        if (step.deleted > 0) batch += 1;
        counts = {
          messages: counts.messages + step.deleted,
          busy: counts.busy + some.length - step.deleted - step.unreadable,
          unreadable: counts.unreadable + step.unreadable,
        };
      }
    }
    yield counts;
  }
}

type Written = {
  readonly file: ExportFile;
  /** Out of their queues. */
  readonly moves: readonly Move[];
  /** Where the batch begins in the file. */
  readonly start: number;
  readonly exportId: string;
  readonly batch: number;
};

async function exportBatch(
  copying: Side,
  file: ExportFile,
  reads: readonly ReadCopy[],
  { exportId, batch }: { readonly exportId: string; readonly batch: number },
): Promise<{ readonly deleted: number; readonly unreadable: number }> {
  const marks = reads.map((read) => ({ move: copying.moveOf(read), version: read.version }));
  const marked = await copying.markMoving(marks, `${fileMove}${exportId}`);
  const frozen = reads.filter((_, i) => marked[i] === "marked");
  if (frozen.length === 0) return { deleted: 0, unreadable: 0 };
  const moves = frozen.map((read) => copying.moveOf(read));
  const written: Written = { file, moves, start: file.position, exportId, batch };
  let whole: readonly Move[] = [];
  const wasDeleted = await orUndo(copying, written, async () => {
    whole = await writeWhole(copying, file, frozen);
    if (whole.length === 0) return false;
    await file.sync();
    return await copying.dropWritten(whole, { name: exportId, to: String(batch) });
  });
  if (wasDeleted) await file.write(checkpointLine(batch));
  return { deleted: wasDeleted ? whole.length : 0, unreadable: frozen.length - whole.length };
}

/** One whose content is not all there is in its queue again, and not in the file. @returns the others' moves */
async function writeWhole(
  copying: Side,
  file: ExportFile,
  reads: readonly ReadCopy[],
): Promise<readonly Move[]> {
  const whole: Move[] = [];
  for (const read of reads) {
    const move = copying.moveOf(read);
    const start = file.position;
    try {
      await writeMessage(copying, file, read);
      whole.push(move);
    } catch (error) {
      if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) throw error;
      await file.cutAt(start);
      await copying.putBack([move]);
    }
  }
  return whole;
}

/**
 * What could not be done is undone: the messages are in their queues, and not in the file. Should it not be known whether
 * they were deleted, all is left to the next run, which asks the place.
 */
async function orUndo(
  copying: Side,
  { file, moves, start, exportId, batch }: Written,
  work: () => Promise<boolean>,
): Promise<boolean> {
  const undo = async () => {
    await file.cutAt(start);
    await copying.putBack(moves);
  };
  try {
    if (await work()) return true;
  } catch (error) {
    if ((await copying.readPlace(exportId)) === String(batch)) return true;
    await undo();
    throw error;
  }
  await undo();
  return false;
}

/** What is delivered or deleted while its content is read is marked as incomplete. */
async function writeAsItStands(
  copying: Copying,
  output: ExportOutput,
  read: ReadCopy,
): Promise<void> {
  try {
    await writeMessage(copying, output, read);
  } catch (error) {
    if (!isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) throw error;
    await output.write(incompleteEnd);
  }
}

/** @throws PMQ_MESSAGE_UNREADABLE when its content is not all there: some of the line is written then */
async function writeMessage(copying: Copying, output: ExportOutput, read: ReadCopy): Promise<void> {
  await output.write(messageHead(read.copy, read.content.sizeBytes));
  if (read.content.chunks <= 1) {
    const { inline } = read;
    const part = inline === undefined || inline.length === 0 ? "" : contentPart(inline, true);
    await output.write(part + messageEnd);
    return;
  }
  let isFirst = true;
  for await (const part of copying.readContent(read.content)) {
    await output.write(contentPart(part, isFirst));
    isFirst = false;
  }
  await output.write(messageEnd);
}
