/**
 * An operation: acts on all messages of a selection, in steps between which mail flows; it can be stopped after any
 * step and gone on with by another process from the progress of the last one.
 *
 * Source: spec http-api.md §2 "/v1/operations"; admin-tools.md §2.
 */
import type { Act } from "@postmq/queue-store";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import type { Selection } from "./selection.ts";

export type OperationTask = {
  /** One after the other, each over the whole selection: `expire` then `release` is postsuper's -f. */
  readonly acts: readonly Act[];
  readonly selection: Selection;
  /** Count and show samples, change nothing. */
  readonly isDryRun: boolean;
};

/** Ids kept of those that a dry run found. */
export const mostSamples = 10;

/** Plain JSON, so that it can be kept. */
export type OperationProgress = {
  /** When the operation began, or its retry, ms: what entered its queue later is left alone. */
  readonly begunMs: number;
  /** Index into `acts`, and the queue and the place in it that come next. */
  readonly act: number;
  readonly queue?: MessageQueue;
  readonly cursor?: string;
  readonly isOver: boolean;
  /** Looked at so far, over all acts. */
  readonly seen: number;
  /** Per act, messages that it was carried out on (for a dry run: that it would be). */
  readonly done: readonly number[];
  readonly unreadable: number;
  /** The first ten ids. */
  readonly sample: readonly QueueId[];
};
