/**
 * Carries out operations that were asked for over HTTP: takes those that nobody is at work on, some at once, does them
 * in steps, and saves how far each is after every step.
 *
 * An operation is held for some seconds, and every save renews that: when a showq dies, another one, or the same one
 * started again, goes on from the last step that was saved. The step that it died in is done again, which does no harm;
 * what is done counts in the script that does it. A drain ends after the step and gives the operation back.
 * While Redis is away everything waits. Trouble of the store, a full one too, puts an operation off: it is taken again
 * when its time is over, for as long as it takes if such trouble passes by itself.
 *
 * Source: spec http-api.md §2 "/v1/operations".
 */
import { whileReachable } from "@postmq/queue-admin";
import type { OperationProgress, OperationTask } from "@postmq/queue-admin";
import type { Log } from "@postmq/observability";
import type { Operations, Store, StoredOperation, TakenOperation } from "@postmq/queue-store";
import { isPostmqError } from "@postmq/vocabulary";
import type { PostmqError } from "@postmq/vocabulary";

import type { Audit } from "./operation-audit.ts";
import { formatKept, parseKept } from "./operation-progress.ts";
import type { KeptProgress } from "./operation-progress.ts";
import { actsOfAction, parseTask, wordsOfTask } from "./operation-request.ts";
import type { AskedOperation } from "./operation-request.ts";

export type RunnerParts = {
  readonly store: Pick<Store, "health" | "clock">;
  readonly operations: Operations;
  readonly audit: Audit;
  readonly log: Log;
  /** The task itself, and its selection in one line. @throws PMQ_USAGE */
  readonly taskOf: (asked: AskedOperation, createdMs: number) => NamedTask;
  /** `runOperation`, over an `Acting` that counts for this operation; `moveOperation`. */
  readonly run: (
    operation: { readonly id: string; readonly to?: string },
    task: OperationTask,
    progress?: OperationProgress,
  ) => AsyncGenerator<OperationProgress, void, void>;
  readonly holdMs?: number;
};

export type NamedTask = { readonly task: OperationTask; readonly selection: string };

const defaultHoldMs = 10_000;
const lookEveryMs = 1_000;
/** So that a long one does not keep a short one waiting. */
const mostAtOnce = 4;
/** One that ends its process, or fails, again and again without getting on is given up. */
const mostTakes = 20;

/** An operation in hand: what it is, and how far. */
type Work = NamedTask & {
  readonly taken: TakenOperation;
  readonly asked: AskedOperation;
  kept: KeptProgress & { readonly startedMs: number };
};

type Trouble = {
  readonly taken: TakenOperation;
  /** undefined: it could not even be understood. */
  readonly work: Work | undefined;
  readonly error: PostmqError;
};

/** What passes when Redis is there again, or has room again. */
const passingTrouble: readonly string[] = ["PMQ_STORE_UNREACHABLE", "PMQ_STORE_FULL"];

export class OperationRunner {
  readonly #parts: RunnerParts;
  readonly #holdMs: number;
  readonly #works = new Set<Promise<void>>();
  #taking: Promise<void> | undefined;
  #isDraining = false;
  #nudged = Promise.withResolvers<void>();

  constructor(parts: RunnerParts) {
    this.#parts = parts;
    this.#holdMs = parts.holdMs ?? defaultHoldMs;
  }

  start(): void {
    this.#taking ??= this.#takeAll();
  }

  /** There may be something to take. */
  nudge(): void {
    this.#nudged.resolve();
  }

  /** Ends after the steps under way, or at once when Redis is away: what is in hand is then taken by another later. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.nudge();
    await this.#taking;
    try {
      await whileReachable(this.#parts.store, () => Promise.all(this.#works));
    } catch (error) {
      this.#parts.log.warning(`operations were not given back: ${wordsOf(error)}`);
    }
  }

  async #takeAll(): Promise<void> {
    while (!this.#isDraining) {
      const taken = this.#works.size < mostAtOnce ? await this.#take() : undefined;
      if (taken === undefined) {
        await this.#pause();
        continue;
      }
      // A failure that is none of the store's is a bug: unhandled here, it ends the process.
      const work: Promise<void> = this.#carryOut(taken).finally(() => {
        this.#works.delete(work);
        this.nudge();
      });
      this.#works.add(work);
    }
  }

  async #take(): Promise<TakenOperation | undefined> {
    const { store, operations } = this.#parts;
    try {
      return await whileReachable(store, () => operations.take(this.#holdMs));
    } catch (error) {
      if (isPostmqError(error)) return undefined;
      throw error;
    }
  }

  async #pause(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, lookEveryMs);
    });
    await Promise.race([late, this.#nudged.promise]);
    clearTimeout(timer);
    this.#nudged = Promise.withResolvers();
  }

  async #carryOut(taken: TakenOperation): Promise<void> {
    let work: Work | undefined;
    try {
      work = this.#understood(taken);
      await this.#runRenewed(work);
    } catch (error) {
      if (!isPostmqError(error)) throw error;
      await this.#notCarriedOut({ taken, work, error });
    }
  }

  /** @throws PMQ_USAGE */
  #understood(taken: TakenOperation): Work {
    const asked = parseTask(taken.task);
    const kept = { startedMs: this.#parts.store.clock.nowMs(), ...parseKept(taken.progress) };
    return { ...this.#parts.taskOf(asked, taken.createdMs), taken, asked, kept };
  }

  async #runRenewed(work: Work): Promise<void> {
    // A step that takes long is still somebody's.
    const renewal = setInterval(() => this.#renew(work), this.#holdMs / 3);
    await this.#runSteps(work).finally(() => clearInterval(renewal));
  }

  async #runSteps(work: Work): Promise<void> {
    const { taken, task } = work;
    if (taken.state === "cancelling") return this.#end(work, "cancelled");
    if (taken.takesInVain > mostTakes) {
      const why = work.kept.error ?? `its process ended ${mostTakes} times over it`;
      return this.#end(work, "failed", why);
    }
    const { to } = work.asked;
    const named = { id: taken.id, ...(to === undefined ? {} : { to }) };
    for await (const progress of this.#parts.run(named, task, work.kept.progress)) {
      work.kept = { startedMs: work.kept.startedMs, progress };
      if (progress.isOver) break;
      // Looked at once: a drain that begins while this is saved ends after the next step.
      const isGivenBack = this.#isDraining;
      const answer = await this.#save(work, isGivenBack ? 0 : this.#holdMs);
      if (answer === "lost" || isGivenBack) return;
      if (answer === "cancelling") return this.#end(work, "cancelled");
    }
    await this.#end(work, "done");
  }

