/**
 * How many requests of one destination go to a worker in one delivery job.
 *
 * A job is served in series over one connection and holds one place at its destination. When there is little to do
 * each request is a job of its own, so that they run in parallel; as the backlog grows, jobs grow with it, because the
 * price of a job (its ring, its claim, its outcome) is then paid once for many (measured: this halves the CPU per
 * message). A job never holds more than some 200 ms of work, so that the choice of what goes next stays late.
 *
 * Source: DESIGN §3 "Requests", §8.
 */

const jobWorkMs = 200;
/** For a destination whose speed is not yet known. */
const unknownSpeedMax = 10;
const absoluteMax = 100;
/** Only a job of several tells of the pace: without this one slow moment would be remembered for ever. */
const slowestMax = 2;

export type JobSizeInput = {
  /** Requests waiting at this destination. */
  readonly waiting: number;
  /** Jobs that the destination may have at once; Infinity for no limit. */
  readonly window: number;
  /** Requests waiting at all destinations. */
  readonly totalWaiting: number;
  /** Deliveries that the live workers can run at once. */
  readonly capacity: number;
  /** What a request there took lately, if known. */
  readonly msPerRequest: number | undefined;
};

/** At least 1. */
export function jobSize(input: JobSizeInput): number {
  const toFillWindow = Math.ceil(input.waiting / input.window);
  const toUsePlaces = Math.ceil(input.totalWaiting / Math.max(1, input.capacity));
  // Where nobody has been quick yet, requests go side by side: one that hangs must not hold others up.
  const wanted =
    input.msPerRequest === undefined ? toFillWindow : Math.max(toFillWindow, toUsePlaces);
  return Math.max(1, Math.min(maxJobSize(input.msPerRequest), input.waiting, wanted));
}

function maxJobSize(msPerRequest: number | undefined): number {
  if (msPerRequest === undefined) return unknownSpeedMax;
  const fits = Math.floor(jobWorkMs / Math.max(msPerRequest, 1));
  return Math.max(slowestMax, Math.min(absoluteMax, fits));
}
