/**
 * Operations as a command runs them: with progress on standard error, notes in the audit log, and an end after the
 * step when the process is told to stop. Whoever starts the same command again goes on with what is left.
 */
import { formatSelection, runOperation } from "@postmq/queue-admin";
import type { OperationFaces, OperationProgress, OperationTask } from "@postmq/queue-admin";
import type { AuditEntry, Auditing } from "@postmq/queue-store";

import { note, notingFailure } from "./audited.ts";
import type { CommandContext } from "./command.ts";

const tellEveryMs = 1000;

export type Watched = {
  readonly progress: OperationProgress;
  /** It was told to stop, and something is left. */
  readonly isStopped: boolean;
};

export type WatchOptions = {
  readonly task: OperationTask;
  /** As the audit log has it: postsuper's `-f` is more than one act. */
  readonly action: string;
  readonly reason: string | undefined;
  readonly signal: AbortSignal;
  /** Nobody looks at the progress. */
  readonly isQuiet: boolean;
};

export async function watchOperation(
  context: CommandContext,
  faces: OperationFaces & { readonly auditing: Auditing },
  options: WatchOptions,
): Promise<Watched> {
  const { task, action, reason } = options;
  const told = (outcome: AuditEntry["outcome"], count?: number) =>
    note(faces.auditing, context, {
      action,
      selection: formatSelection(task.selection),
      outcome,
      ...(reason === undefined ? {} : { reason }),
      ...(count === undefined ? {} : { count }),
    });
  if (task.isDryRun) return await runSteps(context, faces, options);
  await told("started");
  const watched = await notingFailure(
    () => told("failed"),
    () => runSteps(context, faces, options),
  );
  await told(watched.isStopped ? "cancelled" : "done", Math.max(...watched.progress.done));
  return watched;
}

/** The same, and the caller notes what was done. */
export async function runSteps(
  context: CommandContext,
  faces: OperationFaces,
  { task, action, signal, isQuiet }: Omit<WatchOptions, "reason">,
): Promise<Watched> {
  let last: OperationProgress | undefined;
  let toldMs = performance.now();
  for await (const progress of runOperation(faces, task)) {
    last = progress;
    if (progress.isOver || signal.aborted) break;
    if (isQuiet || performance.now() - toldMs < tellEveryMs) continue;
    toldMs = performance.now();
    const where = progress.queue === undefined ? "" : `, in ${progress.queue}`;
    const done = progress.done.join(" + ");
    const word = task.isDryRun ? "found" : "done";
    context.complain(
      `${context.name}: ${action}: ${done} ${word}, ${progress.seen} looked at${where}\n`,
    );
  }
  const progress = last ?? { ...nothing, done: task.acts.map(() => 0) };
  return { progress, isStopped: !progress.isOver };
}

const nothing: OperationProgress = {
  begunMs: 0,
  act: 0,
  isOver: true,
  seen: 0,
  done: [],
  unreadable: 0,
  sample: [],
};
