/**
 * Keeps the timelines within `event_retention` and `event_memory`, and makes or removes them as those say.
 *
 * Every daemon looks every other second; a note in Redis lets one of them do it, so that it is done whoever is there.
 * Above redis_memory_high_water mail needs the room: timelines then shrink to a quarter. Of a small Redis they never
 * take more than an eighth.
 *
 * Source: spec parameters.md event_retention, event_memory; P9.
 */
import { storeError } from "./redis-connection.ts";
import { asNumber } from "./script-reply.ts";
import { loadScript, runScript } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const trimTimeline = loadScript("trim-timeline");

const lookIntervalMs = 2000;
/** Less than the interval, so that one who looks alone never finds its own note. */
const seenMs = 1500;
/** Part of maxmemory that timelines may take. */
const partOfMemory = 1 / 8;
const partWhenFull = 1 / 4;
/** So that a look that has to take very much away leaves Redis to others at last. */
const mostSteps = 200;

export type TimelineLimits = {
  /** event_memory; 0: no timelines. */
  readonly mostBytes: number;
  /** event_retention. */
  readonly retentionMs: number;
};

/** Bytes for the timelines as Redis is now. */
export function timelineBytes(
  mostBytes: number,
  memory: { readonly maxBytes: number; readonly isFull: boolean },
): number {
  const share =
    memory.maxBytes === 0 ? mostBytes : Math.min(mostBytes, memory.maxBytes * partOfMemory);
  return Math.floor(memory.isFull ? share * partWhenFull : share);
}

/** Looks once, and from then on until the store closes. Never throws: a timeline is not worth a start. */
export async function startTimelineTrimming(
  parts: StoreParts,
  limits: TimelineLimits,
): Promise<void> {
  const { keys, redis, monitor, notice } = parts;
  const step = async (leaveMs: number | ""): Promise<boolean> => {
    const isFull = monitor.refusal() === "full";
    const mostBytes = timelineBytes(limits.mostBytes, { maxBytes: monitor.maxMemoryBytes, isFull });
    const args = [keys.prefix, mostBytes, limits.retentionMs, leaveMs];
    return asNumber(await runScript(redis, trimTimeline, [keys.timeline], args)) === 1;
  };
  let isLooking = false;
  const look = async () => {
    if (isLooking) return;
    isLooking = true;
    try {
      let isMore = await step(seenMs);
      for (let steps = 1; isMore && steps < mostSteps; steps += 1) isMore = await step("");
    } catch (error) {
      notice("warning", `timelines: ${storeError(error).message}`);
    } finally {
      isLooking = false;
    }
  };
  // It owns its failures.
  const timer = setInterval(() => void look(), lookIntervalMs);
  timer.unref();
  parts.onClose(() => clearInterval(timer));
  await look();
}
