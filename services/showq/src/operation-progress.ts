/**
 * How far a stored operation is: what is kept beside its task, and read again by whoever goes on.
 *
 * Source: spec http-api.md §2 "/v1/operations/{id}".
 */
import type { OperationProgress } from "@postmq/queue-admin";
import { isMessageQueue, parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

export type KeptProgress = {
  /** When its first step began. */
  readonly startedMs?: number;
  /** Absent until its first step is done. */
  readonly progress?: OperationProgress;
  /** Why it failed, or what keeps it from going on. */
  readonly error?: string;
  /** When trouble of the store that will pass kept it from going on last: then it was not taken in vain. */
  readonly putOffMs?: number;
};

export function formatKept(kept: KeptProgress): string {
  return JSON.stringify(kept);
}

/** What can't be made sense of counts as not begun: steps are safe to repeat. */
export function parseKept(text: string): KeptProgress {
  const kept = fieldsOf(parseJson(text));
  const progress = parseProgress(kept.get("progress"));
  const error = kept.get("error");
  const [startedMs, putOffMs] = [numberOf(kept.get("startedMs")), numberOf(kept.get("putOffMs"))];
  return {
    ...(startedMs === undefined ? {} : { startedMs }),
    ...(progress === undefined ? {} : { progress }),
    ...(typeof error === "string" ? { error } : {}),
    ...(putOffMs === undefined ? {} : { putOffMs }),
  };
}

function parseProgress(value: unknown): OperationProgress | undefined {
  const fields = fieldsOf(value);
  const [begunMs, act, seen, unreadable] = ["begunMs", "act", "seen", "unreadable"].map((name) =>
    numberOf(fields.get(name)),
  );
  const [queue, cursor, done] = [fields.get("queue"), fields.get("cursor"), fields.get("done")];
  if (begunMs === undefined || act === undefined || seen === undefined) return undefined;
  return {
    begunMs,
    act,
    ...(typeof queue === "string" && isMessageQueue(queue) ? { queue } : {}),
    ...(typeof cursor === "string" ? { cursor } : {}),
    isOver: fields.get("isOver") === true,
    seen,
    done: Array.isArray(done) ? done.map((count: unknown) => numberOf(count) ?? 0) : [],
    unreadable: unreadable ?? 0,
    sample: idsOf(fields.get("sample")),
  };
}

function idsOf(value: unknown): readonly QueueId[] {
  if (!Array.isArray(value)) return [];
  return value
    .map((each: unknown) => (typeof each === "string" ? parseQueueId(each) : undefined))
    .filter((id) => id !== undefined);
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fieldsOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map(typeof value === "object" && value !== null ? Object.entries(value) : []);
}
