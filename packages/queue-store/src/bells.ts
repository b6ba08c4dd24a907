/**
 * Doorbells: BullMQ queues whose jobs say "look", and nothing else that matters.
 *
 * Rings may be lost, so nothing depends on one: sweeps make sure, rings make it fast (DESIGN §3). Under load one job
 * names all that came since the last ring was on its way. Jobs end as soon as their reader has looked; handlers that
 * throw would lose the ring, so none does.
 *
 * Source: DESIGN §3 "Rings may be lost"; LIBRARIES §1; PROTOTYPE §5.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Queue } from "bullmq";
import type { Job } from "bullmq";
import type { Redis } from "ioredis";
import { bellQueues, PanicError } from "@postmq/vocabulary";
import type { BellQueue, QueueId, RequestName } from "@postmq/vocabulary";
import { BellWorker, fetchRestMs } from "./bell-worker.ts";
import { Coalescer } from "./coalescer.ts";
import type { Bell, BellListener, DeliveryBell } from "./contract.ts";
import type { RingsReport } from "./contract-of-checking.ts";
import { checkedId } from "./packing.ts";

const maxIdsPerRing = 500;
/** Recovery of a ring whose reader was killed takes at most the sum of these. */
const lockDurationMs = 10_000;
const stalledIntervalMs = 5_000;
/** BullMQ would put a job away as failed after this many stalls; for a doorbell that would be a loss. */
const maxStalledCount = 1_000_000;
const ringOptions = { removeOnComplete: true, removeOnFail: true, attempts: 1 } as const;
/** How long an orderly end waits for BullMQ. */
const closingMs = 2_000;
const listenerLookMs = 10_000;
/** BullMQ's own event streams are not read here. */
const eventsKept = 100;

/** i: ids; r: requests; a, k: 1 when alone, when the connection is to be kept. */
type RingData = {
  readonly i?: unknown;
  readonly r?: unknown;
  readonly a?: unknown;
  readonly k?: unknown;
};

/** The ids that a job names; rubbish is left out. */
export function readBell(data: unknown): Bell {
  const ids = typeof data === "object" && data !== null ? (data as RingData).i : undefined;
  if (!Array.isArray(ids)) return { ids: [] };
  return { ids: ids.map(checkedId).filter((id) => id !== undefined) };
}

function readRequest(entry: unknown): RequestName | undefined {
  if (!Array.isArray(entry)) return undefined;
  const [id, number, generation] = entry as readonly unknown[];
  const checked = checkedId(id);
  if (checked === undefined || !Number.isSafeInteger(number) || !Number.isSafeInteger(generation))
    return undefined;
  return { id: checked, number: Number(number), generation: Number(generation) };
}

/** The requests that a delivery job names; rubbish is left out. */
export function readDeliveryBell(data: unknown): DeliveryBell {
  const { r, a, k } = typeof data === "object" && data !== null ? (data as RingData) : {};
  const requests = Array.isArray(r) ? r.map(readRequest).filter((name) => name !== undefined) : [];
  return { requests, keepsConnection: k === 1, isAlone: a === 1 };
}

export type BellNotice = (level: "info" | "warning" | "error", text: string) => void;

export class Bells implements AsyncDisposable {
  readonly #prefix: string;
  readonly #redis: Redis;
  readonly #notice: BellNotice;
  readonly #queues = new Map<BellQueue, Queue>();
  readonly #rings = new Map<BellQueue, Coalescer<QueueId, true>>();
  readonly #ringing = new Set<Promise<unknown>>();
  readonly #recoveredAfterMs: number;
  #isLosing = false;
  #lostMs = 0;

  /** @param recoveredAfterMs for so long no ring may be lost before that is told */
  constructor(redis: Redis, prefix: string, notice: BellNotice, recoveredAfterMs = 5000) {
    this.#recoveredAfterMs = recoveredAfterMs;
    this.#redis = redis;
    this.#prefix = prefix;
    this.#notice = notice;
  }

