/**
 * Moves that somebody died over: those to another instance are brought to their end, those into a file are taken back.
 *
 * A message that stands as moving is in no queue. Whoever comes by a minute later (the next `postmq aside` or `export`,
 * showq, `postmq check --repair`) goes on from where the other stopped; two at once do no harm. An instance that can't be
 * reached, or has no room, keeps nobody else's moves from their end.
 *
 * Source: DESIGN §5; P2; docs/ARCHITECTURE.md "A message that moves to another instance".
 */
import type { Copying, Move, MovingAway } from "@postmq/queue-store";
import { isPostmqError } from "@postmq/vocabulary";
import type { PostmqError } from "@postmq/vocabulary";

import { arrive, complete, copyAgain } from "./aside-messages.ts";
import type { MovingSide } from "./aside-messages.ts";

type Side = Copying & MovingAway;

/** So long a move may stand before somebody else takes it up. */
export const abandonedAfterMs = 60_000;
/** How a move into a file begins. */
export const fileMove = "file:";

type Ended = {
  /** They are over there. */
  readonly moved: number;
  /** Asked to be in their queues here again: somebody else may have ended some of them a moment before. */
  readonly putBack: number;
};

export type FinishedMoves = Ended & { readonly unfinished: readonly UnfinishedGroup[] };

/** What is left of the moves that go there stays as it is, to be taken up again. */
export type UnfinishedGroup = { readonly to: string; readonly error: PostmqError };

/**
 * Ends moves that were marked before a moment, of each page those into files first. An instance that moves are ended
 * to is an aside of ours, also if it was removed meanwhile.
 *
 * @param withInstance lets its caller work with another instance; when it throws a PostmqError, the moves that go there
 *   stay as they are
 * @throws PostmqError when this side is away
 */
export async function finishMoves(
  copying: Side,
  options: {
    readonly markedBeforeMs: number;
    readonly withInstance: <T>(name: string, use: (there: Side) => Promise<T>) => Promise<T>;
  },
): Promise<FinishedMoves> {
  let [moved, putBack] = [0, 0];
  const count = (step: Ended) => {
    moved += step.moved;
    putBack += step.putBack;
  };
  const unfinished = new Map<string, PostmqError>();
  for await (const page of copying.moving(options.markedBeforeMs)) {
    for (const [to, moves] of filesFirst(page)) {
      if (unfinished.has(to)) continue;
      try {
        if (to.startsWith(fileMove)) {
          await copying.putBack(moves);
          count({ moved: 0, putBack: moves.length });
          continue;
        }
        await options.withInstance(to, async (there) => {
          for await (const step of finish(copying, { name: to, copying: there }, moves))
            count(step);
        });
      } catch (error) {
        if (!isPostmqError(error)) throw error;
        unfinished.set(to, error);
      }
    }
  }
  return { moved, putBack, unfinished: [...unfinished].map(([to, error]) => ({ to, error })) };
}

/** Nothing but Redis is needed to put back what was on its way into a file. */
function filesFirst<M extends { readonly to: string }>(
  moves: readonly M[],
): readonly (readonly [string, readonly M[]])[] {
  const isFile = (to: string) => Number(to.startsWith(fileMove));
  return [...Map.groupBy(moves, ({ to }) => to)].toSorted(([a], [b]) => isFile(b) - isFile(a));
}

/**
 * First those whose copy is whole over there, which needs no room; then those that must be copied again.
 *
 * @yields what was ended, so that it counts though the rest fails
 */
async function* finish(
  from: Side,
  to: MovingSide,
  moves: readonly Move[],
): AsyncGenerator<Ended, void, void> {
  await rememberAside(from, to, moves);
  const { over, taken, absent } = await arrive(
    from,
    to.copying,
    await stillMoving(from, to, moves),
  );
  if (taken.length > 0) await from.putBack(taken);
  yield { moved: over.length, putBack: taken.length };
  if (absent.length === 0) return;
  const copied = await copyAgain(from, to.copying, absent);
  const lost = absent.filter((move) => !copied.includes(move));
  if (lost.length > 0) await from.putBack(lost);
  const still = await stillMoving(from, to, copied);
  const moved = await complete(from, to.copying, still);
  yield { moved, putBack: lost.length + still.length - moved };
}

/** Somebody else may have ended some of them meanwhile. */
async function stillMoving(
  from: Side,
  to: MovingSide,
  moves: readonly Move[],
): Promise<readonly Move[]> {
  if (moves.length === 0) return [];
  const marks = moves.map((move) => ({ move, version: "none" }));
  const answers = await from.markMoving(marks, to.name);
  return moves.filter((_, i) => answers[i] === "marked");
}

/**
 * An aside that was removed before its mail came must be listed again. On the way back from an aside it is known where it
 * goes; the aside itself has none. A name that is known is not written: that may not be possible any more.
 */
async function rememberAside(from: Side, to: MovingSide, moves: readonly Move[]): Promise<void> {
  if ((await from.asideNames()).includes(to.name)) return;
  const asidesOfTo = await to.copying.asideNames();
  // A move's name begins with the prefix of the keys of the instance that it leaves.
  const isWayBack = asidesOfTo.some((name) => moves[0]?.name.startsWith(`postmq:{${name}}/`));
  if (!isWayBack) await from.rememberAside(to.name);
}
