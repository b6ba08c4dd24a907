/**
 * The active queue in memory: which messages are in it, what of each is outstanding, which requests are out.
 *
 * Everything that happens is told to it (a message imported, a request ended, a message left), and it keeps three
 * lists of what is to be done: jobs to dispatch (by the scheduler), outcomes to record (error and retry), and
 * messages to decide about. It is pure: no I/O, the time is passed in. Each step costs a constant amount of work.
 *
 * Promises: a message is in exactly one phase; when nothing of it is outstanding it is on the list of decisions (or
 * waits for its report); a place at a destination is given back exactly once, when the last request of its job has
 * ended, even when the message has left long before.
 *
 * Important: an event `left` names no generation, so it may be about an earlier stay of the message in active.
 * `#staleLefts` counts the ones still to come of stays that were found over in another way (import, stale answers);
 * it binds `addMessage`, `found stale` and `left`.
 *
 * Source: DESIGN §3 "Requests", "Outcomes are facts", §4; queues.md §3.
 */
import type {
  ImportedMessage,
  LeaderEvent,
  NewRequest,
  OpenRequest,
  RecipientsRead,
  ReportKind,
  SettleAnswer,
  Settlement,
} from "@postmq/queue-store";
import type { Envelope, QueueId, RequestName, StoredRecipient } from "@postmq/vocabulary";
import { queueName } from "@postmq/routing";
import { decidedRecipient, deferredAs, groupRecipients } from "./grouping.ts";
import type { DecidedRecipient, GroupingRules, RequestGroup } from "./grouping.ts";
import { openMessage } from "./message.ts";
import type { ActiveMessage } from "./message.ts";
import type { Suspension } from "./scheduler/destination.ts";
import type { Entry } from "./scheduler/entry.ts";
import { isExpired } from "./lifetime.ts";
import { recipientBatch, refillSize } from "./scheduler/recipient-pool.ts";
import type { PoolRules } from "./scheduler/recipient-pool.ts";
import type { DeliveryJob, Scheduler, Slot } from "./scheduler/scheduler.ts";
import { crashReason, decide } from "./settlement.ts";
import type { Decision, SettlementLimits } from "./settlement.ts";

/** A delivery job that workers have, as far as it has not ended. */
export type JobOut = {
  readonly slot: Slot;
  readonly isAlone: boolean;
  readonly keepsConnection: boolean;
  /** Requests that were tried to their end, and when the first and the last one had. */
  triedRequests: number;
  firstEndMs: number;
  lastEndMs: number;
  readonly requests: Set<RequestOut>;
  /** When to ask where it stands, and how long to wait until the next time. */
  checkAfterMs: number;
  checkPauseMs: number;
};

/** A request that is out: written, and not yet ended. */
export type RequestOut = {
  name: RequestName;
  readonly entry: Entry;
  readonly job: JobOut;
  /** The record did not know it at the last look: its end is lost, or on its way. */
  wasMissing: boolean;
};

/** Outcomes that the leader records itself. */
export type DecidedOutcomes = {
  readonly message: ActiveMessage;
  readonly outcomes: readonly DecidedRecipient[];
};

export type ActiveQueueOptions = {
  readonly scheduler: Scheduler;
  readonly grouping: GroupingRules;
  readonly limits: SettlementLimits;
  /** Room for the recipients of huge messages, by transport. */
  readonly poolOf: (transport: string) => PoolRules;
  /** Recipients in memory at most, and those of a message that may be read even then. */
  readonly recipientLimit: number;
  readonly recipientMinimum: number;
  /** By fair_share_key; "" where it names nothing. */
  readonly shareKeyOf: (envelope: Envelope) => string;
  /** How long a request may be out before it is asked for (sweep_interval). */
  readonly checkAfterMs: number;
  /** How long a report may take to be queued (Q6). */
  readonly reportTimeoutMs: number;
  /** Told of a message whose decisions the record refuses again and again: this view of it can't be right. */
  readonly onStuck: (id: QueueId) => void;
};

/** Recipients to read while others of their message are out. */
export type RecipientRead = {
  readonly message: ActiveMessage;
  readonly from: number;
  readonly limit: number;
};

