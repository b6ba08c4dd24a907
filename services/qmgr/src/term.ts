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
  Survey,
} from "@postmq/queue-store";
import { logExpired, logQueueActive, logRemoved } from "@postmq/observability";
import type { Log } from "@postmq/observability";
import { enhancedStatus, PostmqError } from "@postmq/vocabulary";
import type { Clock, QueueId } from "@postmq/vocabulary";
import { toNewRequest } from "./active-queue.ts";
import type { ActiveQueue, DecidedOutcomes, JobOut, RecipientRead } from "./active-queue.ts";
import { logDecided } from "./log-decided.ts";
import type { QmgrMeters } from "./meters.ts";
import { Pump } from "./pump.ts";
import { RequestWatch } from "./request-watch.ts";
import { ringDelivery } from "./ring-delivery.ts";
import { SiteWait } from "./site-wait.ts";
import type { Arrival, SiteWaitParts } from "./site-wait.ts";
import { Scan } from "./scheduler/scan.ts";
import type { ImportSource } from "./scheduler/scan.ts";
import type { Scheduler } from "./scheduler/scheduler.ts";
import type { Decision } from "./settlement.ts";

/** Calls something again and again, until the returned function is called. */
export type Ticker = (everyMs: number, action: () => void) => () => void;

export type TermSettings = {
  readonly leaseMs: number;
  readonly sweepIntervalMs: number;
  readonly activeLimit: number;
  readonly recipientLimit: number;
  /** qmgr_message_recipient_minimum: recipients of any message that may always be read. */
  readonly recipientMinimum: number;
  /** queue_run_delay: from one full pass over deferred to the next (S6). */
  readonly queueRunMs: number;
  /** transport_retry_time: without a worker for so long, mail is deferred (S35). */
  readonly transportRetryMs: number;
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
  /** For looking up the sites of next hops before mail is grouped; absent: each next hop counts by itself. */
  readonly siteLookup?: Omit<SiteWaitParts, "onReady"> | undefined;
  readonly settings: TermSettings;
};

/** Messages in one import. */
const importBatch = 200;
/** Requests in one dispatch, settlements in one settle. */
const stepBatch = 500;
/** Recipients of one message at import, where many messages come at once; the others follow at once. */
const firstRecipientBatch = 1000;
const eventWaitMs = 500;
/** From an import that found something to the next look: what comes meanwhile goes together, and rings for nothing. */
const nextLookMs = 15;
const tickMs = 1000;
/** Steps of the full pass over deferred in a second. */
const fullPassSteps = 10;
/** How long an orderly end waits for deliveries that are about to end. */
const lastMomentMs = 1000;
const momentMs = 20;
/** Near the end of Redis's memory only this many messages are active (P9). */
const scarceMemoryRatio = 0.95;
const scarceActiveLimit = 100;

export class Term {
  readonly #parts: TermParts;
  readonly #active: ActiveQueue;
  readonly #scan = new Scan();
  readonly #watch: RequestWatch;
  readonly #siteWait: SiteWait | undefined;
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
  /** Once a second even a little room is worth a recall. */
  #isRecallDue = false;
  #nextFullPassMs = 0;
  /** Where the full pass over deferred stands; undefined: none is under way. */
  #fullPass: string | undefined;
  readonly #leadsSinceMs: number;
  #noWorkerSinceMs: number | undefined;
  #wantsAudit = false;
  /** An import found something: the store waits for the next, or for the word that none follows. */
  #isImportOpen = false;
  /** Sources that are looked into again in a moment. */
  readonly #nextLooks = new Set<ImportSource>();
  #stopLookTimer: () => void = () => undefined;
  #stopWakeTimer: (() => void) | undefined;
  #rings: Promise<unknown> = Promise.resolve();

