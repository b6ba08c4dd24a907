/** Operations as the HTTP API shows them. Source: spec http-api.md §2 "/v1/operations/{id}". */
import type { OperationProgress } from "@postmq/queue-admin";
import type { StoredOperation } from "@postmq/queue-store";
import { isPostmqError } from "@postmq/vocabulary";

import { parseKept } from "./operation-progress.ts";
import { actsOfAction, parseTask } from "./operation-request.ts";
import type { AskedOperation } from "./operation-request.ts";
import { optionalSeconds, seconds } from "./seconds.ts";

export function operationView(operation: StoredOperation): object {
  const { id, state, createdMs, updatedMs, takes } = operation;
  const { startedMs, progress, error } = parseKept(operation.progress);
  const task = readTask(operation.task);
  const acts = task === undefined ? [] : actsOfAction(task.action);
  // A dry run has done nothing: its progress tells what would be done.
  const doneBy = acts.map((act, n) => ({
    act,
    done: (task?.isDryRun === true ? progress?.done[n] : operation.done[act]) ?? 0,
  }));
  const done = (task?.action === "move" ? progress?.done[0] : doneBy[0]?.done) ?? 0;
  const isOpen = state === "running" || state === "cancelling";
  return {
    id,
    ...(task === undefined ? {} : taskView(task, doneBy)),
    state: takes === 0 && state === "running" ? "waiting" : state,
    created: seconds(createdMs),
    ...optionalSeconds("started", startedMs),
    updated: seconds(updatedMs),
    ...(isOpen ? {} : { ended: seconds(updatedMs) }),
    // A step that somebody died over is not among those that were saved.
    seen: Math.max(progress?.seen ?? 0, done),
    done,
    unreadable: progress?.unreadable ?? 0,
    sample: progress?.sample ?? [],
    ...rateOf(progress, updatedMs - (startedMs ?? createdMs)),
    restarts: Math.max(takes - 1, 0),
    ...(error === undefined ? {} : { error }),
  };
}

/** undefined: it was asked for from another version. */
function readTask(text: string): AskedOperation | undefined {
  try {
    return parseTask(text);
  } catch (error) {
    if (isPostmqError(error, "PMQ_USAGE")) return undefined;
    throw error;
  }
}

function taskView(
  { action, select, to, all, isDryRun, reason, who }: AskedOperation,
  acts: readonly object[],
): object {
  const where = to === undefined ? {} : { to };
  return { action, select, ...where, all, dry_run: isDryRun, reason, who, acts };
}

/** Messages looked at a second, since it began. */
function rateOf(
  progress: OperationProgress | undefined,
  elapsedMs: number,
): { readonly rate_per_second?: number } {
  if (progress === undefined) return {};
  return { rate_per_second: Math.round((progress.seen * 1000) / Math.max(elapsedMs, 1)) };
}
