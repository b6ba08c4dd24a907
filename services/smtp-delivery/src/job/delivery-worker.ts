/**
 * A process's delivery: its jobs, its idle connections, and how it ends.
 *
 * Used by the daemon (service.ts) and by the process that tries one message alone (alone-main.ts).
 *
 * What the end of a process leaves: jobs that had not begun are put back; those in flight end, up to the deadline;
 * then those before their dot are put back and those after it are left to their claims (ambiguous, DESIGN §3).
 * Outcomes that Redis has not taken by then go to data_directory and to the log.
 *
 * Source: P5, P10; faults.md 8.
 */
import { setTimeout as sleep } from "node:timers/promises";

import type { Parameters } from "@postmq/config";
import type { Log } from "@postmq/observability";
import type { ClaimAnswer, Delivering, DeliveryBell, RequestResult } from "@postmq/queue-store";
import type { RequestName } from "@postmq/vocabulary";

import { formatRequestName } from "./alone.ts";
import { ConnectionCache } from "../session/connection-cache.ts";
import { connectionRules } from "../session/connection-rules.ts";
import { DeliveryJob } from "./delivery-job.ts";
import type { JobTools } from "./delivery-job.ts";
import { writeHeldOutcomes } from "./held-outcomes.ts";
import type { AttemptSettings } from "../attempt/attempt.ts";
import { cacheSettings } from "../settings.ts";
import type { ProtocolNotices } from "./protocol-notice.ts";
import { Watchdog } from "./watchdog.ts";

/** Deliveries in flight may take this long to end after SIGTERM; service-kit ends the process 5 s later. */
const drainDeadlineMs = 20_000;
/** What was given back then may take this long to be written. */
const lastWritesMs = 2_000;
const claimRetryMs = 1_000;

export type WorkerParts = {
  readonly parameters: Parameters;
  readonly delivering: Delivering;
  readonly settings: AttemptSettings;
  readonly protocolNotices?: ProtocolNotices;
  readonly log: Log;
  readonly draining: AbortSignal;
  readonly nowMs: () => number;
  readonly onAttempt: JobTools["onAttempt"];
  readonly drainDeadlineMs?: number;
};

export class DeliveryWorker {
  readonly cache: ConnectionCache;
  readonly #parts: WorkerParts;
  readonly #tools: JobTools;
  readonly #jobs = new Set<DeliveryJob>();
  /** Requests that a job of this process has, from its bell to its written end. */
  readonly #inHand = new Set<string>();

  constructor(parts: WorkerParts) {
    const { parameters, delivering, log } = parts;
    this.#parts = parts;
    this.cache = new ConnectionCache(cacheSettings(parameters), (name) =>
      delivering.connections.isAskedFor(name),
    );
    delivering.connections.onAsked = (name) => this.cache.giveWay(name);
    const watchdog = new Watchdog({
      limitMs: parameters.daemon_timeout,
      holdsFacts: () => delivering.unwritten().length > 0,
    });
    this.#tools = {
      delivering: {
        claim: (names) => this.#claim(names),
        markDotSent: (name) => this.#mark(name),
        record: (name, outcomes) => delivering.record(name, outcomes),
        end: (result) => delivering.end(result),
        readContent: (content) => delivering.readContent(content),
        connections: delivering.connections,
      },
      connectionRules: connectionRules(parameters),
      watch: (name) => watchdog.watch(() => `the delivery of ${formatRequestName(name)}`),
      settings: parts.settings,
      protocolNotices: parts.protocolNotices,
      cache: this.cache,
      draining: parts.draining,
      onAttempt: parts.onAttempt,
      onNotice: (level, text, name) => log[level](text, name?.id),
      nowMs: parts.nowMs,
    };
  }

  get jobs(): number {
    return this.#jobs.size;
  }

  /**
   * Serves one bell. Rejects only for a bug: then the process must end, since claims of ours would never be reaped.
   *
   * Important: a request that another job of this process has in hand is left out. A claim names the process, so the
   * store would grant it twice; and BullMQ hands a job out a second time, maybe to this very process, when a blocked or
   * frozen event loop let its lock run out (faults.md 9, 10).
   */
  async serve(bell: Pick<DeliveryBell, "requests" | "keepsConnection">): Promise<void> {
    const { requests, keepsConnection } = bell;
    const mine = requests.filter((name) => this.#takeInHand(name));
    const job = new DeliveryJob(this.#tools, keepsConnection);
    this.#jobs.add(job);
    try {
      if (mine.length > 0) await job.serve(mine);
    } finally {
      this.#jobs.delete(job);
      for (const name of mine) this.#inHand.delete(formatRequestName(name));
    }
  }

  #takeInHand(name: RequestName): boolean {
    const key = formatRequestName(name);
    if (this.#inHand.has(key)) return false;
    this.#inHand.add(key);
    return true;
  }

  /** @param idle resolves when no job runs any more and none will begin */
  async drain(idle: Promise<void>): Promise<void> {
    const deadline = new AbortController();
    const limitMs = this.#parts.drainDeadlineMs ?? drainDeadlineMs;
    const late = sleep(limitMs, "late" as const, { signal: deadline.signal });
    const how = await Promise.race([idle, late]);
    deadline.abort();
    await late.catch(() => "in time");
    if (how === "late") await this.#giveUp();
    this.cache[Symbol.dispose]();
    await this.#saveUnwritten();
  }

  async #giveUp(): Promise<void> {
    this.#parts.log.warning(`${this.#jobs.size} delivery jobs have not ended in time`);
    const written = Promise.all([...this.#jobs].map((job) => job.giveUp()));
    await Promise.race([written, sleep(lastWritesMs, undefined, { ref: false })]);
  }

  async #saveUnwritten(): Promise<void> {
    const { delivering, parameters, log } = this.#parts;
    const results = delivering.unwritten();
    if (results.length === 0) return;
    for (const result of results) log.error(describeUnwritten(result), result.name.id);
    if (parameters.data_directory === "") return;
    try {
      const path = await writeHeldOutcomes(parameters.data_directory, delivering.worker, results);
      log.warning(`${results.length} outcomes are kept in ${path} until the next start`);
    } catch (error) {
      log.error(`outcomes could not be kept in ${parameters.data_directory}: ${String(error)}`);
    }
  }

  /** Claims are safe to repeat, and a claim that was made but not heard of would never be reaped while we live. */
  async #claim(names: readonly RequestName[]): Promise<readonly ClaimAnswer[]> {
    for (;;) {
      try {
        return await this.#parts.delivering.claim(names);
      } catch (error) {
        if (this.#parts.draining.aborted) return names.map(() => "busy");
        this.#parts.log.warning(`a claim failed: ${String(error)} (trying again)`);
        await sleep(claimRetryMs, undefined, { ref: false });
      }
    }
  }

  /** An error is as good as a no: the dot stays unsent. */
  async #mark(name: RequestName): Promise<boolean> {
    try {
      return await this.#parts.delivering.markDotSent(name);
    } catch (error) {
      this.#parts.log.warning(`the dot-sent mark failed: ${String(error)}`, name.id);
      return false;
    }
  }
}

function describeUnwritten({ name, end, outcomes }: RequestResult): string {
  const facts = outcomes.map(
    ({ recipient, kind, status, reason }) => `recipient ${recipient} ${kind} ${status} (${reason})`,
  );
  return `request ${name.number}/${name.generation} ${end} is not recorded: ${facts.join("; ")}`;
}
