/**
 * Moving messages to another instance: aside, and back.
 *
 * Each message is copied over there, not ready; taken out of its queue here, if it is still what was read; made ready over
 * there; dropped here. Every step is safe to repeat, so whoever finds one that somebody died over goes on with it
 * (finish-moves.ts). What somebody is at work on stays where it is.
 *
 * Source: DESIGN §5; sendmail-queue.md §7; docs/ARCHITECTURE.md "A message that moves to another instance".
 */
import type { Copying, Move, MovingAway, ReadCopy, RestorableMessage } from "@postmq/queue-store";
import { isPostmqError, messageQueues } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { inBatches, restorable } from "./copy-batches.ts";

/** What is in corrupt moves when it is named. */
export const movedQueues = messageQueues.filter((queue) => queue !== "corrupt");

type Side = Copying & MovingAway;

/** An instance, as moves see it. */
export type MovingSide = { readonly name: string; readonly copying: Side };

export type MoveCounts = {
  readonly moved: number;
  /** Somebody is at work on them, or they changed while they were copied: they stay. */
  readonly busy: number;
  /** A message of that id is over there already: they stay. */
  readonly taken: number;
  readonly unreadable: number;
};

const none: MoveCounts = { moved: 0, busy: 0, taken: 0, unreadable: 0 };
/** Messages per script, and such batches at once. */
const perBatch = 50;
const batchesAtOnce = 4;

/**
 * Moves messages, some at a time.
 *
 * @param pages ids, as they are selected; those that are gone are passed over
 * @yields the counts so far, after each page
 * @throws PMQ_STORE_FULL when Redis has no room for the copies
 */
export async function* moveMessages(
  from: MovingSide,
  to: MovingSide,
  pages: AsyncIterable<readonly QueueId[]>,
): AsyncGenerator<MoveCounts, void, void> {
  let counts = none;
  for await (const page of pages) {
    for (let at = 0; at < page.length; at += perBatch * batchesAtOnce) {
      const some = page.slice(at, at + perBatch * batchesAtOnce);
      const moved = await Promise.all(
        batchesOf(some, perBatch).map((ids) => moveBatch(from, to, ids)),
      );
      counts = moved.reduce(add, counts);
    }
    yield counts;
  }
}

async function moveBatch(
  from: MovingSide,
  to: MovingSide,
  ids: readonly QueueId[],
): Promise<MoveCounts> {
  const reads = await from.copying.readCopies(ids);
  const readable = reads.filter((read) => typeof read !== "string");
  const free = readable.filter(({ isClaimed }) => !isClaimed);
  let counts: MoveCounts = {
    ...none,
    busy: readable.length - free.length + reads.filter((read) => read === "changing").length,
    unreadable: reads.filter((read) => read === "unreadable").length,
  };
  for (const batch of inBatches(free)) counts = add(counts, await moveRead(from, to, batch));
  return counts;
}

async function moveRead(
  from: MovingSide,
  to: MovingSide,
  reads: readonly ReadCopy[],
): Promise<MoveCounts> {
  const copied = await copyOver(from.copying, to.copying, reads);
  const free = copied.filter(({ answer }) => answer !== "taken");
  const marks = free.map(({ move, read }) => ({ move, version: read.version }));
  const marked = marks.length === 0 ? [] : await from.copying.markMoving(marks, to.name);
  const moves = free.filter((_, i) => marked[i] === "marked").map(({ move }) => move);
  const moved = await complete(from.copying, to.copying, moves);
  return {
    ...none,
    moved,
    taken: copied.length - free.length + moves.length - moved,
    busy: reads.length - copied.length + free.length - moves.length,
  };
}

/** The first step: not ready over there. What is delivered or deleted while it is read is left out. */
async function copyOver(
  from: Side,
  to: Side,
  reads: readonly ReadCopy[],
): Promise<readonly { readonly move: Move; readonly read: ReadCopy; readonly answer: string }[]> {
  const copies: (Parameters<Side["restoreComing"]>[0][number] & { readonly read: ReadCopy })[] = [];
  for (const read of reads) {
    const message = await restorableIfThere(from, to, read);
    if (message !== undefined) copies.push({ ...message, move: from.moveOf(read), read });
  }
  if (copies.length === 0) return [];
  const answers = await to.restoreComing(copies);
  return copies.map(({ read, move }, i) => ({ read, move, answer: answers[i] ?? "taken" }));
}

/** @returns undefined: its content is gone, or a part of it */
async function restorableIfThere(
  from: Side,
  to: Side,
  read: ReadCopy,
): Promise<RestorableMessage | undefined> {
  try {
    return await restorable(from, to, read);
  } catch (error) {
    if (isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) return undefined;
    throw error;
  }
}

/**
 * The last steps of moves that are marked here and copied over there: ready there, dropped here, forgotten there. What
 * can't be made ready over there is put back here.
 *
 * @returns how many were moved
 */
export async function complete(from: Side, to: Side, moves: readonly Move[]): Promise<number> {
  const { over, taken, absent } = await arrive(from, to, moves);
  const left = [...taken, ...absent];
  if (left.length > 0) await from.putBack(left);
  return over.length;
}

export type Arrived = Readonly<Record<"over" | "taken" | "absent", readonly Move[]>>;

/**
 * The last steps of those whose copies are whole over there. The others stand as moving still: taken, another message of
 * that id is over there; absent, the copy is gone.
 */
export async function arrive(from: Side, to: Side, moves: readonly Move[]): Promise<Arrived> {
  if (moves.length === 0) return { over: [], taken: [], absent: [] };
  const answers = await to.makeReady(moves);
  const answered = (...words: readonly string[]) =>
    moves.filter((_, i) => words.includes(answers[i] ?? ""));
  const over = answered("ready", "already");
  if (over.length > 0) {
    await from.dropMoved(over);
    await to.forgetArrived(over);
  }
  return { over, taken: answered("taken"), absent: answered("absent") };
}

/** Copies what was marked before, when the copy that was made then is gone. @returns those that are over there now */
export async function copyAgain(
  from: Side,
  to: Side,
  moves: readonly Move[],
): Promise<readonly Move[]> {
  const reads = await from.readMoving(moves.map(({ id }) => id));
  const over: Move[] = [];
  for (const [i, read] of reads.entries()) {
    const move = moves[i];
    if (move === undefined || typeof read === "string") continue;
    const message = await restorableIfThere(from, to, read);
    if (message === undefined) continue;
    const [answer] = await to.restoreComing([{ ...message, move }]);
    if (answer !== "taken") over.push(move);
  }
  return over;
}

function add(a: MoveCounts, b: MoveCounts): MoveCounts {
  return {
    moved: a.moved + b.moved,
    busy: a.busy + b.busy,
    taken: a.taken + b.taken,
    unreadable: a.unreadable + b.unreadable,
  };
}

function batchesOf<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    items.slice(i * size, (i + 1) * size),
  );
}