  constructor(parts: TermParts) {
    this.#parts = parts;
    this.#renewedMs = parts.clock.nowMs();
    this.#leadsSinceMs = this.#renewedMs;
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
    this.#siteWait = parts.siteLookup && this.#openSiteWait(parts.siteLookup);
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
        this.#scan.want(source);
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
      this.#stopWakeTimer?.();
      await Promise.all([events, ...this.#bells.map((bell) => bell.close())]);
    }
  }

  /**
   * Active goes back to incoming, and events from before that moment are passed over: they tell of no message here.
   * Windows and dead marks stay as the leader before left them.
   */
  async #takeOver(): Promise<void> {
    const { scheduling, scheduler, clock, fence, log } = this.#parts;
    const reopened = await scheduling.reopenActive(fence);
    let passed = await scheduling.readEvents(1);
    while (passed.events.length > 0 && !this.#isOver) passed = await scheduling.readEvents(1);
    const liftedMs = await scheduling.unthrottledMs();
    scheduler.restore(await scheduling.readDestinations(), clock.nowMs(), liftedMs);
    await this.#takeUpFlush();
    const tookMs = Math.round(clock.nowMs() - this.#leadsSinceMs);
    log.info(`leading; ${reopened} messages went back from active to incoming, in ${tookMs} ms`);
  }

  /** Before any look into deferred: what an operator asked for is not lost with a leader. */
  async #takeUpFlush(): Promise<void> {
    const requestedMs = await this.#parts.scheduling.pendingFlush();
    if (requestedMs === undefined || requestedMs <= (this.#scan.flushMs ?? 0)) return;
    this.#parts.log.info("flushing the queue: throttles are lifted, all of deferred is due");
    this.#parts.scheduler.liftAll();
    this.#scan.flush(requestedMs);
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
    const { scheduling, fence, settings } = this.#parts;
    const room = this.#activeLimit() - this.#inHand;
    if (room <= 0) {
      this.#scan.full();
      await this.#closeImport();
      return false;
    }
    const from = this.#scan.take();
    if (from === undefined) return false;
    if (from === "deferred") await this.#recall(room);
    const flushMs = from === "deferred" ? this.#scan.flushMs : undefined;
    const maxMessages = Math.min(importBatch, room);
    const messages = await scheduling.importMessages({
      fence,
      from,
      maxMessages,
      maxRecipients: firstRecipientBatch,
      maxRecipientsInAll: Math.max(
        settings.recipientMinimum,
        this.#active.recipientRoom - (this.#siteWait?.recipients ?? 0),
      ),
      minRecipients: settings.recipientMinimum,
      ...(flushMs === undefined ? {} : { enteredBeforeMs: flushMs }),
    });
    if (this.#isOver) return false;
    const mayBeMore = messages.length >= maxMessages || messages.at(-1)?.isMoreBehind === true;
    this.#addMessages(messages, flushMs !== undefined);
    if (from === "deferred" && flushMs === undefined && !mayBeMore) {
      this.#parts.scheduler.recallsCame();
    }
    if (messages.length === 0) {
      if (flushMs !== undefined) await this.#endFlush();
      return true;
    }
    this.#isImportOpen = true;
    this.#scan.succeeded(from);
    if (mayBeMore || flushMs !== undefined) this.#scan.want(from);
    else this.#lookAgain(from);
    return true;
  }

  async #endFlush(): Promise<void> {
    const requestedMs = this.#scan.endFlush();
    if (requestedMs === undefined) return;
    await this.#parts.scheduling.endFlush(this.#parts.fence, requestedMs);
    // It looked at what lay there when it was asked for; what fell due since is still to be looked at.
    this.#scan.want("deferred");
  }

  /** What waits in deferred for room at a destination comes back as its requests end (S31). */
  async #recall(room: number): Promise<void> {
    const { scheduling, scheduler, fence } = this.#parts;
    const isUrgent = this.#isRecallDue;
    this.#isRecallDue = false;
    for (const recall of scheduler.takeRecalls(room, isUrgent)) {
      const told = await scheduling.recall(fence, recall.name, recall.most);
      if (this.#isOver) return;
      scheduler.recalled(recall, told);
    }
  }

  #lookAgain(source: ImportSource): void {
    const isPending = this.#nextLooks.size > 0;
    this.#nextLooks.add(source);
    if (isPending) return;
    this.#stopLookTimer = this.#parts.every(nextLookMs, () => {
      this.#stopLookTimer();
      for (const one of this.#nextLooks) this.#scan.want(one);
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
    const inHand = this.#inHand;
    const inActive = await this.#parts.countActive();
    if (inActive > inHand)
      this.#end(inDoubt(`${inActive - inHand} messages in active are in nobody's hands`));
  }

  #activeLimit(): number {
    const { health, settings } = this.#parts;
    const isScarce = health().memoryRatio >= scarceMemoryRatio;
    return isScarce ? Math.min(scarceActiveLimit, settings.activeLimit) : settings.activeLimit;
  }

  #addMessages(messages: readonly ImportedMessage[], isFlushed: boolean): void {
    if (messages.length === 0) return;
    const { clock, log } = this.#parts;
    const nowMs = clock.nowMs();
    for (const message of messages) {
      logQueueActive(log, {
        id: message.id,
        sender: message.envelope.sender,
        sizeBytes: message.sizeBytes,
        recipients: message.undoneRecipients,
      });
      if (this.#siteWait === undefined) this.#active.addMessage(message, nowMs, isFlushed);
      else this.#addKnown({ message, isFlushed }, this.#siteWait, nowMs);
    }
    this.#wakeAll();
  }

  /** Messages in the active queue, and those on their way into it. */
  get #inHand(): number {
    return this.#active.size + (this.#siteWait?.size ?? 0);
  }

  // ----------------------------------------------------------------------------------------------- sites

  #openSiteWait(lookup: Omit<SiteWaitParts, "onReady">): SiteWait {
    return new SiteWait({
      ...lookup,
      onReady: ({ message, isFlushed }, events) => {
        if (this.#isOver) return;
        const nowMs = this.#parts.clock.nowMs();
        this.#active.addMessage(message, nowMs, isFlushed);
        for (const event of events) this.#take(event, nowMs);
        this.#wakeAll();
      },
    });
  }

  /** At once, or when the sites of its next hops are known. */
  #addKnown({ message, isFlushed }: Arrival, siteWait: SiteWait, nowMs: number): void {
    // It is back, whether or not it waits a moment more: what was called back is about to be counted.
    const { surplusOf, ...counted } = message;
    if (surplusOf !== undefined) this.#parts.scheduler.cameBack(surplusOf);
    if (siteWait.hold({ message: counted, isFlushed })) return;
    this.#active.addMessage(counted, nowMs, isFlushed);
  }

