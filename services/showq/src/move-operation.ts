/**
 * An operation that moves messages to another instance, in steps as `runOperation`'s: `postmq aside --to` over HTTP.
 *
 * What somebody is at work on stays, and so does what arrived after the operation began. A message that a showq died over
 * is in neither queue until some showq takes the move up, within two minutes; it is not counted then.
 *
 * Source: spec http-api.md §2 "action move"; sendmail-queue.md §7; DESIGN §5.
 */
import { mostSamples, movedQueues, moveMessages, Selector } from "@postmq/queue-admin";
import type { MoveCounts, OperationProgress, OperationTask } from "@postmq/queue-admin";
import type { Copying, ListedMessage, MovingAway, Selecting, Store } from "@postmq/queue-store";
import type { Clock, MessageQueue } from "@postmq/vocabulary";

export type MovingParts = {
  readonly instanceName: string;
  readonly clock: Clock;
  readonly selecting: Selecting;
  readonly copying: Copying & MovingAway;
  /** Opens another instance on the same Redis. */
  readonly open: (instanceName: string) => Promise<Store>;
};

/** @param from what the last step gave, to go on from there */
export async function* moveOperation(
  parts: MovingParts,
  { selection, isDryRun }: OperationTask,
  to: string,
  from?: OperationProgress,
): AsyncGenerator<OperationProgress, void, void> {
  // A dry run leaves no trace of an instance that is not there yet.
  await using there = isDryRun ? undefined : await parts.open(to);
  const sides = there && {
    from: { name: parts.instanceName, copying: parts.copying },
    to: { name: to, copying: there.copying() },
  };
  if (sides !== undefined) await parts.copying.rememberAside(to);
  let progress = from ?? begin(parts.clock.nowMs());
  const arrivedToMs = Math.min(selection.arrivedToMs ?? Number.POSITIVE_INFINITY, progress.begunMs);
  const selector = new Selector(parts.selecting, { ...selection, arrivedToMs });
  const queues = selection.queues ?? movedQueues;
  while (!progress.isOver) {
    const queue: MessageQueue = progress.queue ?? queues[0] ?? "hold";
    const { messages, seen, cursor } = await selector.page(queue, progress.cursor);
    const moved = sides === undefined ? wouldMove(messages) : await movePage(sides, messages);
    progress = advanced(progress, { messages, seen, moved });
    const next = cursor === undefined ? queues[queues.indexOf(queue) + 1] : queue;
    progress =
      next === undefined
        ? { ...progress, isOver: true }
        : { ...progress, queue: next, ...(cursor === undefined ? {} : { cursor }) };
    yield progress;
  }
}

function begin(begunMs: number): OperationProgress {
  return { begunMs, act: 0, isOver: false, seen: 0, done: [0], unreadable: 0, sample: [] };
}

type Moved = Pick<MoveCounts, "moved" | "unreadable">;

function wouldMove(messages: readonly ListedMessage[]): Moved {
  const readable = messages.filter(({ generation }) => generation > 0).length;
  return { moved: readable, unreadable: messages.length - readable };
}

type Sides = Readonly<Record<"from" | "to", Parameters<typeof moveMessages>[0]>>;

async function movePage({ from, to }: Sides, messages: readonly ListedMessage[]): Promise<Moved> {
  let counts: Moved = { moved: 0, unreadable: 0 };
  if (messages.length === 0) return counts;
  const ids = messages.map(({ id }) => id);
  async function* pages() {
    yield ids;
  }
  for await (const soFar of moveMessages(from, to, pages())) counts = soFar;
  return counts;
}

function advanced(
  { queue: _queue, cursor: _cursor, ...progress }: OperationProgress,
  step: {
    readonly messages: readonly ListedMessage[];
    readonly seen: number;
    readonly moved: Moved;
  },
): OperationProgress {
  const sample = [...progress.sample, ...step.messages.map(({ id }) => id)].slice(0, mostSamples);
  return {
    ...progress,
    seen: progress.seen + step.seen,
    done: [(progress.done[0] ?? 0) + step.moved.moved],
    unreadable: progress.unreadable + step.moved.unreadable,
    sample,
  };
}
