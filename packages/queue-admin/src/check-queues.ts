/**
 * The check of a queue system, as `postmq check` runs it: the store's walk, moves that nobody finished, and what an
 * operator should know besides, though nothing is wrong with it.
 *
 * Mending goes on until a walk finds nothing, since what one walk mends may show something else that came of it.
 *
 * Source: contract-of-checking.ts of queue-store; spec admin-tools.md §6; P2, P12.
 */
import type { CheckCounts, Copying, Finding, MovingAway, Store } from "@postmq/queue-store";

import { abandonedAfterMs, finishMoves } from "./finish-moves.ts";

const mostWalks = 4;
/** A ring that waits so long is heard by nobody: readers take theirs within milliseconds. */
const ringPatienceMs = 60_000;

export type CheckOptions = {
  readonly isMending: boolean;
  /** Content that is nobody's is left alone for so long; default an hour. */
  readonly restingSeconds?: number;
  readonly onCount?: (messages: number) => void;
  /** Lets its caller work with another instance, to finish moves that go there. */
  readonly withInstance: <T>(
    name: string,
    use: (there: Copying & MovingAway) => Promise<T>,
  ) => Promise<T>;
};

export type CheckResult = {
  readonly counts: CheckCounts;
  /** The last walk found nothing. */
  readonly isClean: boolean;
  /** Nothing is wrong with these, but nobody works on them. */
  readonly notices: readonly string[];
};

/** Yields each finding as it is found. */
export async function* checkQueues(
  store: Store,
  options: CheckOptions,
): AsyncGenerator<Finding, CheckResult, void> {
  const checking = store.checking();
  const notices = await noticesOf(store);
  for (let walk = 1; ; walk += 1) {
    let found = 0;
    for await (const finding of moves(store, options)) {
      found += 1;
      yield finding;
    }
    const steps = checking.check(options);
    let counts: CheckCounts | undefined;
    while (counts === undefined) {
      const step = await steps.next();
      if (step.done === true) counts = step.value;
      else {
        found += 1;
        yield step.value;
      }
    }
    if (found > 0 && options.isMending && walk < mostWalks) continue;
    return { counts, isClean: found === 0, notices: [...notices, ...claimNotices(counts)] };
  }
}

/** Messages that stand as moving for longer than any move takes are in no queue. */
async function* moves(store: Store, options: CheckOptions): AsyncGenerator<Finding, void, void> {
  const copying = store.copying();
  const markedBeforeMs = store.clock.nowMs() - abandonedAfterMs;
  const unfinished = await Array.fromAsync(copying.moving(markedBeforeMs));
  if (unfinished.length === 0) return;
  const inTheWay = new Map<string, string>();
  if (options.isMending) {
    const { withInstance } = options;
    const ended = await finishMoves(copying, { markedBeforeMs, withInstance });
    for (const { to, error } of ended.unfinished) inTheWay.set(to, `: ${error.message}`);
  }
  const still = (await Array.fromAsync(copying.moving(markedBeforeMs))).flat();
  const left = new Set(still.map(({ id }) => id));
  for (const { id, to } of unfinished.flat()) {
    const outcome = !options.isMending ? "found" : left.has(id) ? "left" : "mended";
    const why = outcome === "left" ? (inTheWay.get(to) ?? "") : "";
    const text = `its move to ${to} was never finished${why}`;
    yield { kind: "move", where: id, text, outcome };
  }
}

async function noticesOf(store: Store): Promise<readonly string[]> {
  const notices: string[] = [];
  if ((await store.looking().scheduler()) === undefined) {
    notices.push("nobody schedules: no qmgr leads");
  }
  const nowMs = store.clock.nowMs();
  for (const { queue, waiting, oldestMs } of await store.checking().rings()) {
    if (oldestMs === undefined || nowMs - oldestMs < ringPatienceMs) continue;
    const seconds = Math.floor((nowMs - oldestMs) / 1000);
    notices.push(`${waiting} rings wait in ${queue}, the next for ${seconds} s: nobody hears them`);
  }
  return notices;
}

function claimNotices({ deadClaims }: CheckCounts): readonly string[] {
  if (deadClaims === 0) return [];
  return [`${deadClaims} claims of processes that are gone: whoever leads takes them back`];
}