type EndedEvent = Extract<LeaderEvent, { readonly kind: "ended" }>;

/** How long a message rests whose decision the record did not bear out twice in a row. */
const refusedRestMs = 1000;
const refusalsUntilStuck = 6;
/** Messages of a transport that are looked at for a refill in vain, before the others wait for the next look. */
const mostLooksInVain = 50;
/** A job whose ring was lost, and known to be, is rung again after this long. */
const lostRingPauseMs = 1000;

export class ActiveQueue {
  readonly #options: ActiveQueueOptions;
  readonly #scheduler: Scheduler;
  readonly #messages = new Map<QueueId, ActiveMessage>();
  readonly #requests = new Map<string, RequestOut>();
  readonly #jobs = new Set<JobOut>();
  readonly #staleLefts = new Map<QueueId, number>();
  #undecided: ActiveMessage[] = [];
  #resting: { readonly message: ActiveMessage; readonly untilMs: number }[] = [];
  #reporting: { readonly message: ActiveMessage; readonly sinceMs: number }[] = [];
  #decided: DecidedOutcomes[] = [];
  #recipientsInMemory = 0;
  readonly #inMemoryByTransport = new Map<string, number>();
  /** Messages with recipients still to be read, by transport, the oldest first. */
  readonly #unread = new Map<string, Set<ActiveMessage>>();
  #opened = 0;

  constructor(options: ActiveQueueOptions) {
    this.#options = options;
    this.#scheduler = options.scheduler;
  }

  get size(): number {
    return this.#messages.size;
  }

  get recipientsInMemory(): number {
    return this.#recipientsInMemory;
  }

  /** Recipients that may be read now: some of a message always may. */
  get recipientRoom(): number {
    const { recipientLimit, recipientMinimum } = this.#options;
    return Math.max(recipientMinimum, recipientLimit - this.#recipientsInMemory);
  }

  /** Messages to decide about, and outcomes to record. */
  get hasUndecided(): boolean {
    return this.#undecided.length > 0 || this.#decided.length > 0;
  }

  get requestsOut(): number {
    return this.#requests.size;
  }

  get jobs(): ReadonlySet<JobOut> {
    return this.#jobs;
  }

  // --------------------------------------------------------------------------------- messages come and go

  /** @param isFlushed it is due because of a flush */
  addMessage(imported: ImportedMessage, nowMs: number, isFlushed = false): void {
    const known = this.#messages.get(imported.id);
    if (known !== undefined) this.#foundStale(known);
    this.#opened += 1;
    const message = openMessage(imported, {
      activeMs: nowMs,
      order: this.#opened,
      shareKey: this.#options.shareKeyOf(imported.envelope),
      isFlushed: isFlushed || imported.isUnthrottling,
    });
    this.#messages.set(message.id, message);
    this.#scheduler.messageCame(message);
    message.corruptReason = crashReason(message.crashes, this.#options.limits.crashLimit);
    const { openRequests } = imported;
    for (const request of openRequests) this.#adopt(message, request, imported.recipients, nowMs);
    if (openRequests.length > 0) {
      message.adopted = new Set(openRequests.flatMap((request) => request.recipients));
    }
    const isClosed = message.isFinished || message.corruptReason !== undefined;
    if (message.isFinished) message.nextRecipient = message.totalRecipients;
    const free = withoutAdopted(message, imported.recipients);
    if (!isClosed) this.#tryRecipients(message, free, nowMs);
    if (imported.surplusOf !== undefined) this.#scheduler.cameBack(imported.surplusOf);
    if (!isClosed && message.nextRecipient < message.totalRecipients) this.#noteUnread(message);
    this.#listIfIdle(message);
  }

  /** Somebody else moved or deleted it. */
  left(id: QueueId): void {
    const stale = this.#staleLefts.get(id) ?? 0;
    if (stale > 0) {
      if (stale === 1) this.#staleLefts.delete(id);
      else this.#staleLefts.set(id, stale - 1);
      return;
    }
    const message = this.#messages.get(id);
    if (message !== undefined) this.#drop(message);
  }

  /** Its report was queued, or nobody wants one. */
  reported(id: QueueId): void {
    const message = this.#messages.get(id);
    if (message === undefined) return;
    if (message.phase === "deciding") message.wasReported = true;
    if (message.phase === "reporting") this.#endReport(message);
  }

  #foundStale(message: ActiveMessage): void {
    if (message.phase === "gone") return;
    this.#staleLefts.set(message.id, (this.#staleLefts.get(message.id) ?? 0) + 1);
    this.#drop(message);
  }

  #drop(message: ActiveMessage): void {
    message.phase = "gone";
    this.#abandonQueued(message);
    this.#forgetUnread(message);
    this.#scheduler.messageLeft(message);
    if (this.#messages.get(message.id) === message) this.#messages.delete(message.id);
  }

  #abandonQueued(message: ActiveMessage): void {
    for (const entry of this.#scheduler.abandon(message)) this.#closeEntry(entry);
  }

  #openEntry(entry: Entry): void {
    entry.message.outstanding += 1;
    this.#countRecipients(entry, entry.recipients.length);
  }