  /** With what was saved last. Nothing depends on it: whoever lost the operation learns so from its next save. */
  #renew({ taken, kept }: Work): void {
    const { store, operations, log } = this.#parts;
    if (!store.health().isReachable) return;
    operations
      .save(taken, { progress: formatKept(kept), holdMs: this.#holdMs })
      .catch((error: unknown) => log.warning(`operation ${taken.id}: ${wordsOf(error)}`));
  }

  #save(work: Work, holdMs: number): Promise<"saved" | "cancelling" | "lost"> {
    const { operations } = this.#parts;
    const progress = formatKept(work.kept);
    return this.#whenReachable(() => operations.save(work.taken, { progress, holdMs }));
  }

  /** The note first: it may come twice, but it is not missing. */
  async #end(work: Work, end: "done" | "cancelled" | "failed", error?: string): Promise<void> {
    const { taken, asked, selection, kept } = work;
    const { operations, audit } = this.#parts;
    if (!asked.isDryRun) {
      const now = await this.#whenReachable(() => operations.read(taken.id));
      await this.#whenReachable(() =>
        audit({
          who: asked.who,
          action: asked.action,
          selection,
          reason: asked.reason,
          operation: taken.id,
          outcome: end,
          count: now === undefined ? 0 : doneFirst(now, asked, kept),
        }),
      );
    }
    const { error: _error, putOffMs: _putOffMs, ...got } = kept;
    const progress = formatKept({ ...got, ...(error === undefined ? {} : { error }) });
    await this.#whenReachable(() => operations.save(taken, { progress, holdMs: 0, end }));
  }

  /** What makes no sense is over, other trouble is the store's. Whatever can't be kept now is met again at the next take. */
  async #notCarriedOut({ taken, work, error }: Trouble): Promise<void> {
    const { log } = this.#parts;
    log.warning(`operation ${taken.id}: ${error.message}`);
    try {
      if (work === undefined) await this.#giveUp(taken, error.message);
      else if (error.code === "PMQ_USAGE") await this.#end(work, "failed", error.message);
      else await this.#putOff(work, error);
    } catch (again) {
      if (!isPostmqError(again)) throw again;
      log.warning(`operation ${taken.id}: ${again.message}`);
    }
  }

  /** Not given back at once: whoever took it now would meet the same. */
  async #putOff({ taken, kept }: Work, error: PostmqError): Promise<void> {
    const { store, operations } = this.#parts;
    const when = passingTrouble.includes(error.code) ? { putOffMs: store.clock.nowMs() } : {};
    const progress = formatKept({ ...kept, error: error.message, ...when });
    const holdMs = this.#holdMs;
    await whileReachable(store, () => operations.save(taken, { progress, holdMs }));
  }

  /** One that can't even be understood: noted in the words that it has. */
  async #giveUp(taken: TakenOperation, error: string): Promise<void> {
    const { operations, audit } = this.#parts;
    const { isDryRun, ...words } = wordsOfTask(taken.task);
    if (!isDryRun) {
      const entry = { ...words, operation: taken.id, outcome: "failed" } as const;
      await this.#whenReachable(() => audit(entry));
    }
    const progress = formatKept({ ...parseKept(taken.progress), error });
    await this.#whenReachable(() => operations.save(taken, { progress, holdMs: 0, end: "failed" }));
  }

  /** Again until Redis answers; each of these is safe to repeat. @throws PMQ_STORE_UNREACHABLE when draining */
  async #whenReachable<T>(write: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await whileReachable(this.#parts.store, write);
      } catch (error) {
        if (!isPostmqError(error, "PMQ_STORE_UNREACHABLE") || this.#isDraining) throw error;
        await this.#pause();
      }
    }
  }
}

/** Messages that the first of its acts was carried out on. A move is no act: its progress tells. */
function doneFirst(
  { done }: StoredOperation,
  { action }: AskedOperation,
  { progress }: KeptProgress,
): number {
  const [first] = actsOfAction(action);
  return (first === undefined ? progress?.done[0] : done[first]) ?? 0;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
