/**
 * Which requests go to the workers next.
 *
 * Destinations that have something waiting and a place free take turns; inside a destination it is first in, first
 * out. No more jobs are out than the live workers can soon take (twice what they run at once), so that the choice is
 * made as late as possible. It is pure: no I/O, no clock; what happened is told to it.
 *
 * Each step costs a constant amount of work, whatever the number of messages and destinations.
 *
 * Source: DESIGN §4; spec S19, S20, S24. The preemptive choice of S21 will stand behind the same interface.
 */
import type { Destination } from "@postmq/vocabulary";
import { DestinationQueue } from "./destination.ts";
import { jobSize } from "./job-size.ts";
import { mustGoAlone } from "./message.ts";
import type { Entry } from "./message.ts";

/** A place taken at a destination, to be given back once. */
export type Slot = { readonly queue: DestinationQueue };

/** Requests of one destination, to be served in series by one worker. */
export type Job = {
  readonly slot: Slot;
  readonly entries: readonly Entry[];
  readonly isAlone: boolean;
};

/**
 * What a job tells of its destination's speed: so many requests ended in so many ms after the first one had. So the
 * time that it waited for a worker does not count, and a job of one request tells nothing.
 */
export type JobPace = { readonly requests: number; readonly tookMs: number };

export interface Scheduler {
  /** Deliveries that live workers can run at once. */
  capacity: number;
  /** Requests that wait. */
  readonly waiting: number;
  /** Jobs out, adopted requests included. */
  readonly jobsOut: number;
  enqueue(entry: Entry): void;
  /** A queued entry whose message has left. */
  abandon(entry: Entry): void;
  /** The jobs to dispatch now, of together at most `maxRequests` requests or one job. Each takes its place. */
  take(maxRequests: number): readonly Job[];
  /** A request that was out before this leader counts as a job of its own. */
  adopt(queueName: string, destination: Destination): Slot;
  /** A job has ended. */
  release(slot: Slot, pace: JobPace): void;
}

/** Jobs out for each delivery that workers can run: one running, one on its way. */
const jobsPerPlace = 2;

export type ConcurrencyLimit = (destination: Destination) => number;

export class FifoScheduler implements Scheduler {
  capacity = 0;
  waiting = 0;
  jobsOut = 0;
  readonly #limit: ConcurrencyLimit;
  readonly #queues = new Map<string, DestinationQueue>();
  /** Destinations that may start a job, whose turn comes in this order. */
  readonly #turns = new Set<DestinationQueue>();

  /** @param limit jobs that a destination may have at once; 0 for no limit. */
  constructor(limit: ConcurrencyLimit) {
    this.#limit = limit;
  }

  enqueue(entry: Entry): void {
    const queue = this.#queue(entry.queueName, entry.destination);
    queue.push(entry);
    this.waiting += 1;
    this.#settleTurn(queue);
  }

  abandon(entry: Entry): void {
    const queue = this.#queues.get(entry.queueName);
    if (queue === undefined || !entry.isQueued) return;
    queue.abandon(entry);
    this.waiting -= 1;
    this.#settleTurn(queue);
  }

  take(maxRequests: number): readonly Job[] {
    const jobs: Job[] = [];
    let requests = 0;
    while (requests < maxRequests && this.jobsOut < this.capacity * jobsPerPlace) {
      const [queue] = this.#turns;
      if (queue === undefined) break;
      const entries = queue.take(this.#jobSize(queue));
      queue.busy += 1;
      this.jobsOut += 1;
      this.waiting -= entries.length;
      requests += entries.length;
      this.#turns.delete(queue);
      this.#settleTurn(queue);
      jobs.push({
        slot: { queue },
        entries,
        isAlone: entries.some((entry) => mustGoAlone(entry.message)),
      });
    }
    return jobs;
  }

  adopt(queueName: string, destination: Destination): Slot {
    const queue = this.#queue(queueName, destination);
    queue.busy += 1;
    this.jobsOut += 1;
    this.#settleTurn(queue);
    return { queue };
  }

  release({ queue }: Slot, pace: JobPace): void {
    queue.busy -= 1;
    this.jobsOut -= 1;
    if (pace.requests > 0) queue.measure(pace);
    this.#settleTurn(queue);
  }

  #jobSize(queue: DestinationQueue): number {
    return jobSize({
      waiting: queue.waiting,
      window: queue.window,
      totalWaiting: this.waiting,
      capacity: this.capacity,
      msPerRequest: queue.msPerRequest,
    });
  }

  #queue(name: string, destination: Destination): DestinationQueue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const limit = this.#limit(destination);
    const made = new DestinationQueue(name, limit === 0 ? Infinity : limit);
    this.#queues.set(name, made);
    return made;
  }

  /** Puts the destination at the end of the turns, takes it out of them, or forgets it (S23). */
  #settleTurn(queue: DestinationQueue): void {
    if (queue.mayStart) {
      this.#turns.add(queue);
      return;
    }
    this.#turns.delete(queue);
    if (queue.isIdle) this.#queues.delete(queue.name);
  }
}