  #queue(name: BellQueue): Queue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const queue = new Queue(name, {
      connection: this.#redis,
      prefix: this.#prefix,
      defaultJobOptions: ringOptions,
      streams: { events: { maxLen: eventsKept } },
    });
    queue.on("error", (error) => this.#notice("info", `bells of ${name}: ${error.message}`));
    this.#queues.set(name, queue);
    return queue;
  }

  /** Makes all BullMQ queues known, hold and corrupt paused: their index is the queue. */
  async makeQueues(): Promise<void> {
    await Promise.all(bellQueues.map((name) => this.#queue(name).waitUntilReady()));
    for (const name of ["hold", "corrupt"] as const) {
      const queue = this.#queue(name);
      // Asked first: a Redis that is full takes no writes, and this must not keep a daemon from starting.
      if (!(await queue.isPaused())) await queue.pause();
    }
  }

  /**
   * For callers that ring and go on: a ring that is lost is made good by the leader's reading or a sweep. The first
   * loss of a row is told, and the end of the row.
   *
   * @returns false: it was lost. @throws for a bug only
   */
  async tryRing(ring: Promise<void>): Promise<boolean> {
    try {
      await ring;
      if (this.#isLosing && performance.now() - this.#lostMs > this.#recoveredAfterMs) {
        this.#isLosing = false;
        this.#notice("info", "Redis takes rings again");
      }
      return true;
    } catch (error) {
      if (isBug(error)) throw error;
      const text = error instanceof Error ? error.message : String(error);
      if (!this.#isLosing)
        this.#notice("warning", `rings are lost, and will be made good: ${text}`);
      this.#isLosing = true;
      this.#lostMs = performance.now();
      return false;
    }
  }

  ringAndForget(ring: Promise<void>): void {
    // It rejects for a bug only, and then it must end the process.
    void this.tryRing(ring);
  }

  /** Rings for an id; many in flight go as one job. */
  async ring(name: Exclude<BellQueue, "active">, id: QueueId): Promise<void> {
    let coalescer = this.#rings.get(name);
    if (coalescer === undefined) {
      const queue = this.#queue(name);
      coalescer = new Coalescer(
        async (ids) => {
          await queue.add("ring", { i: ids });
          return ids.map(() => true as const);
        },
        { lanes: 1, maxItems: maxIdsPerRing },
      );
      this.#rings.set(name, coalescer);
    }
    await this.#underWay(coalescer.add(id));
  }

  /**
   * Rings for many at once, behind all rings of single messages: mail that comes in meanwhile need not wait for them.
   *
   * @param place 1 or more: how far behind
   */
  async ringBehind(name: "maildrop", ids: readonly QueueId[], place: number): Promise<void> {
    await this.#underWay(this.#queue(name).add("ring", { i: ids }, { priority: place }));
  }

  /** Rings without a name: look at all that is there. */
  async ringLook(name: "incoming" | "deferred"): Promise<void> {
    await this.#underWay(this.#queue(name).add("ring", { i: [] }));
  }

  /** The end of the store waits for it. */
  async #underWay(ringing: Promise<unknown>): Promise<void> {
    this.#ringing.add(ringing);
    try {
      await ringing;
    } finally {
      this.#ringing.delete(ringing);
    }
  }

  async ringDelivery(bell: DeliveryBell): Promise<void> {
    const r = bell.requests.map((name) => [name.id, name.number, name.generation]);
    await this.#queue("active").add("deliver", {
      r,
      ...(bell.isAlone ? { a: 1 } : {}),
      ...(bell.keepsConnection ? { k: 1 } : {}),
    });
  }

  /** A delayed job for that second, at most one. */
  async ringAt(name: "deferred", dueMs: number, nowMs: number): Promise<void> {
    const second = Math.ceil(dueMs / 1000);
    await this.#queue(name).add(
      "due",
      { i: [] },
      { jobId: `due-${second}`, delay: Math.max(0, second * 1000 - nowMs) },
    );
  }

  async listen(
    name: BellQueue,
    options: {
      readonly concurrency: number;
      /** How often to ask whether rings wait; default 10 s. */
      readonly lookEveryMs?: number;
    },
    handler: (data: unknown) => Promise<void>,
  ): Promise<BellListener> {
    // Of the last job taken, or the last look at which none waited.
    let lastSeenMs = performance.now();
    const running = new Set<Promise<void>>();
    const worker = new BellWorker<unknown>(
      name,
      async (job: Job<unknown>) => {
        lastSeenMs = performance.now();
        const handled = handler(job.data);
        running.add(handled);
        try {
          await handled;
        } catch (error) {
          // A bug ends the process, wherever it shows; BullMQ would swallow it.
          if (error instanceof PanicError) {
            queueMicrotask(() => {
              throw error;
            });
          }
          // A throwing processor would lose the ring; whoever handles rings logs its own trouble before this.
          this.#notice(
            "error",
            `a handler of ${name} failed: ${error instanceof Error ? error.stack : String(error)}`,
          );
        } finally {
          running.delete(handled);
        }
      },
      {
        connection: this.#redis,
        prefix: this.#prefix,
        concurrency: options.concurrency,
        lockDuration: lockDurationMs,
        stalledInterval: stalledIntervalMs,
        maxStalledCount,
        removeOnComplete: { count: 0 },
        removeOnFail: { count: 0 },
        runRetryDelay: fetchRestMs,
        drainDelay: 5,
      },
    );
    worker.on("error", (error) => this.#notice("info", `listener of ${name}: ${error.message}`));
    await worker.waitUntilReady();
    const queue = this.#queue(name);
    let isLooking = false;
    const looking = setInterval(() => {
      if (isLooking) return;
      isLooking = true;
      queue
        .getWaitingCount()
        .then((waiting) => {
          if (waiting === 0) lastSeenMs = performance.now();
        })
        .catch(() => undefined) // Redis is away, which the monitor tells.
        .finally(() => {
          isLooking = false;
        });
    }, options.lookEveryMs ?? listenerLookMs);
    looking.unref();
    return {
      close: async () => {
        clearInterval(looking);
        const closed = worker.close();
        await Promise.allSettled(running);
        // While a connection is lost BullMQ waits for its fetch, which ends only when Redis is back: it then ends alone.
        await atMost(closed, closingMs);
      },
      silentMs: () =>
        worker.isRunning() ? performance.now() - lastSeenMs : Number.POSITIVE_INFINITY,
    };
  }

  /** Queues that readers wait at, and that somebody paused: their rings would wait for ever. */
  async pausedQueues(): Promise<readonly BellQueue[]> {
    const read = bellQueues.filter((name) => name !== "hold" && name !== "corrupt");
    const paused = await Promise.all(read.map((name) => this.#queue(name).isPaused()));
    return read.filter((_, i) => paused[i]);
  }

  async resume(name: BellQueue): Promise<void> {
    await this.#queue(name).resume();
  }

  /** How many rings wait in each queue, and since when the one that comes next. */
  async survey(): Promise<readonly RingsReport[]> {
    return Promise.all(
      bellQueues.map(async (name) => {
        const queue = this.#queue(name);
        const waiting = await queue.getWaitingCount();
        const [next] = waiting === 0 ? [] : await queue.getJobs(["waiting"], 0, 0, true);
        return {
          queue: name,
          waiting,
          ...(next === undefined ? {} : { oldestMs: next.timestamp }),
        };
      }),
    );
  }

  /** Lets rings that are on their way go out: a command that has just stored mail ends here. */
  async [Symbol.asyncDispose](): Promise<void> {
    await atMost(Promise.allSettled(this.#ringing), closingMs);
    await Promise.allSettled([...this.#queues.values()].map((queue) => queue.close()));
  }
}

/** Waits for it, but not longer than that. */
async function atMost(promise: Promise<unknown>, ms: number): Promise<void> {
  const waiting = new AbortController();
  const late = delay(ms, undefined, { signal: waiting.signal }).catch(() => undefined);
  await Promise.race([promise, late]);
  waiting.abort();
}

/** Errors of Redis and its connection are plain ones; these are ours. */
function isBug(error: unknown): boolean {
  return error instanceof PanicError || error instanceof TypeError || error instanceof RangeError;
}
