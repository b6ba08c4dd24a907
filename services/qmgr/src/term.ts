/**
 * One term of leadership: from the take-over to its end, with the pumps that run between them.
 *
 * The decisions are made by the active queue and the scheduler, which know nothing of Redis; here what they decide is
 * carried to the store and what happens there is carried to them. Each pump has one call under way at a time, and
 * whatever arrives meanwhile goes as one:
 *
 *   import    incoming, deferred -> active queue       events    the leader's stream -> active queue
 *   dispatch  jobs -> requests, rings                  settle    decisions, outcomes -> store
 *   watch     once a second: survey, lost rings, reaping, sweep
 *
 * Any failure of the store ends the term: the state is dropped and whoever leads next starts from the records. That
 * costs little (what was active goes back to incoming; live claims are adopted), and needs no other way to recover.
 *
 * Promises: after the end nothing is written under this fence by a step that had not begun; the lease is given up at
 * once when the term ends in order.
 *
 * Source: DESIGN §4; spec S1, S2; queues.md §5, Q13.
 */
import type {
  BellListener,
  Fence,
  ImportedMessage,
  Leadership,
  LeaderEvent,
  Scheduling,
  Settlement,
  StoreHealth,
} from "@postmq/queue-store";
import { logExpired, logQueueActive, logRemoved } from "@postmq/observability";
import type { Log } from "@postmq/observability";
import { PostmqError } from "@postmq/vocabulary";
import type { Clock, QueueId } from "@postmq/vocabulary";
import { toNewRequest } from "./active-queue.ts";
import type { ActiveQueue, DecidedOutcomes, JobOut } from "./active-queue.ts";
import { ImportTurns } from "./import-turns.ts";
import type { ImportSource } from "./import-turns.ts";
import { logDecided } from "./log-decided.ts";
import type { QmgrMeters } from "./meters.ts";
import { Pump } from "./pump.ts";
import { RequestWatch } from "./request-watch.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Decision } from "./settlement.ts";

/** Calls something again and again, until the returned function is called. */
export type Ticker = (everyMs: number, action: () => void) => () => void;

export type TermSettings = {
  readonly leaseMs: number;
  readonly sweepIntervalMs: number;
  readonly activeLimit: number;
  readonly recipientLimit: number;
  readonly ambiguous: "retry" | "hold";
  /** delay_logging_resolution_limit. */
  readonly delayDecimals: number;
};

export type TermParts = {
  readonly fence: Fence;
  readonly scheduling: Scheduling;
  readonly leadership: Leadership;
  readonly scheduler: Scheduler;
  /** A fresh one, which tells of a message that is stuck. */
  readonly openActive: (onStuck: (id: QueueId) => void) => ActiveQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly meters: QmgrMeters;
  readonly health: () => Pick<StoreHealth, "memoryRatio">;
  /** Messages in active, as the index tells. */
  readonly countActive: () => Promise<number>;
  readonly openBells: (onRing: (source: ImportSource) => void) => Promise<readonly BellListener[]>;
  readonly every: Ticker;
  readonly settings: TermSettings;
};

/** Messages in one import. */
const importBatch = 200;
/** Requests in one dispatch, settlements in one settle. */
const stepBatch = 500;
/** Recipients of one message in memory at most (scheduling.md §1). */
const recipientBatch = 5000;
/** The same at import, where many messages come at once. */
const firstRecipientBatch = 1000;
/** Recipients of any message that may always be read (postconf(5) qmgr_message_recipient_minimum). */
const recipientMinimum = 10;
const eventWaitMs = 500;
/** From an import that found something to the next look: what comes meanwhile goes together, and rings for nothing. */
const nextLookMs = 15;
const tickMs = 1000;
/** How long an orderly end waits for deliveries that are about to end. */
const lastMomentMs = 1000;
const momentMs = 20;
/** Near the end of Redis's memory only this many messages are active (P9). */
const scarceMemoryRatio = 0.95;
const scarceActiveLimit = 100;