  // -------------------------------------------------------------------------------------------- dispatch

  async #dispatchStep(): Promise<boolean> {
    const { scheduling, fence, clock, meters } = this.#parts;
    const jobs = this.#active.takeJobs(stepBatch, clock.nowMs());
    this.#armWake();
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

  #ring(job: JobOut): Promise<void> {
    const { scheduling, clock } = this.#parts;
    const names = [...job.requests].map(({ name }) => name);
    return ringDelivery({ scheduling, active: this.#active }, job, names, () => clock.nowMs());
  }

  /** A pause of a destination may end before the next second (S30). */
  #armWake(): void {
    const { scheduler, clock, every } = this.#parts;
    const atMs = scheduler.nextWakeMs;
    const inMs = atMs === undefined ? Infinity : Math.max(1, atMs - clock.nowMs());
    if (inMs > tickMs || this.#stopWakeTimer !== undefined) return;
    this.#stopWakeTimer = every(inMs, () => {
      this.#stopWakeTimer?.();
      this.#stopWakeTimer = undefined;
      scheduler.tick(clock.nowMs());
      this.#dispatch.wake();
    });
  }

  // ---------------------------------------------------------------------------------------------- settle

  async #settleStep(): Promise<boolean> {
    const { clock } = this.#parts;
    const decisions = this.#active.takeDecisions(clock.nowMs(), stepBatch);
    const outcomes = this.#active.takeDecidedOutcomes(stepBatch);
    const refills = this.#active.takeReads(clock.nowMs());
    if (decisions.length === 0 && outcomes.length === 0 && refills.length === 0) return false;
    await Promise.all([
      this.#settleAll(decisions.filter((decision) => decision.kind === "settle")),
      ...decisions
        .filter((decision) => decision.kind === "read")
        .map(({ message, from }) =>
          this.#readMore({ message, from, limit: this.#active.reserveRead(message) }),
        ),
      ...refills.map((refill) => this.#readMore(refill)),
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

  async #readMore({ message, from, limit }: RecipientRead): Promise<void> {
    const { scheduling, clock } = this.#parts;
    const read = await scheduling.readRecipients({ id: message.id, from, limit });
    if (this.#isOver) return;
    const known = this.#siteWait?.prepare(message, read.recipients);
    if (known === undefined) {
      this.#active.recipientsRead(message, read, clock.nowMs());
      return;
    }
    // Beside the pump, which goes on for all others. It never rejects; a failure in it is a bug, which ends the process.
    void known.then(() => {
      if (this.#isOver) return;
      this.#active.recipientsRead(message, read, clock.nowMs());
      this.#wakeAll();
    });
  }

  async #record(decided: DecidedOutcomes): Promise<void> {
    const { scheduling, log, clock, settings } = this.#parts;
    const outcomes = decided.outcomes.map(({ recipient, kind, status, reason, owesReport }) => ({
      recipient,
      kind,
      status,
      reason,
      ...(owesReport === undefined ? {} : { owesReport }),
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
        for (const event of events) {
          if (this.#siteWait?.holdEvent(event) !== true) this.#take(event, nowMs);
        }
        if (events.some(({ kind }) => kind === "flush")) await this.#takeUpFlush();
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
        return;
      case "flush":
        // Taken up when the batch is through, from what the store keeps of it.
        return;
      case "unthrottle":
        this.#parts.scheduler.liftAll();
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
    scheduler.tick(nowMs);
    this.#judgeTransports(survey, nowMs);
    this.#active.tick(nowMs);
    this.#scan.want("incoming");
    this.#scan.want("deferred");
    this.#isRecallDue = true;
    for (const second of this.#dueSecondsRung) {
      if (second * 1000 < nowMs) this.#dueSecondsRung.delete(second);
    }
    meters.active.set(this.#inHand);
    this.#wakeAll();
    await this.#watch.look(survey, nowMs);
    if (!this.#isOver) await this.#publish(survey, nowMs);
    if (nowMs >= this.#nextSweepMs && !this.#isOver) {
      this.#nextSweepMs = nowMs + settings.sweepIntervalMs;
      this.#wantsAudit = true;
      await scheduling.sweep(fence, settings.sweepIntervalMs);
      if (!this.#isOver) await this.#takeUpFlush();
    }
    if (!this.#isOver) await this.#passOverDeferred(nowMs);
    this.#wakeAll();
    return false;
  }

  /** S35: mail for workers of which none has lived for a while is deferred; the first one that lives lifts that. */
  #judgeTransports({ capacity }: Survey, nowMs: number): void {
    const { scheduler, settings, log } = this.#parts;
    if (capacity > 0) {
      this.#noWorkerSinceMs = undefined;
      for (const { transport } of scheduler.throttled) scheduler.liftTransport(transport);
      return;
    }
    this.#noWorkerSinceMs ??= nowMs;
    if (nowMs < this.#noWorkerSinceMs + settings.transportRetryMs) return;
    const throttled = new Set(scheduler.throttled.map(({ transport }) => transport));
    for (const transport of scheduler.busyTransports) {
      if (throttled.has(transport)) continue;
      log.warning(`no delivery worker lives; mail for transport ${transport} is deferred`);
      this.#active.throttle(transport, unavailable, nowMs + settings.transportRetryMs);
    }
  }

  /** S6: some steps of the full pass, which finds what the index of due times has missed. */
  async #passOverDeferred(nowMs: number): Promise<void> {
    const { scheduling, fence, settings } = this.#parts;
    if (this.#fullPass === undefined && nowMs >= this.#nextFullPassMs) {
      this.#nextFullPassMs = nowMs + settings.queueRunMs;
      this.#fullPass = "";
    }
    for (let step = 0; step < fullPassSteps; step += 1) {
      if (this.#fullPass === undefined || this.#isOver) return;
      this.#fullPass = await scheduling.mendDue(fence, this.#fullPass);
    }
  }

  async #publish({ capacity, liveWorkers }: Survey, nowMs: number): Promise<void> {
    const { scheduling, scheduler, fence, settings } = this.#parts;
    await scheduling.publish(fence, {
      scheduler: {
        fence,
        leadsSinceMs: this.#leadsSinceMs,
        activeMessages: this.#inHand,
        activeLimit: this.#activeLimit(),
        recipientsInMemory: this.#active.recipientsInMemory,
        recipientLimit: settings.recipientLimit,
        capacity,
        liveWorkers: liveWorkers.length,
        jobsOut: scheduler.jobsOut,
        waiting: scheduler.waiting,
        throttled: scheduler.throttled,
        updatedMs: nowMs,
      },
      ...scheduler.takeReports(nowMs),
    });
  }

  #wakeAll(): void {
    this.#dispatch.wake();
    this.#settle.wake();
    this.#import.wake();
  }
}

const unavailable = {
  status: enhancedStatus("4.3.0"),
  reason: "mail transport unavailable",
};

/** An answer was lost on the way: the records are right, and the next term starts from them. */
function inDoubt(why: string): PostmqError {
  return new PostmqError("PMQ_STORE_NO_REPLY", `leadership is in doubt: ${why}`);
}

function lost(why: string): PostmqError {
  return new PostmqError("PMQ_STORE_FENCED", `leadership is lost: ${why}`);
}