  #closeEntry(entry: Entry): void {
    entry.message.outstanding -= 1;
    this.#countRecipients(entry, -entry.recipients.length);
    this.#scheduler.over(entry);
  }

  #countRecipients({ message, destination: { transport } }: Entry, change: number): void {
    message.recipientsInMemory += change;
    this.#countInMemory(transport, change);
  }

  #countInMemory(transport: string, change: number): void {
    this.#recipientsInMemory += change;
    const now = (this.#inMemoryByTransport.get(transport) ?? 0) + change;
    this.#inMemoryByTransport.set(transport, now);
  }

  // ------------------------------------------------------------------------------------------ recipients

  /** More recipients of a message, as asked for by a decision of kind read. nextRecipient below 0: it is gone. */
  recipientsRead(message: ActiveMessage, read: RecipientsRead, nowMs: number): void {
    this.#reserve(message, -message.reserved);
    if (message.isReading && message.phase !== "gone") {
      message.isReading = false;
      message.outstanding -= 1;
    } else if (message.phase === "deciding") {
      // Nothing of it is out: the record knows of every outcome, and of those whose word never came.
      message.unreported = read.unreportedRecipients;
      message.unreportedSuccesses = read.unreportedSuccesses;
    } else return;
    if (read.nextRecipient < 0) {
      this.#foundStale(message);
      return;
    }
    message.phase = "open";
    message.nextRecipient = read.nextRecipient;
    const isCounted = ({ number, state }: StoredRecipient) =>
      number < message.recountBelow && state.kind === "deferred";
    message.deferred += read.recipients.filter(isCounted).length;
    const untried = read.recipients.filter((recipient) => !isCounted(recipient));
    if (message.corruptReason === undefined) {
      this.#tryRecipients(message, withoutAdopted(message, untried), nowMs);
    }
    if (message.nextRecipient >= message.totalRecipients) this.#forgetUnread(message);
    this.#listIfIdle(message);
  }

  /**
   * Recipients to be read now, while others of their messages are out; the oldest message comes first, and what it
   * leaves of the room goes to the next. `recipientsRead` must follow for each.
   */
  takeReads(nowMs: number): readonly RecipientRead[] {
    const reads: RecipientRead[] = [];
    for (const messages of this.#unread.values()) {
      let inVain = 0;
      for (const message of messages) {
        const limit = this.#refillSize(message, nowMs);
        if (limit > 0) reads.push(this.#beginRead(message, limit, nowMs));
        else inVain += 1;
        if (inVain === mostLooksInVain) break;
      }
    }
    return reads;
  }

  #beginRead(message: ActiveMessage, limit: number, nowMs: number): RecipientRead {
    message.isReading = true;
    message.outstanding += 1;
    message.lastRefillMs = nowMs;
    this.#reserve(message, limit);
    return { message, from: message.nextRecipient, limit };
  }

  #noteUnread(message: ActiveMessage): void {
    message.unreadAt = message.transport;
    const messages = this.#unread.get(message.unreadAt) ?? new Set();
    this.#unread.set(message.unreadAt, messages.add(message));
  }

  #forgetUnread(message: ActiveMessage): void {
    this.#unread.get(message.unreadAt)?.delete(message);
  }

  /** How many recipients to read of a message of which none is out. Room is kept for them until they are read. */
  reserveRead(message: ActiveMessage): number {
    const limit = Math.min(recipientBatch, this.recipientRoom);
    this.#reserve(message, limit);
    return limit;
  }

  #reserve(message: ActiveMessage, change: number): void {
    message.reserved += change;
    this.#countInMemory(message.transport, change);
  }

  #refillSize(message: ActiveMessage, nowMs: number): number {
    const { isReading, phase, outstanding, mustRecount, corruptReason } = message;
    if (phase !== "open" || isReading || outstanding === 0 || mustRecount) return 0;
    if (corruptReason !== undefined) return 0;
    const transport = message.transport;
    return refillSize(
      {
        ofTransport: this.#inMemoryByTransport.get(transport) ?? 0,
        ofMessage: message.recipientsInMemory,
        isOvertaking: this.#scheduler.isOvertaking(message, transport),
        lastRefillMs: message.lastRefillMs,
      },
      this.#options.poolOf(transport),
      nowMs,
    );
  }

  #tryRecipients(
    message: ActiveMessage,
    recipients: readonly StoredRecipient[],
    nowMs: number,
  ): void {
    const tried = message.isForceExpired ? this.#passOverDeferred(message, recipients) : recipients;
    if (tried.length === 0) return;
    const { groups, decided } = groupRecipients(
      tried,
      message,
      this.#options.grouping,
      (destination, queueName) => {
        if (message.isUnthrottling) this.#scheduler.liftFor(destination, queueName);
        return this.#scheduler.suspensionOf(destination, queueName);
      },
    );
    // What an operator asked for, and what has little time left, is tried whoever has had their share (S11, S31).
    const mayWait =
      !message.isUnthrottling && !isExpired(message, nowMs, this.#options.limits.lifetime);
    for (const group of groups) this.#tryGroup(message, group, { mayWait, nowMs });
    this.#decideFor(message, decided);
  }

  /** What an operator wants returned keeps the reasons that it has. @returns those without one */
  #passOverDeferred(
    message: ActiveMessage,
    recipients: readonly StoredRecipient[],
  ): readonly StoredRecipient[] {
    const untried = recipients.filter(({ state }) => state.kind !== "deferred");
    message.deferred += recipients.length - untried.length;
    message.wasTried = true;
    return untried;
  }

  #tryGroup(
    message: ActiveMessage,
    group: RequestGroup,
    { mayWait, nowMs }: { readonly mayWait: boolean; readonly nowMs: number },
  ): void {
    const { destination, queueName } = group;
    message.transport = destination.transport;
    const surplusOf = mayWait
      ? this.#scheduler.surplusAt(message, destination, queueName, nowMs)
      : undefined;
    if (surplusOf !== undefined) {
      message.surplusOf = surplusOf;
      return;
    }
    const entry: Entry = { message, ...group, isQueued: false, isOpen: false };
    this.#openEntry(entry);
    this.#scheduler.enqueue(entry);
  }

  #decideFor(message: ActiveMessage, outcomes: readonly DecidedRecipient[]): void {
    if (outcomes.length === 0) return;
    message.outstanding += 1;
    this.#decided.push({ message, outcomes });
  }

  /** Requests that waited, taken out: their recipients are deferred without an attempt (S18, S28, S35). */
  #suspend(entries: readonly Entry[], why: Suspension): void {
    const outcome = deferredAs(why);
    for (const entry of entries) {
      this.#decideFor(
        entry.message,
        entry.recipients.map((recipient) => decidedRecipient(recipient, outcome, false)),
      );
      this.#closeEntry(entry);
    }
  }

  /** No worker serves these transports: what waits for them is deferred (S35). */
  throttle(transport: string, why: Suspension, untilMs: number): void {
    this.#suspend(this.#scheduler.throttle(transport, why, untilMs), why);
  }

  /** Outcomes to record; `outcomesRecorded` must follow. Those of messages that have left are dropped. */
  takeDecidedOutcomes(limit: number): readonly DecidedOutcomes[] {
    return this.#decided.splice(0, limit).filter(({ message }) => message.phase !== "gone");
  }

  outcomesRecorded({ message, outcomes }: DecidedOutcomes): void {
    message.wasTried = true;
    for (const outcome of outcomes) {
      if (outcome.kind === "failed") message.unreported += 1;
      if (outcome.kind === "deferred") message.deferred += 1;
      if (outcome.owesReport !== undefined) message.unreportedSuccesses += 1;
    }
    message.outstanding -= 1;
    this.#listIfIdle(message);
  }

  // -------------------------------------------------------------------------------------------- requests

  /** Chooses what to dispatch now. Each job holds its place from here on; `dispatched` must follow. */
  takeJobs(maxRequests: number, nowMs: number): readonly DeliveryJob[] {
    return this.#scheduler.take(maxRequests, nowMs);
  }

  /**
   * The store's answer to a job: the name of each request, or undefined where the message is no longer in active.
   *
   * @returns the requests to ring for, as a job; undefined: there are none.
   */
  dispatched(
    job: DeliveryJob,
    names: readonly (RequestName | undefined)[],
    nowMs: number,
  ): JobOut | undefined {
    const out: JobOut = {
      slot: job.slot,
      isAlone: job.isAlone,
      keepsConnection: job.keepsConnection,
      triedRequests: 0,
      firstEndMs: 0,
      lastEndMs: 0,
      requests: new Set(),
      checkAfterMs: nowMs + this.#options.checkAfterMs,
      checkPauseMs: this.#options.checkAfterMs,
    };
    job.entries.forEach((entry, index) => {
      const name = names[index];
      if (name === undefined || entry.message.phase === "gone") {
        this.#closeEntry(entry);
        this.#foundStale(entry.message);
        return;
      }
      this.#register({ name, entry, job: out, wasMissing: false });
    });
    if (out.requests.size === 0) {
      this.#scheduler.release(out.slot, { requests: 0, tookMs: 0 }, nowMs);
      return undefined;
    }
    this.#jobs.add(out);
    return out;
  }

  /** No worker has heard of the job: it is to be rung again soon. */
  ringLost(job: JobOut, nowMs: number): void {
    job.checkAfterMs = nowMs + lostRingPauseMs;
    job.checkPauseMs = this.#options.checkAfterMs;
  }

  #register(request: RequestOut): void {
    request.job.requests.add(request);
    this.#requests.set(requestKey(request.name), request);
  }

  /** A request from before this leader, or from an earlier stay of its message in active: taken over as it is. */
  #adopt(
    message: ActiveMessage,
    open: OpenRequest,
    recipients: readonly StoredRecipient[],
    nowMs: number,
  ): void {
    const adopted = open.recipients.map(
      (number) =>
        recipients.find((recipient) => recipient.number === number) ?? unknownRecipient(number),
    );
    const known = this.#requests.get(requestKey(open.name));
    const job = known === undefined ? this.#adoptedJob(open, adopted, nowMs) : known.job;
    if (known !== undefined) {
      job.requests.delete(known);
      this.#closeEntry(known.entry);
    }
    const entry: Entry = {
      message,
      destination: open.destination,
      queueName: job.slot.destination.name,
      recipients: adopted,
      isQueued: false,
      isOpen: false,
    };
    this.#openEntry(entry);
    this.#register({ name: open.name, entry, job, wasMissing: false });
  }

  #adoptedJob(open: OpenRequest, recipients: readonly StoredRecipient[], nowMs: number): JobOut {
    const { destination } = open;
    const name = queueName(recipients[0]?.address ?? "", destination, this.#options.grouping);
    const job: JobOut = {
      slot: this.#scheduler.adopt(name, destination, nowMs),
      isAlone: false,
      keepsConnection: true,
      triedRequests: 0,
      firstEndMs: 0,
      lastEndMs: 0,
      requests: new Set(),
      checkAfterMs: nowMs,
      checkPauseMs: this.#options.checkAfterMs,
    };
    this.#jobs.add(job);
    return job;
  }

  /** A request has ended, as its worker (or a reaping) recorded. */
  ended(event: EndedEvent, nowMs: number): void {
    const request = this.#requests.get(requestKey(event.request));
    if (request === undefined) return;
    const { entry } = request;
    const message = entry.message;
    if (event.request.generation < request.name.generation) {
      message.mustRecount = true;
      return;
    }
    this.#heed(request, event, nowMs);
    this.#unregister(request, nowMs);
    message.crashes = event.crashes ?? message.crashes;
    if (message.phase === "gone") return;
    const told = event.sent + event.deferred + event.failed;
    message.unreported += event.failed;
    message.unreportedSuccesses += event.owedSuccesses ?? 0;
    if (told > 0) message.wasTried = true;
    switch (event.end) {
      case "putBack":
        this.#takeBack(entry);
        this.#checkCrashes(message);
        return;
      case "unreadable":
        message.corruptReason ??= "a delivery worker could not read it";
        this.#abandonQueued(message);
        break;
      case "tried":
        message.wasTried = true;
        message.deferred += event.deferred;
        // The others were done before, by a worker whose word came late.
        if (told < entry.recipients.length) message.mustRecount = true;
        break;
    }
    this.#endEntry(entry);
  }

  /** What it says of its site; if that is dead now, nothing that waits for it is tried. */
  #heed({ job }: RequestOut, event: EndedEvent, nowMs: number): void {
    if (event.end === "putBack") return;
    job.triedRequests += 1;
    if (job.triedRequests === 1) job.firstEndMs = nowMs;
    job.lastEndMs = nowMs;
    const entries = this.#scheduler.ended(job.slot, event.feedback, nowMs);
    const { suspension } = job.slot.destination;
    if (suspension !== undefined) this.#suspend(entries, suspension);
  }

  #takeBack(entry: Entry): void {
    const why = this.#scheduler.suspensionOf(entry.destination, entry.queueName);
    if (why === undefined) this.#scheduler.enqueue(entry);
    else this.#suspend([entry], why);
  }

  /** The end of a request was lost: only the record knows what came of it. */
  endedUnseen(request: RequestOut, nowMs: number): void {
    this.#unregister(request, nowMs);
    const { message } = request.entry;
    if (message.phase === "gone") return;
    message.wasTried = true;
    message.mustRecount = true;
    this.#endEntry(request.entry);
  }

  /** A request was given a new generation, to be rung again. */
  renewed(request: RequestOut, name: RequestName): void {
    request.name = name;
  }

  request(name: RequestName): RequestOut | undefined {
    return this.#requests.get(requestKey(name));
  }

  #checkCrashes(message: ActiveMessage): void {
    message.corruptReason ??= crashReason(message.crashes, this.#options.limits.crashLimit);
    if (message.corruptReason === undefined) return;
    this.#abandonQueued(message);
    this.#listIfIdle(message);
  }

  /** Takes a request off the books; the last one of its job gives the place back. */
  #unregister(request: RequestOut, nowMs: number): void {
    const { job } = request;
    this.#requests.delete(requestKey(request.name));
    if (request.entry.message.phase === "gone") this.#closeEntry(request.entry);
    job.requests.delete(request);
    if (job.requests.size > 0) return;
    this.#jobs.delete(job);
    const { triedRequests, firstEndMs, lastEndMs } = job;
    const pace = { requests: triedRequests - 1, tookMs: lastEndMs - firstEndMs };
    this.#scheduler.release(job.slot, pace, nowMs);
  }

  #endEntry(entry: Entry): void {
    this.#closeEntry(entry);
    this.#listIfIdle(entry.message);
  }

  // ------------------------------------------------------------------------------------------- decisions

  #listIfIdle(message: ActiveMessage): void {
    if (message.phase !== "open" || message.outstanding > 0) return;
    this.#undecided.push(message);
  }

  /** What to do about messages of which nothing is outstanding. Each must be answered by one of the calls below. */
  takeDecisions(nowMs: number, limit: number): readonly Decision[] {
    const taken = this.#undecided.splice(0, limit);
    const decisions: Decision[] = [];
    for (const message of taken) {
      if (message.phase !== "open" || message.outstanding > 0) continue;
      decisions.push(this.#decide(message, nowMs));
    }
    return decisions;
  }

  #decide(message: ActiveMessage, nowMs: number): Decision {
    const decision = decide(message, nowMs, this.#options.limits);
    message.phase = "deciding";
    message.wasReported = false;
    if (decision.kind === "read" && decision.from === 0) {
      message.mustRecount = false;
      message.recountBelow = Math.max(message.recountBelow, message.nextRecipient);
      message.adopted = undefined;
      message.deferred = 0;
      message.surplusOf = undefined;
    }
    return decision;
  }

  /** The store's answer to a settlement. */
  settled(
    message: ActiveMessage,
    settlement: Settlement,
    answer: SettleAnswer,
    nowMs: number,
  ): void {
    if (message.phase !== "deciding") return;
    switch (answer) {
      case "stale":
        this.#foundStale(message);
        return;
      case "unfinished":
        this.#refused(message, nowMs);
        return;
      case "done":
        message.refusals = 0;
        if (settlement.action === "report") this.#awaitReport(message, settlement.kind, nowMs);
        else this.#drop(message);
        if (settlement.action === "defer" && settlement.surplusOf !== undefined) {
          this.#scheduler.sentAway(settlement.surplusOf);
        }
    }
  }

  #awaitReport(message: ActiveMessage, kind: ReportKind, nowMs: number): void {
    message.phase = "reporting";
    message.reportSinceMs = nowMs;
    switch (kind) {
      case "delay":
        message.wasWarned = true;
        break;
      case "success":
        message.unreportedSuccesses = 0;
        break;
      case "expired":
        message.unreported = 0;
        message.deferred = 0;
        break;
      case "failure":
        message.unreported = 0;
        break;
    }
    if (message.wasReported) this.#endReport(message);
    else this.#reporting.push({ message, sinceMs: nowMs });
  }

  #endReport(message: ActiveMessage): void {
    message.phase = "open";
    this.#listIfIdle(message);
  }

  /** The record knows more than this view: count again, at once the first time, then at a slow pace. */
  #refused(message: ActiveMessage, nowMs: number): void {
    message.phase = "open";
    message.mustRecount = true;
    message.isReportLate = false;
    message.refusals += 1;
    if (message.refusals === refusalsUntilStuck) this.#options.onStuck(message.id);
    if (message.refusals <= 2) this.#listIfIdle(message);
    else this.#resting.push({ message, untilMs: nowMs + refusedRestMs });
  }

  /** What is due by the clock: late reports, messages that rested. To be called about once a second. */
  tick(nowMs: number): void {
    const overdue = splitWhile(this.#reporting, ({ message, sinceMs }) => {
      const isOver = message.phase !== "reporting" || message.reportSinceMs !== sinceMs;
      return isOver || sinceMs + this.#options.reportTimeoutMs <= nowMs;
    });
    for (const { message, sinceMs } of overdue) {
      if (message.phase !== "reporting" || message.reportSinceMs !== sinceMs) continue;
      message.isReportLate = true;
      this.#endReport(message);
    }
    const rested = splitWhile(this.#resting, ({ untilMs }) => untilMs <= nowMs);
    for (const { message } of rested) this.#listIfIdle(message);
  }

  /** Events were lost: whoever waited for one decides afresh. Requests are for the watch to look after. */
  eventsLost(): void {
    for (const { message } of this.#reporting.splice(0)) {
      if (message.phase !== "reporting") continue;
      message.mustRecount = true;
      this.#endReport(message);
    }
  }
}

export function toNewRequest(entry: Entry): NewRequest {
  return {
    id: entry.message.id,
    messageGeneration: entry.message.generation,
    destination: entry.destination,
    recipients: entry.recipients.map(({ number }) => number),
  };
}

function withoutAdopted(
  { adopted }: ActiveMessage,
  recipients: readonly StoredRecipient[],
): readonly StoredRecipient[] {
  if (adopted === undefined) return recipients;
  return recipients.filter(({ number }) => !adopted.has(number));
}

/** Of a request that was out before, when its recipient is not among those that were read. */
function unknownRecipient(number: number): StoredRecipient {
  return { number, address: "", state: { kind: "todo" } };
}

function requestKey(name: RequestName): string {
  return `${name.id}#${name.number}`;
}

/** Takes the leading items that fit off the list. */
function splitWhile<T>(list: T[], fits: (item: T) => boolean): readonly T[] {
  const end = list.findIndex((item) => !fits(item));
  return list.splice(0, end < 0 ? list.length : end);
}
