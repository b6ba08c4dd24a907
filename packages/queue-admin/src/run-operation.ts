/**
 * Carries out an operation in steps, between which mail flows.
 *
 * What comes out of a step is all that is needed to go on: whoever has it can, in this process or another. A step that
 * was done and not noted is done again, which does no harm; its messages are not counted twice. All of a queue is walked
 * by the store itself; otherwise a step reads a page of candidates and acts on those that the selection means. Between
 * the two a message may change: its queue is checked again by the script that acts, other parts (a reason, say) are not.
 *
 * What enters a queue after the operation began is left alone, so that every operation ends. Only a retry begins anew: it
 * takes what the release before it moved. A release behind an expiry takes only what is expired. Mail that is held, or
 * comes to be meant, between the two would be delivered otherwise, where the sender is to have it back.
 *
 * Source: spec http-api.md §2 "/v1/operations"; admin-tools.md §2.
 */
import { namedQueuesOfAct, queuesOfAct } from "@postmq/queue-store";
import type { Act, Acting, ListedMessage, Operating, Selecting } from "@postmq/queue-store";
import { panic, PostmqError } from "@postmq/vocabulary";
import type { Clock, MessageQueue, QueueId } from "@postmq/vocabulary";

import { mostSamples } from "./operation.ts";
import type { OperationProgress, OperationTask } from "./operation.ts";
import { Selector } from "./select-messages.ts";
import type { Selection } from "./selection.ts";

/** The store's clock here may be a little behind that of Redis, and what came in just now is meant, too. */
const clockMarginMs = 50;

/** Faces of one store, each of which holds a connection: ask for them once. */
export type OperationFaces = {
  readonly acting: Acting;
  readonly selecting: Selecting;
  readonly clock: Clock;
  /** With it, a retry begins by lifting all throttles, as a flush does. */
  readonly operating?: Pick<Operating, "unthrottle">;
};

/**
 * Runs an operation to its end, or until nobody asks for a further step.
 *
 * @param from what the last step gave, to go on from there
 * @throws PMQ_USAGE when it makes no sense; nothing is changed then
 */
export async function* runOperation(
  faces: OperationFaces,
  task: OperationTask,
  from?: OperationProgress,
): AsyncGenerator<OperationProgress, void, void> {
  assertSensible(task);
  const steps = new Steps(faces, task);
  let progress = from ?? steps.begin();
  while (!progress.isOver) {
    progress = await steps.next(progress);
    yield progress;
  }
}

/** @throws PMQ_USAGE naming a queue that none of the acts takes messages from */
export function assertSensible({ acts, selection }: OperationTask): void {
  const isTaken = (queue: MessageQueue) =>
    acts.some((act) => queuesFor(act, { queues: [queue] }).length > 0);
  const odd = selection.queues?.find((queue) => !isTaken(queue));
  if (odd === undefined) return;
  const text = `queue: "${odd}" is none that ${acts.join(", ")} takes messages from`;
  throw new PostmqError("PMQ_USAGE", text, { facts: { option: "queue", value: odd } });
}

/** Those that an act takes messages from, of the queues that a selection names. */
export function queuesFor(
  act: Act,
  { queues }: Pick<Selection, "queues">,
): readonly MessageQueue[] {
  const [usual, named] = [queuesOfAct[act], namedQueuesOfAct[act]];
  return queues === undefined
    ? usual
    : [...usual, ...named].filter((each) => queues.includes(each));
}

class Steps {
  readonly #faces: OperationFaces;
  readonly #task: OperationTask;
  readonly #selector: Selector;
  readonly #isWholeQueues: boolean;

