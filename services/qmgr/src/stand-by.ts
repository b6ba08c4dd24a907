/**
 * A scheduler's life: stand by, lead when the lease is free, stand by again.
 *
 * Any number of copies may run; at any time at most one leads, and the fence of the lease, which every write carries,
 * makes that true even for one that was frozen and does not know yet. A stand-by does nothing but ask for the lease.
 * In doubt (Redis silent, a call failed) a leader steps down, and asks again.
 *
 * Source: DESIGN §4; P6, P10.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Fence, Leadership } from "@postmq/queue-store";
import type { Log } from "@postmq/observability";
import { isPostmqError } from "@postmq/vocabulary";
import type { QmgrMeters } from "./meters.ts";

/** A term of leadership: leads until the signal fires, throws when it must end before. */
export type Leads = (fence: Fence, signal: AbortSignal) => Promise<void>;

export type StandByParts = {
  readonly leadership: Leadership;
  readonly lead: Leads;
  readonly log: Log;
  readonly meters: Pick<QmgrMeters, "leader" | "active" | "leasesLost">;
  /** Between 0 and 1; spreads the stand-bys' questions. */
  readonly random: () => number;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
};

const shortestPauseMs = 250;
const pauseSpreadMs = 250;

/**
 * Stands by and leads in turn until the signal fires.
 *
 * @throws what is not a failure of the store: a bug, which must end the process.
 */
export async function standByAndLead(parts: StandByParts, signal: AbortSignal): Promise<void> {
  const pause = parts.pause ?? pauseFor;
  const troubles = new TroubleLog(parts.log);
  let owed: Fence | undefined;
  while (!signal.aborted) {
    try {
      // A lease that a term left behind would keep everybody waiting until it runs out.
      if (owed !== undefined) await parts.leadership.release(owed);
      owed = undefined;
      const fence = await parts.leadership.acquire();
      troubles.over();
      if (fence !== undefined) {
        owed = fence;
        await leadOnce(parts, fence, signal);
        owed = undefined;
      }
    } catch (error) {
      if (!isPostmqError(error)) throw error;
      troubles.tell(error.message);
    }
    if (!signal.aborted) await pause(shortestPauseMs + parts.random() * pauseSpreadMs, signal);
  }
}

async function leadOnce(parts: StandByParts, fence: Fence, signal: AbortSignal): Promise<void> {
  parts.meters.leader.set(1);
  try {
    await parts.lead(fence, signal);
  } catch (error) {
    parts.meters.leasesLost.increment();
    throw error;
  } finally {
    parts.meters.leader.set(0);
    parts.meters.active.set(0);
  }
}

/** Tells the same trouble once, until it is over. */
class TroubleLog {
  readonly #log: Log;
  #told: string | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  tell(text: string): void {
    if (text !== this.#told) this.#log.warning(`standing by: ${text}`);
    this.#told = text;
  }

  over(): void {
    this.#told = undefined;
  }
}

async function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}
