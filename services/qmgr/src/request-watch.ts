/**
 * Looks after requests that are out for long: lost rings are rung again, and claims of dead workers are reaped.
 *
 * A request that is still queued after a while may have lost its ring, or only waits its turn at the workers; it is
 * rung again under a new generation either way, so that no two workers serve one job, and looked at after twice as
 * long the next time. A claim whose worker is missing from the survey is given to `reap` once a second, which takes
 * it back when DESIGN §3's rule allows. A request that the record no longer knows has ended, and its event is on its
 * way; if it is still on our books at the next look, the event is lost.
 *
 * Source: DESIGN §3 "Rings may be lost", "Delivery".
 */
import type { Fence, OpenRequest, Scheduling, Survey } from "@postmq/queue-store";
import type { RequestName } from "@postmq/vocabulary";
import type { ActiveQueue, JobOut, RequestOut } from "./active-queue.ts";
import { ringDelivery } from "./ring-delivery.ts";

/** Requests in one question to the store. */
const batchSize = 500;
const longestPauseMs = 60_000;
/**
 * For jobs that are tried alone: daemons pass over them when they have many, so they are rung again sooner. But a
 * process has to start for each, and a new ring makes the one that is starting too late: on a slow machine it needs
 * more than the first pause, or none would ever get through.
 */
const longestAlonePauseMs = 20_000;
/** A lost event is believed in after this long. */
const secondLookMs = 1000;

export type RequestWatchParts = {
  readonly scheduling: Scheduling;
  readonly fence: Fence;
  readonly active: ActiveQueue;
  /** Parameter ambiguous_delivery. */
  readonly ambiguous: "retry" | "hold";
  readonly onReaped: (request: RequestName, how: "reaped" | "ambiguous") => void;
};

export class RequestWatch {
  readonly #parts: RequestWatchParts;
  #live: ReadonlySet<string> = new Set();
  #wantsFullLook = false;
  /** Requests whose claimant was missing when last looked at, with that claimant. */
  readonly #suspects = new Map<RequestOut, string>();

  constructor(parts: RequestWatchParts) {
    this.#parts = parts;
  }

  /** Events were lost: look at every request next time. */
  eventsLost(): void {
    this.#wantsFullLook = true;
  }

  /** To be called about once a second. */
  async look(survey: Survey, nowMs: number): Promise<void> {
    const live = new Set(survey.liveWorkers);
    const hasLost = [...this.#live].some((worker) => !live.has(worker));
    this.#live = live;
    const isFull = hasLost || this.#wantsFullLook;
    this.#wantsFullLook = false;
    const due = this.#dueJobs(nowMs);
    const queued = await this.#inspect(isFull ? [...this.#parts.active.jobs] : due, nowMs);
    await this.#ringAgain(
      due.filter((job) => queued.has(job)),
      nowMs,
    );
    await this.#reap();
  }

  #dueJobs(nowMs: number): readonly JobOut[] {
    const due: JobOut[] = [];
    for (const job of this.#parts.active.jobs) {
      if (job.checkAfterMs > nowMs) continue;
      job.checkAfterMs = nowMs + job.checkPauseMs;
      const longestMs = job.isAlone ? longestAlonePauseMs : longestPauseMs;
      job.checkPauseMs = Math.min(job.checkPauseMs * 2, longestMs);
      due.push(job);
    }
    return due;
  }

  /** @returns jobs whose requests all wait for a worker, as far as they have not ended. */
  async #inspect(jobs: readonly JobOut[], nowMs: number): Promise<ReadonlySet<JobOut>> {
    const requests = jobs.flatMap((job) => [...job.requests]);
    const queued = new Set<JobOut>();
    const held = new Set<JobOut>();
    for (const batch of inBatches(requests)) {
      const answers = await this.#parts.scheduling.inspectRequests(batch.map(({ name }) => name));
      batch.forEach((request, index) => {
        const state = this.#judge(request, answers[index], nowMs);
        if (state === "queued") queued.add(request.job);
        if (state === "held") held.add(request.job);
      });
    }
    return queued.difference(held);
  }

  #judge(
    request: RequestOut,
    found: OpenRequest | undefined,
    nowMs: number,
  ): "queued" | "held" | "ended" {
    const { active } = this.#parts;
    if (active.request(request.name) !== request) return "ended";
    const isGone = request.entry.message.phase === "gone";
    if (found === undefined || (isGone && found.state === "queued")) {
      if (request.wasMissing || isGone) active.endedUnseen(request, nowMs);
      else request.job.checkAfterMs = Math.min(request.job.checkAfterMs, nowMs + secondLookMs);
      request.wasMissing = true;
      return "ended";
    }
    request.wasMissing = false;
    if (found.state === "queued") return "queued";
    if (this.#live.has(found.claim)) this.#suspects.delete(request);
    else this.#suspects.set(request, found.claim);
    return "held";
  }

  async #ringAgain(jobs: readonly JobOut[], nowMs: number): Promise<void> {
    const requests = jobs.flatMap((job) => [...job.requests]);
    const renewed = new Map<JobOut, RequestName[]>();
    for (const batch of inBatches(requests)) {
      const names = await this.#parts.scheduling.renewRequests(
        this.#parts.fence,
        batch.map(({ name }) => name),
      );
      batch.forEach((request, index) => {
        const name = names[index];
        // Claimed or ended meanwhile: then its ring was not lost.
        if (name === undefined || this.#parts.active.request(request.name) !== request) return;
        this.#parts.active.renewed(request, name);
        renewed.set(request.job, [...(renewed.get(request.job) ?? []), name]);
      });
    }
    const rung = [...renewed].map(([job, names]) =>
      ringDelivery(this.#parts, job, names, () => nowMs),
    );
    await Promise.all(rung);
  }

  async #reap(): Promise<void> {
    for (const [suspect, claimant] of this.#suspects) {
      const isOut = this.#parts.active.request(suspect.name) === suspect;
      if (!isOut || this.#live.has(claimant)) this.#suspects.delete(suspect);
    }
    for (const batch of inBatches([...this.#suspects.keys()])) {
      const answers = await this.#parts.scheduling.reap(
        this.#parts.fence,
        batch.map(({ name }) => name),
        this.#parts.ambiguous,
      );
      batch.forEach((request, index) => {
        const answer = answers[index];
        if (answer === "alive" || answer === undefined) return;
        this.#suspects.delete(request);
        if (answer === "gone") return;
        this.#parts.onReaped(request.name, answer);
      });
    }
  }
}

function inBatches<T>(items: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(items.length / batchSize);
  return Array.from({ length: count }, (_, n) => items.slice(n * batchSize, (n + 1) * batchSize));
}