export class Term {
  readonly #parts: TermParts;
  readonly #active: ActiveQueue;
  readonly #turns = new ImportTurns();
  readonly #watch: RequestWatch;
  readonly #import: Pump;
  readonly #dispatch: Pump;
  readonly #settle: Pump;
  readonly #tick: Pump;
  readonly #over = Promise.withResolvers<void>();
  readonly #dueSecondsRung = new Set<number>();
  #bells: readonly BellListener[] = [];
  #stopTimers: (() => void)[] = [];
  #isOver = false;
  #renewedMs: number;
  #isRenewing = false;
  #nextSweepMs = 0;
  #wantsAudit = false;
  /** An import found something: the store waits for the next, or for the word that none follows. */
  #isImportOpen = false;
  /** Sources that are looked into again in a moment. */
  readonly #nextLooks = new Set<ImportSource>();
  #stopLookTimer: () => void = () => undefined;
  #rings: Promise<unknown> = Promise.resolve();

  constructor(parts: TermParts) {
    this.#parts = parts;
    this.#renewedMs = parts.clock.nowMs();
    this.#active = parts.openActive((id) =>
      this.#end(inDoubt(`the record of ${id} tells another story`)),
    );
    this.#watch = new RequestWatch({
      scheduling: parts.scheduling,
      fence: parts.fence,
      active: this.#active,
      ambiguous: parts.settings.ambiguous,
      onReaped: (request, how) => {
        if (how === "ambiguous") parts.meters.ambiguous.increment();
        else parts.meters.reaped.increment();
        parts.log.warning(`delivery worker gone with a request of it (${how})`, request.id);
      },
    });
    // It may reject before `run` awaits it.
    this.#over.promise.catch(() => undefined);
    const fail = (error: unknown) => this.#end(error);
    this.#import = new Pump(() => this.#importStep(), fail);
    this.#dispatch = new Pump(() => this.#dispatchStep(), fail);
    this.#settle = new Pump(() => this.#settleStep(), fail);
    this.#tick = new Pump(() => this.#tickStep(), fail);
  }

  /** Why the leader is not fit, or undefined. */
  notReady(): string | undefined {
    const silentMs = Math.max(0, ...this.#bells.map((bell) => bell.silentMs()));
    return silentMs > 60_000
      ? "the doorbells of incoming or deferred have been silent for a minute"
      : undefined;
  }

  /**
   * Leads until the signal fires.
   *
   * @throws whatever ended the term otherwise: PMQ_STORE_FENCED when the lease was lost, any failure of the store.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { scheduling, every, settings } = this.#parts;
    this.#stopTimers.push(every(settings.leaseMs / 4, () => this.#renew()));
    const stop = () => this.#end();
    signal.addEventListener("abort", stop);
    let events: Promise<void> = Promise.resolve();
    try {
      await scheduling.startEvents();
      await this.#takeOver();
      if (this.#isOver) await this.#over.promise;
      this.#bells = await this.#parts.openBells((source) => {
        this.#turns.want(source);
        this.#import.wake();
      });
      events = this.#readEvents();
      this.#stopTimers.push(every(tickMs, () => this.#tick.wake()));
      this.#tick.wake();
      if (signal.aborted) stop();
      await this.#over.promise;
      await this.#endInOrder();
    } finally {
      signal.removeEventListener("abort", stop);
      this.#isOver = true;
      for (const stopTimer of [...this.#stopTimers, this.#stopLookTimer]) stopTimer();
      await Promise.all([events, ...this.#bells.map((bell) => bell.close())]);
    }
  }

  /** Active goes back to incoming, and events from before that moment are passed over: they tell of no message here. */
  async #takeOver(): Promise<void> {
    const { scheduling, fence, log } = this.#parts;
    const reopened = await scheduling.reopenActive(fence);
    let passed = await scheduling.readEvents(1);
    while (passed.events.length > 0 && !this.#isOver) passed = await scheduling.readEvents(1);
    log.info(`leading; ${reopened} messages went back from active to incoming`);
  }

  /** No new work; what ends within a moment is settled; then the lease is free. */
  async #endInOrder(): Promise<void> {
    const { clock, leadership, fence } = this.#parts;
    await Promise.all([this.#import.stop(), this.#dispatch.stop(), this.#rings]);
    await this.#closeImport();
    const untilMs = clock.nowMs() + lastMomentMs;
    while ((this.#active.requestsOut > 0 || this.#active.hasUndecided) && clock.nowMs() < untilMs) {
      await this.#moment();
    }
    this.#isOver = true;
    await Promise.all([this.#settle.stop(), this.#tick.stop()]);
    await leadership.release(fence);
  }

  #moment(): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.#parts.every(momentMs, () => {
        stop();
        resolve();
      });
    });
  }

  #end(error?: unknown): void {
    if (error === undefined) {
      this.#over.resolve();
      return;
    }
    this.#isOver = true;
    // Steps that hang in a broken connection are not waited for; what they throw comes here again and changes nothing.
    for (const pump of [this.#import, this.#dispatch, this.#settle, this.#tick]) pump.halt();
    this.#over.reject(error);
  }

  // ----------------------------------------------------------------------------------------------- lease

  #renew(): void {
    const { leadership, fence, clock, settings } = this.#parts;
    if (clock.nowMs() - this.#renewedMs > settings.leaseMs)
      this.#end(lost("it was not renewed in time"));
    if (this.#isRenewing || this.#isOver) return;
    this.#isRenewing = true;
    const askedMs = clock.nowMs();
    // Owned here: both outcomes are handled, and neither handler throws.
    void leadership.renew(fence).then(
      (isOurs) => {
        this.#isRenewing = false;
        if (isOurs) this.#renewedMs = askedMs;
        else this.#end(lost("another scheduler leads"));
      },
      (error: unknown) => this.#end(error),
    );
  }

  // ---------------------------------------------------------------------------------------------- import

  async #importStep(): Promise<boolean> {
    if (this.#wantsAudit) await this.#audit();
    if (this.#isOver) return false;
    const { scheduling, fence } = this.#parts;
    const room = this.#activeLimit() - this.#active.size;
    if (room <= 0) {
      this.#turns.full();
      await this.#closeImport();
      return false;
    }
    const from = this.#turns.take();
    if (from === undefined) return false;
    const maxMessages = Math.min(importBatch, room);
    const messages = await scheduling.importMessages({
      fence,
      from,
      maxMessages,
      maxRecipients: this.#recipientRoom(firstRecipientBatch),
    });
    if (this.#isOver) return false;
    if (messages.length === 0) return true;
    this.#isImportOpen = true;
    this.#addMessages(messages);
    this.#turns.succeeded(from);
    const mayBeMore = messages.length >= maxMessages || messages.at(-1)?.isMoreBehind === true;
    if (mayBeMore) this.#turns.want(from);
    else this.#lookAgain(from);
    return true;
  }

  #lookAgain(source: ImportSource): void {
    const isPending = this.#nextLooks.size > 0;
    this.#nextLooks.add(source);
    if (isPending) return;
    this.#stopLookTimer = this.#parts.every(nextLookMs, () => {
      this.#stopLookTimer();
      for (const one of this.#nextLooks) this.#turns.want(one);
      this.#nextLooks.clear();
      this.#import.wake();
    });
  }

  /** No import follows for now: what was imported last is in hand, and intake must ring. */
  async #closeImport(): Promise<void> {
    if (!this.#isImportOpen) return;
    await this.#parts.scheduling.closeImport(this.#parts.fence);
    this.#isImportOpen = false;
  }

  /**
   * Only an import puts messages into active, and none is under way here: so the index can't hold more than were in
   * hand before it was asked, unless an answer of the store was lost. Then nobody would look after those.
   */
  async #audit(): Promise<void> {
    this.#wantsAudit = false;
    const inHand = this.#active.size;
    const inActive = await this.#parts.countActive();
    if (inActive > inHand)
      this.#end(inDoubt(`${inActive - inHand} messages in active are in nobody's hands`));
  }

  #activeLimit(): number {
    const { health, settings } = this.#parts;
    const isScarce = health().memoryRatio >= scarceMemoryRatio;
    return isScarce ? Math.min(scarceActiveLimit, settings.activeLimit) : settings.activeLimit;
  }

  #recipientRoom(most: number): number {
    const room = this.#parts.settings.recipientLimit - this.#active.recipientsInMemory;
    return Math.min(most, Math.max(recipientMinimum, room));
  }

  #addMessages(messages: readonly ImportedMessage[]): void {
    const { clock, log } = this.#parts;
    const nowMs = clock.nowMs();
    for (const message of messages) {
      logQueueActive(log, {
        id: message.id,
        sender: message.envelope.sender,
        sizeBytes: message.sizeBytes,
        recipients: message.undoneRecipients,
      });
      this.#active.addMessage(message, nowMs);
    }
    this.#wakeAll();
  }

  // -------------------------------------------------------------------------------------------- dispatch

  async #dispatchStep(): Promise<boolean> {
    const { scheduling, fence, clock, meters } = this.#parts;
    const jobs = this.#active.takeJobs(stepBatch);
    if (jobs.length === 0) return false;
    const requests = jobs.flatMap((job) => job.entries.map(toNewRequest));
    const names = await scheduling.dispatch(fence, requests);
    if (this.#isOver) return false;
    const nowMs = clock.nowMs();
    const rings: Promise<void>[] = [];
    let at = 0;
    for (const job of jobs) {
      const out = this.#active.dispatched(job, names.slice(at, at + job.entries.length), nowMs);
      at += job.entries.length;
      if (out !== undefined) rings.push(this.#ring(out));
    }
    meters.dispatched.increment({}, requests.length);
    this.#settle.wake();
    // The rings of one step are on their way while the next step is made up, and no further.
    const before = this.#rings;
    this.#rings = Promise.all(rings);
    this.#rings.catch((error: unknown) => this.#end(error));
    await before;
    return true;
  }

  async #ring(job: JobOut): Promise<void> {
    const requests = [...job.requests].map(({ name }) => name);
    const isRung = await this.#parts.scheduling.ringDelivery({ requests, isAlone: job.isAlone });
    if (!isRung) this.#active.ringLost(job, this.#parts.clock.nowMs());
  }

  // ---------------------------------------------------------------------------------------------- settle

  async #settleStep(): Promise<boolean> {
    const { clock } = this.#parts;
    const decisions = this.#active.takeDecisions(clock.nowMs(), stepBatch);
    const outcomes = this.#active.takeDecidedOutcomes(stepBatch);
    if (decisions.length === 0 && outcomes.length === 0) return false;
    await Promise.all([
      this.#settleAll(decisions.filter((decision) => decision.kind === "settle")),
      ...decisions
        .filter((decision) => decision.kind === "read")
        .map((read) => this.#readMore(read)),
      ...outcomes.map((decided) => this.#record(decided)),
    ]);
    this.#wakeAll();
    return true;
  }

  async #settleAll(
    decisions: readonly Extract<Decision, { readonly kind: "settle" }>[],
  ): Promise<void> {
    if (decisions.length === 0) return;
    const { scheduling, fence, clock } = this.#parts;
    const answers = await scheduling.settle(
      fence,
      decisions.map(({ settlement }) => settlement),
    );
    if (this.#isOver) return;
    const nowMs = clock.nowMs();
    const dueSeconds = new Set<number>();
    decisions.forEach(({ message, settlement }, index) => {
      const answer = answers[index] ?? "stale";
      this.#active.settled(message, settlement, answer, nowMs);
      if (answer !== "done") return;
      this.#tell(settlement, message.sender);
      if (settlement.action === "defer") dueSeconds.add(Math.ceil(settlement.dueMs / 1000));
    });
    await this.#ringDue(dueSeconds);
  }

  #tell(settlement: Settlement, sender: string): void {
    const { log, meters } = this.#parts;
    const { id } = settlement;
    switch (settlement.action) {
      case "remove":
        meters.removed.increment();
        logRemoved(log, id);
        return;
      case "defer":
        meters.deferred.increment();
        return;
      case "report":
        if (settlement.kind === "expired") logExpired(log, { id, sender });
        return;
      case "corrupt":
        meters.corrupt.increment();
        log.warning(`moved to the corrupt queue: ${settlement.reason}`, id);
    }
  }

  /** One delayed ring for each second at which something is due. */
  async #ringDue(seconds: ReadonlySet<number>): Promise<void> {
    const fresh = [...seconds].filter((second) => !this.#dueSecondsRung.has(second));
    for (const second of fresh) this.#dueSecondsRung.add(second);
    await Promise.all(
      fresh.map(async (second) => {
        const isRung = await this.#parts.scheduling.ringAt(second * 1000);
        if (!isRung) this.#dueSecondsRung.delete(second);
      }),
    );
  }

  async #readMore({ message, from }: Extract<Decision, { readonly kind: "read" }>): Promise<void> {
    const { scheduling } = this.#parts;
    const limit = this.#recipientRoom(recipientBatch);
    const read = await scheduling.readRecipients({ id: message.id, from, limit });
    if (!this.#isOver) this.#active.recipientsRead(message, read);
  }

  async #record(decided: DecidedOutcomes): Promise<void> {
    const { scheduling, log, clock, settings } = this.#parts;
    const outcomes = decided.outcomes.map(({ recipient, kind, status, reason }) => ({
      recipient,
      kind,
      status,
      reason,
    }));
    await scheduling.recordOutcomes(decided.message.id, outcomes);
    if (this.#isOver) return;
    this.#active.outcomesRecorded(decided);
    logDecided(log, decided, { nowMs: clock.nowMs(), delayDecimals: settings.delayDecimals });
  }

  // ---------------------------------------------------------------------------------------------- events

  async #readEvents(): Promise<void> {
    try {
      while (!this.#isOver) {
        const { events, gap } = await this.#parts.scheduling.readEvents(eventWaitMs);
        if (this.#isOver) return;
        const nowMs = this.#parts.clock.nowMs();
        for (const event of events) this.#take(event, nowMs);
        if (gap) this.#reconcile();
        if (events.length > 0 || gap) this.#wakeAll();
      }
    } catch (error) {
      this.#end(error);
    }
  }

  #take(event: LeaderEvent, nowMs: number): void {
    switch (event.kind) {
      case "ended":
        this.#active.ended(event, nowMs);
        return;
      case "left":
        this.#active.left(event.id);
        return;
      case "reported":
        this.#active.reported(event.id);
    }
  }

  #reconcile(): void {
    this.#parts.log.warning("events were lost; asking the records");
    this.#active.eventsLost();
    this.#watch.eventsLost();
    this.#tick.wake();
  }

  // ------------------------------------------------------------------------------------------ every second

  async #tickStep(): Promise<boolean> {
    const { scheduling, scheduler, clock, fence, settings, meters } = this.#parts;
    const survey = await scheduling.survey();
    if (this.#isOver) return false;
    const nowMs = clock.nowMs();
    scheduler.capacity = survey.capacity;
    this.#active.tick(nowMs);
    this.#turns.want("incoming");
    this.#turns.want("deferred");
    for (const second of this.#dueSecondsRung) {
      if (second * 1000 < nowMs) this.#dueSecondsRung.delete(second);
    }
    meters.active.set(this.#active.size);
    this.#wakeAll();
    await this.#watch.look(survey, nowMs);
    if (nowMs >= this.#nextSweepMs && !this.#isOver) {
      this.#nextSweepMs = nowMs + settings.sweepIntervalMs;
      this.#wantsAudit = true;
      await scheduling.sweep(fence, settings.sweepIntervalMs);
    }
    this.#wakeAll();
    return false;
  }

  #wakeAll(): void {
    this.#dispatch.wake();
    this.#settle.wake();
    this.#import.wake();
  }
}

/** An answer was lost on the way: the records are right, and the next term starts from them. */
function inDoubt(why: string): PostmqError {
  return new PostmqError("PMQ_STORE_NO_REPLY", `leadership is in doubt: ${why}`);
}

function lost(why: string): PostmqError {
  return new PostmqError("PMQ_STORE_FENCED", `leadership is lost: ${why}`);
}