  constructor(faces: OperationFaces, task: OperationTask) {
    this.#faces = faces;
    this.#task = task;
    this.#selector = new Selector(faces.selecting, task.selection);
    this.#isWholeQueues = Object.entries(task.selection).every(
      ([part, value]) => part === "queues" || value === undefined,
    );
  }

  begin(): OperationProgress {
    return {
      begunMs: this.#nowMs(),
      act: 0,
      isOver: false,
      seen: 0,
      done: this.#task.acts.map(() => 0),
      unreadable: 0,
      sample: [],
    };
  }

  async next(progress: OperationProgress): Promise<OperationProgress> {
    const act = this.#task.acts[progress.act];
    if (act === undefined) return { ...progress, isOver: true };
    const queues = queuesFor(act, this.#task.selection);
    const queue = progress.queue ?? queues[0];
    if (queue === undefined) return this.#nextAct(progress);
    if (!queues.includes(queue)) panic(`${act} was to go on in ${queue}`);
    if (act === "retry" && progress.queue === undefined && !this.#task.isDryRun) {
      await this.#faces.operating?.unthrottle();
    }
    const stepped = await this.#step(act, queue, { ...progress, queue });
    if (stepped.cursor !== undefined) return stepped;
    const next = queues[queues.indexOf(queue) + 1];
    return next === undefined ? this.#nextAct(stepped) : { ...stepped, queue: next };
  }

  #nextAct({ queue: _queue, cursor: _cursor, ...progress }: OperationProgress): OperationProgress {
    const act = progress.act + 1;
    const next = this.#task.acts[act];
    const begunMs = next === "retry" ? this.#nowMs() : progress.begunMs;
    return { ...progress, act, isOver: next === undefined, begunMs };
  }

  #step(act: Act, queue: MessageQueue, progress: OperationProgress): Promise<OperationProgress> {
    const { isDryRun } = this.#task;
    if (!this.#isWholeQueues) return this.#onSelected(act, queue, progress);
    // Which of them an expiry changes, or has changed, is told by their records only.
    const needsRecords = isDryRun ? act === "expire" : this.#takesOnlyExpired(progress);
    if (needsRecords) return this.#onSelected(act, queue, progress);
    return isDryRun ? this.#countAll(queue, progress) : this.#onAll(act, queue, progress);
  }

  /** In a dry run nothing is expired, and all of it would be. */
  #takesOnlyExpired({ act }: OperationProgress): boolean {
    const { acts, isDryRun } = this.#task;
    return !isDryRun && acts[act] === "release" && acts.slice(0, act).includes("expire");
  }

  async #onAll(
    act: Act,
    queue: MessageQueue,
    progress: OperationProgress,
  ): Promise<OperationProgress> {
    const { begunMs, cursor } = progress;
    const sample = cursor === undefined ? await this.#sampleOf(queue, progress) : progress.sample;
    const walk = { begunMs, ...(cursor === undefined ? {} : { cursor }) };
    const step = await this.#faces.acting.actOnQueue(act, queue, walk);
    return advanced(progress, { ...step, cursor: step.next.cursor, sample });
  }

  async #countAll(queue: MessageQueue, progress: OperationProgress): Promise<OperationProgress> {
    const done = await this.#faces.selecting.countCandidates(queue, { by: "queue" });
    const sample = await this.#sampleOf(queue, progress);
    return advanced(progress, { done, unreadable: 0, seen: done, cursor: undefined, sample });
  }

  async #sampleOf(queue: MessageQueue, { sample }: OperationProgress): Promise<readonly QueueId[]> {
    const limit = mostSamples - sample.length;
    if (limit <= 0) return sample;
    const options = { queue, index: { by: "queue" }, limit } as const;
    const { messages } = await this.#faces.selecting.candidates(options);
    return withSamples(sample, messages);
  }

  async #onSelected(
    act: Act,
    queue: MessageQueue,
    progress: OperationProgress,
  ): Promise<OperationProgress> {
    const { messages: selected, seen, cursor } = await this.#selector.page(queue, progress.cursor);
    const messages = this.#takesOnlyExpired(progress)
      ? selected.filter(({ isForceExpired }) => isForceExpired)
      : selected;
    const counts = this.#task.isDryRun
      ? wouldBe(act, messages)
      : await this.#actOn(act, messages, { queue, begunMs: progress.begunMs });
    return advanced(progress, {
      ...counts,
      seen,
      cursor,
      sample: withSamples(progress.sample, messages),
    });
  }

  async #actOn(
    act: Act,
    messages: readonly ListedMessage[],
    { queue, begunMs }: { readonly queue: MessageQueue; readonly begunMs: number },
  ): Promise<Counts> {
    if (messages.length === 0) return { done: 0, unreadable: 0 };
    const ids = messages.map(({ id }) => id);
    const answers = await this.#faces.acting.act(act, ids, { queues: [queue], begunMs });
    const count = (wanted: string) => answers.filter((answer) => answer === wanted).length;
    return { done: count("done"), unreadable: count("unreadable") };
  }

  #nowMs(): number {
    return Math.ceil(this.#faces.clock.nowMs()) + clockMarginMs;
  }
}

type Counts = { readonly done: number; readonly unreadable: number };

function wouldBe(act: Act, messages: readonly ListedMessage[]): Counts {
  if (act === "delete") return { done: messages.length, unreadable: 0 };
  const readable = messages.filter(({ generation }) => generation > 0);
  const changed = readable.filter(({ isForceExpired }) => act !== "expire" || !isForceExpired);
  return { done: changed.length, unreadable: messages.length - readable.length };
}

function advanced(
  { cursor: _cursor, ...progress }: OperationProgress,
  step: Counts & {
    readonly seen: number;
    readonly cursor: string | undefined;
    readonly sample: readonly QueueId[];
  },
): OperationProgress {
  return {
    ...progress,
    seen: progress.seen + step.seen,
    done: progress.done.map((count, i) => (i === progress.act ? count + step.done : count)),
    unreadable: progress.unreadable + step.unreadable,
    sample: step.sample,
    ...(step.cursor === undefined ? {} : { cursor: step.cursor }),
  };
}

function withSamples(
  sample: readonly QueueId[],
  messages: readonly ListedMessage[],
): readonly QueueId[] {
  return [...new Set([...sample, ...messages.map(({ id }) => id)])].slice(0, mostSamples);
}
