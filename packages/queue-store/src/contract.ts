/**
 * What the store offers to each kind of user: the interfaces that daemons, commands and tests are written against.
 *
 * Records are the truth and jobs are doorbells (DESIGN §3). Every change named here is one Lua script over our own
 * keys; the rings that follow it may be lost, and nothing depends on one. The state machines behind these calls,
 * with what a crash between any two steps leaves, are in docs/ARCHITECTURE.md.
 *
 * Errors: calls throw PostmqError with PMQ_STORE_UNREACHABLE (not sent: Redis was away), PMQ_STORE_NO_REPLY
 * (sent, answer unknown), PMQ_STORE_FULL, PMQ_STORE_IDENTITY, PMQ_STORE_FENCED (an old leader). Reads and
 * idempotent writes of the delivery side wait for Redis to come back instead, as long as it takes.
 */
import type {
  BellQueue,
  Clock,
  Destination,
  EnhancedStatus,
  Envelope,
  MessageQueue,
  QueueId,
  Recipient,
  RecipientOutcome,
  RemoteReply,
  RequestEnd,
  RequestName,
  RequestState,
  SiteFeedback,
  StoredRecipient,
  SuccessAction,
} from "@postmq/vocabulary";

import type {
  Acting,
  Auditing,
  Copying,
  MovingAway,
  Operations,
  Selecting,
  Timelines,
} from "./contract-of-operators.ts";
import type { Checking } from "./contract-of-checking.ts";

// ---------------------------------------------------------------------------------------------- content

/** A message's content as the store knows it: headers and body, CRLF line ends, no dot-stuffing. */
export type ContentRef = {
  readonly contentId: string;
  readonly sizeBytes: number;
  /** Number of chunks of at most 256 KiB. 0 for empty content. */
  readonly chunks: number;
};

/** Takes content while it arrives: small content is kept and travels in the commit, larger goes ahead in chunks. */
export interface ContentWriter {
  readonly sizeBytes: number;
  /** @returns undefined when there is room at once, else a promise to await before the next write. */
  write(bytes: Buffer): Promise<void> | undefined;
  /** No more will come. */
  finish(): Promise<FinishedContent>;
  /** Drops what was stored ahead. Never throws. */
  abort(): Promise<void>;
}

/** Content that waits for its commit. */
export type FinishedContent = ContentRef & {
  /** The whole content when it fits in one chunk; it then travels in the commit. */
  readonly inline?: Buffer;
};

// ----------------------------------------------------------------------------------------------- intake

/**
 * A recipient of a new message. `failed`: cleanup refused it, or it failed before a requeue; a report about it is owed.
 * `sent`: it was sent before a requeue, and the report of that is owed.
 */
export type NewRecipient = Recipient & {
  readonly failed?: {
    readonly status: EnhancedStatus;
    readonly reason: string;
    readonly remote?: RemoteReply;
  };
  readonly sent?: {
    readonly status: EnhancedStatus;
    readonly reason: string;
    readonly remote?: RemoteReply;
    readonly action: SuccessAction;
  };
};

export type NewMessage = {
  readonly id: QueueId;
  readonly queue: "maildrop" | "incoming" | "hold";
  readonly envelope: Envelope;
  readonly recipients: readonly NewRecipient[];
  readonly content: FinishedContent;
  /** Arrival clock of Q2 in ms; Redis TIME if absent. */
  readonly arrivalMs?: number;
  /** Mark the id as taken until `forgetTaken`: the message comes from a file that is still to be unlinked. */
  readonly taken?: boolean;
};

/** `already`: this id was stored (or marked taken) before; nothing was changed. */
export type CommitAnswer = "stored" | "already";

export interface Intake {
  /** Why no mail can be taken in right now, or undefined when it can. Cheap: no round trip. */
  refusal(): "unreachable" | "full" | "identity" | undefined;
  /** What was heard last, less than 1 s ago, is that no in-flow token was left (S33). Cheap: no round trip. */
  flowIsDry(): boolean;
  /** In-flow tokens left, those for commits under way taken off. Never rejects: 0 while Redis is away. */
  flowTokens(): Promise<number>;
  /** Content for a new message. The content id is the message's id. */
  openContent(id: QueueId): ContentWriter;
  /** Stores the message durably and rings for its next reader. Never resent: PMQ_STORE_NO_REPLY leaves it open. */
  commit(message: NewMessage): Promise<CommitAnswer>;
  /** The dropped file of this message is unlinked: its id may be forgotten. */
  forgetTaken(id: QueueId): Promise<void>;
  /** A new id, by Redis TIME as far as known. */
  newId(): QueueId;
}

// -------------------------------------------------------------------------------------------- doorbells

/** A listener on one BullMQ queue. Close it to drain: it takes no new rings and waits for running handlers. */
export interface BellListener {
  close(): Promise<void>;
  /**
   * For how many ms no ring was taken and some may have waited; at most some 10 s when none did. A watchdog for
   * readiness. Rings that are delayed (deferred) are not seen.
   */
  silentMs(): number;
}

/** What a ring of maildrop, incoming, deferred or bounce says: look at these. Malformed rings never arrive. */
export type Bell = { readonly ids: readonly QueueId[] };

/** What a delivery job says: these requests, all of one destination, in this order, over one connection. */
export type DeliveryBell = {
  readonly requests: readonly RequestName[];
  /** Keep the connection for later jobs: this destination's come back to back (S32). */
  readonly keepsConnection: boolean;
  /** Try it in a process of its own: earlier tries killed their worker. */
  readonly isAlone: boolean;
};

// --------------------------------------------------------------------------------------------- cleaning

/** A message that cleanup has opened under its claim. */
export type OpenedMessage = {
  readonly id: QueueId;
  readonly generation: number;
  readonly arrivalMs: number;
  readonly envelope: Envelope;
  /** With work left, or with a report owed. */
  readonly recipients: readonly StoredRecipient[];
  readonly content: ContentRef;
  /** Where the numbers begin that its recipients get from cleaning: those below were used already. 0 if absent. */
  readonly firstNumber?: number;
};

/** busy: a live process has it; stale: it is no longer there; parked: it was unreadable and is in corrupt now. */
export type NotOpened = "busy" | "stale" | "parked";

export interface Cleaning {
  /** What was heard last, less than 1 s ago, is that no in-flow token was left (S33). Cheap: no round trip. */
  flowIsDry(): boolean;
  /** In-flow tokens left, those for releases under way taken off. Never rejects: 0 while Redis is away. */
  flowTokens(): Promise<number>;
  open(id: QueueId): Promise<OpenedMessage | NotOpened>;
  readContent(content: ContentRef): Promise<Buffer>;
  /** Content of the rewritten message, under a new content id. */
  openContent(id: QueueId): ContentWriter;
  /**
   * Hands the message on, whole or not at all. `gone`: discarded by a rule.
   *
   * @returns already: this very release was made before; stale: somebody else moved the message.
   */
  release(
    opened: OpenedMessage,
    into: {
      readonly queue: "incoming" | "hold" | "gone";
      readonly envelope: Envelope;
      readonly recipients: readonly NewRecipient[];
      readonly content: FinishedContent;
    },
  ): Promise<"moved" | "already" | "stale">;
  /** Moves it to corrupt, with the reason that operators see; stale: it is gone, or was moved since. */
  park(opened: OpenedMessage, reason: string): Promise<"parked" | "stale">;
  /** Gives the claim back untouched (temporary trouble); a sweep rings again. */
  giveBack(opened: OpenedMessage): Promise<void>;
}

// ------------------------------------------------------------------------------------------- scheduling

/** The leader's fence: whole digits, always greater than the last (DESIGN §4). Compared as a string. */
export type Fence = string;

export interface Leadership {
  /** One try to become leader. */
  acquire(): Promise<Fence | undefined>;
  /** @returns false: the lease is lost; stop at once. */
  renew(fence: Fence): Promise<boolean>;
  /** Lets a stand-by take over at once. */
  release(fence: Fence): Promise<void>;
}

/** A request that was out when this leader took over, or when its message was moved: adopted as it is. */
export type OpenRequest = {
  readonly name: RequestName;
  readonly state: RequestState;
  readonly destination: Destination;
  readonly recipients: readonly number[];
  /** <worker>.<run>, empty while queued. */
  readonly claim: string;
};

export type ImportedMessage = {
  readonly id: QueueId;
  /** The message's generation in active. */
  readonly generation: number;
  readonly arrivalMs: number;
  readonly createdMs: number;
  readonly envelope: Envelope;
  readonly sizeBytes: number;
  /** All recipients, done ones included. */
  readonly totalRecipients: number;
  /** Recipients with work left (todo or deferred). */
  readonly undoneRecipients: number;
  /** Recipients that failed and are not yet reported. */
  readonly unreportedRecipients: number;
  /** Recipients that were sent and whose success report is owed (D31). */
  readonly unreportedSuccesses: number;
  /** Undone ones, those in open requests too, up to the limit asked for; numbers rise. */
  readonly recipients: readonly StoredRecipient[];
  /** First number not yet read; equals totalRecipients when all were read. */
  readonly nextRecipient: number;
  /** Attempts made so far. */
  readonly attempts: number;
  /** Workers that crashed with it. */
  readonly crashes: number;
  /** It was finished but for its removal (its expiry was reported). */
  readonly isFinished: boolean;
  /** An operator said that it is to be returned, not tried (`postsuper -e`). */
  readonly isForceExpired: boolean;
  /** Its sender has been warned of the delay, or nobody wants a warning (S13). */
  readonly wasWarned: boolean;
  /** It was flushed by its id: it lifts the throttles that it meets (S29). Told once. */
  readonly isUnthrottling: boolean;
  /** For whose room it waited in deferred, if it did (S31). */
  readonly surplusOf?: string;
  /** The import ended with this one though more may be there: a leader may have died over it, or over the next. */
  readonly isMoreBehind: boolean;
  readonly openRequests: readonly OpenRequest[];
};

export type NewRequest = {
  readonly id: QueueId;
  /** The message's generation in active. */
  readonly messageGeneration: number;
  readonly destination: Destination;
  readonly recipients: readonly number[];
};

/** What the leader decides about a message of which no request is out. */
export type Settlement = { readonly id: QueueId; readonly generation: number } & (
  | { readonly action: "remove" }
  /**
   * Back to deferred until due. countAttempt: an attempt was made. surplusOf: it waits for room at that destination,
   * which holds its share of active (S31), and `recall` may bring it back before.
   */
  | {
      readonly action: "defer";
      readonly dueMs: number;
      readonly countAttempt: boolean;
      readonly surplusOf?: string;
    }
  /** A report is owed; the message stays in active. `expired`: deferred recipients are returned too. */
  | { readonly action: "report"; readonly kind: ReportKind }
  | { readonly action: "corrupt"; readonly reason: string }
);

/** delay: recipients that are still tried; the message stays what it is (S13). success: those in state `sent` (D31). */
export const reportKinds = ["failure", "expired", "delay", "success"] as const;
export type ReportKind = (typeof reportKinds)[number];

/** unfinished: the record says that something is left to do (or was recorded meanwhile): read it again. */
export type SettleAnswer = "done" | "stale" | "unfinished";

/** What reaches the leader through its stream, in order, numbered without gaps. */
export type LeaderEvent =
  | {
      readonly kind: "ended";
      readonly request: RequestName;
      readonly end: RequestEnd;
      readonly sent: number;
      readonly deferred: number;
      readonly failed: number;
      readonly feedback: SiteFeedback;
      /** Of those sent, how many a success report is owed of (D31); only when there are any. */
      readonly owedSuccesses?: number;
      /** Workers that crashed with the message so far, this one included; only when one just did. */
      readonly crashes?: number;
    }
  /** Somebody else moved or deleted a message that was in active. */
  | { readonly kind: "left"; readonly id: QueueId }
  /** A report about it was queued (or needs none). */
  | { readonly kind: "reported"; readonly id: QueueId }
  /** An operator wants everything tried: throttles are lifted, deferred mail is due (scheduling.md §11). */
  | { readonly kind: "flush" }
  /** A site was flushed: throttles are lifted. */
  | { readonly kind: "unthrottle" };

export type LeaderEvents = {
  readonly events: readonly LeaderEvent[];
  /** True when entries were lost: reconcile from the records. */
  readonly gap: boolean;
};

export type Survey = {
  /** Deliveries that live workers can run at once, together. */
  readonly capacity: number;
  readonly liveWorkers: readonly string[];
};

/**
 * What the leader tells of a destination to those who look on, and leaves to the leader after it.
 *
 * Source: DESIGN §4; spec S23 to S30; http-api.md §2 "/v1/destinations".
 */
export type DestinationReport = {
  /** The name under which limits are kept: transport:nexthop, or transport:user@nexthop (S16). */
  readonly name: string;
  readonly destination: Destination;
  /** Jobs that may run at once now; 0 while dead or paused by a rate delay; null: no limit. */
  readonly window: number | null;
  /** The most that the window may become; null: no limit. */
  readonly limit: number | null;
  /** Jobs that workers have. */
  readonly inFlight: number;
  /** Requests in active that wait for a place. */
  readonly waiting: number;
  /** Messages sent back to deferred because this destination holds its share of active (S31). */
  readonly surplus: number;
  /** Counters of the feedback (S25, S26). */
  readonly success: number;
  readonly failure: number;
  readonly failedCohorts: number;
  /** Set while it is dead (S28). */
  readonly dead?: {
    readonly sinceMs: number;
    readonly untilMs: number;
    readonly status: EnhancedStatus;
    readonly reason: string;
  };
  /** Set while it rests after a request (S30). */
  readonly pausedUntilMs?: number;
  /** What its site said last when it was in trouble. */
  readonly lastTrouble?: {
    readonly atMs: number;
    readonly status: EnhancedStatus;
    readonly reason: string;
  };
  /** Requests ended in the last minute. */
  readonly endedPerMinute: number;
  readonly updatedMs: number;
};

/** What the leader tells of itself, once a second. It goes by itself when nobody leads. */
export type SchedulerReport = {
  readonly fence: Fence;
  readonly leadsSinceMs: number;
  readonly activeMessages: number;
  readonly activeLimit: number;
  readonly recipientsInMemory: number;
  readonly recipientLimit: number;
  /** Deliveries that live workers can run at once, and the jobs that they have. */
  readonly capacity: number;
  readonly liveWorkers: number;
  readonly jobsOut: number;
  readonly waiting: number;
  /** Transports that are throttled (S35). */
  readonly throttled: readonly {
    readonly transport: string;
    readonly untilMs: number;
    readonly status: EnhancedStatus;
    readonly reason: string;
  }[];
  readonly updatedMs: number;
};

/** More of a message in active, and what its record counts now. nextRecipient below 0: the message is gone. */
export type RecipientsRead = {
  readonly recipients: readonly StoredRecipient[];
  readonly nextRecipient: number;
  readonly unreportedRecipients: number;
  readonly unreportedSuccesses: number;
};

/** Messages that are due now, and those that still wait for room. */
export type Recalled = { readonly found: number; readonly left: number };

export interface Scheduling {
  /**
   * Oldest first. from `deferred`: those due now. An unreadable record goes to corrupt here.
   *
   * Says that the last batch is in hand: nothing in it killed the leader. And promises, if it finds anything in
   * incoming, to ask again soon: until then nobody rings for new mail.
   */
  importMessages(options: {
    readonly fence: Fence;
    readonly from: "incoming" | "deferred";
    readonly maxMessages: number;
    /** Of one message. */
    readonly maxRecipients: number;
    /** Of all of them together, though some of each message are always read. No limit if absent. */
    readonly maxRecipientsInAll?: number;
    /** Read of each message even when that is used up: qmgr_message_recipient_minimum, 10 if absent. */
    readonly minRecipients?: number;
    /** A flush: all that entered deferred before this moment is due. Only from deferred. */
    readonly enteredBeforeMs?: number;
  }): Promise<readonly ImportedMessage[]>;
  /** The last batch is in hand, and no import follows. */
  closeImport(fence: Fence): Promise<void>;
  /** More undone recipients of a message in active. */
  readRecipients(options: {
    readonly id: QueueId;
    readonly from: number;
    readonly limit: number;
  }): Promise<RecipientsRead>;
  /** Writes requests. undefined: the message is no longer in active at that generation. */
  dispatch(
    fence: Fence,
    requests: readonly NewRequest[],
  ): Promise<readonly (RequestName | undefined)[]>;
  /** Rings workers for written requests, all of one destination. @returns false: the ring was lost. */
  ringDelivery(bell: DeliveryBell): Promise<boolean>;
  /** Gives queued requests a new generation, to be rung again; undefined for one that is claimed or gone. */
  renewRequests(
    fence: Fence,
    names: readonly RequestName[],
  ): Promise<readonly (RequestName | undefined)[]>;
  /** Where requests stand now; undefined: ended or gone. */
  inspectRequests(names: readonly RequestName[]): Promise<readonly (OpenRequest | undefined)[]>;
  /**
   * Takes back claims of workers that are gone by DESIGN §3's rule. Each comes back as an `ended` event: putBack if
   * its dot was not sent; else the ambiguous ones are deferred (or their message held).
   *
   * @returns what happened to each: reaped, ambiguous (reaped at dot-sent), alive, or gone.
   */
  reap(
    fence: Fence,
    names: readonly RequestName[],
    ambiguous: "retry" | "hold",
  ): Promise<readonly ("reaped" | "ambiguous" | "alive" | "gone")[]>;
  settle(fence: Fence, settlements: readonly Settlement[]): Promise<readonly SettleAnswer[]>;
  /** Outcomes that the leader itself decides (transports error and retry), without a request. */
  recordOutcomes(id: QueueId, outcomes: readonly RecipientOutcome[]): Promise<void>;
  survey(): Promise<Survey>;
  /**
   * Take-over: what is in active goes back to incoming, in steps. What the leader before had opened last counts a
   * crash, unless that leader was this process.
   *
   * @returns how many
   */
  reopenActive(fence: Fence): Promise<number>;
  /** When the flush of the whole queue was asked for that is not yet carried out; undefined: there is none. */
  pendingFlush(): Promise<number | undefined>;
  /** Every message that was in deferred at that moment has been taken up. */
  endFlush(fence: Fence, requestedMs: number): Promise<void>;
  /** Makes up to so many messages due that wait for room at a destination, the longest waiting first. */
  recall(fence: Fence, destination: string, most: number): Promise<Recalled>;
  /** When a site was flushed last: dead marks from before are lifted. undefined: not lately. */
  unthrottledMs(): Promise<number | undefined>;
  /** Mends what the index of due times misses, in steps from a cursor ("" at first). @returns the next one, or undefined. */
  mendDue(fence: Fence, cursor: string): Promise<string | undefined>;
  /** Tells those who look on. `gone`: names of destinations that are forgotten. */
  publish(
    fence: Fence,
    report: {
      readonly scheduler: SchedulerReport;
      readonly changed: readonly DestinationReport[];
      readonly gone: readonly string[];
    },
  ): Promise<void>;
  /** What the leader before left of destinations. */
  readDestinations(): Promise<readonly DestinationReport[]>;
  /** Reads the leader's stream from where `startEvents` or the last call ended; waits up to `waitMs`. */
  readEvents(waitMs: number): Promise<LeaderEvents>;
  /** Starts reading at the stream's present end. Call before `reopenActive`. */
  startEvents(): Promise<void>;
  /** Rings for entries of maildrop, and owed reports, that are older than `olderThanMs`. @returns how many. */
  sweep(fence: Fence, olderThanMs: number): Promise<number>;
  /** A delayed job that rings `deferred` at that second; once per second is enough. @returns false: it was lost. */
  ringAt(dueMs: number): Promise<boolean>;
  /** ms until the next deferred message is due, or undefined. */
  counts(): Promise<{ readonly incoming: number; readonly due: number }>;
}

// ------------------------------------------------------------------------------------------- delivering

export type ClaimedRequest = {
  readonly name: RequestName;
  readonly destination: Destination;
  readonly arrivalMs: number;
  /** When the message entered active. */
  readonly activeMs: number;
  readonly createdMs: number;
  /** Its sender has been warned of the delay (S13). */
  readonly wasWarned: boolean;
  readonly envelope: Envelope;
  /** Those of the request that are not done. May be empty: then there is nothing to send. */
  readonly recipients: readonly StoredRecipient[];
  readonly content: ContentRef;
  /** The content when it fits in one chunk. */
  readonly inline?: Buffer;
};

/** stale: ended or rung afresh meanwhile; busy: another claim stands. Either way: leave it alone. */
export type ClaimAnswer = ClaimedRequest | "stale" | "busy" | "unreadable";

export type RequestResult = {
  readonly name: RequestName;
  readonly end: RequestEnd;
  readonly outcomes: readonly RecipientOutcome[];
  readonly feedback: SiteFeedback;
  /** For `unreadable`. */
  readonly reason?: string;
};

/** Leave to have one connection to a destination open, in use or idle. Disposing of it gives it back, once. */
export interface ConnectionToken extends Disposable {
  /** The destination that it counts at. */
  readonly name: string;
}

/**
 * Leaves to open connections, counted in Redis over all workers of the instance, so that a destination never sees more
 * than its limit (P7). A token falls with its worker's claims: sockets of a worker that froze so long are the stated
 * exception.
 *
 * Source: DESIGN §4.
 */
export interface ConnectionTokens {
  /**
   * One script for a dial; none if the limit is 0. When none is free, other workers and this one are asked to close an
   * idle connection there, for some 3 s. Waits for Redis.
   *
   * @param signal ends the wait
   * @returns undefined: none became free, or the signal has fired
   */
  take(options: {
    readonly name: string;
    /** Connections at once at most; 0: no limit. */
    readonly limit: number;
    readonly signal: AbortSignal;
  }): Promise<ConnectionToken | undefined>;
  /** Called when somebody wants to connect there and can't: an idle connection, if there is one, is to be closed. */
  onAsked: (name: string) => void;
  /** Whether one that became idle just now is to be closed for somebody. No round trip unless somebody asked lately. */
  isAskedFor(name: string): Promise<boolean>;
}

export interface Delivering {
  /** Name of this run of this worker; its claims live as long as its heartbeat. */
  readonly worker: string;
  readonly connections: ConnectionTokens;
  /** Claims a job whole, in one script. Waits for Redis. */
  claim(names: readonly RequestName[]): Promise<readonly ClaimAnswer[]>;
  /** Whether the request still waits for the worker that this ring reached. */
  isQueued(name: RequestName): Promise<boolean>;
  /**
   * To be awaited before the final dot.
   *
   * @returns false: the claim is no longer ours, or Redis was silent for 20 s: drop the connection without the dot.
   */
  markDotSent(name: RequestName): Promise<boolean>;
  /**
   * Records outcomes of a request that goes on: what one server said before another is asked (D6). Held over any
   * outage of Redis, in order before the request's end; resolves when they are written. Repeating them in `end` is safe.
   */
  record(name: RequestName, outcomes: readonly RecipientOutcome[]): Promise<void>;
  /** Records outcomes and ends the request. Holds them over any outage of Redis; resolves when they are written. */
  end(result: RequestResult): Promise<void>;
  /** Chunks of larger content, in order. @throws PMQ_MESSAGE_UNREADABLE when one is missing. */
  readContent(content: ContentRef): AsyncIterable<Buffer>;
  /** Results that are not yet written, for the file in data_directory at exit. */
  unwritten(): readonly RequestResult[];
  /** Writes results that an earlier run left behind. */
  restore(results: readonly RequestResult[]): Promise<void>;
}

// -------------------------------------------------------------------------------------------- reporting

export type OpenedReport = {
  readonly id: QueueId;
  readonly kind: ReportKind;
  readonly generation: number;
  readonly arrivalMs: number;
  readonly envelope: Envelope;
  /** Opaque: what the record counted when it was read; a report made from older counts is refused. */
  readonly counts: string;
  /**
   * failure: those that failed and are unreported; expired: those and the deferred ones; delay: the deferred ones;
   * success: those that were sent and are unreported.
   */
  readonly recipients: readonly StoredRecipient[];
  readonly content: ContentRef;
};

export interface Reporting {
  open(id: QueueId): Promise<OpenedReport | NotOpened>;
  readContent(content: ContentRef, maxBytes: number): Promise<Buffer>;
  /**
   * Queues the messages that tell of it and marks it no longer owed, in one script: all of them or none.
   *
   * @param reports to the sender, to postmasters, at most 500; none: nobody wants one
   */
  queue(opened: OpenedReport, reports: readonly NewMessage[]): Promise<"queued" | "stale">;
  /**
   * Queues messages that tell of some of the recipients of a failure or an expiry, and marks those as told, in one script.
   * The others stay owed, whoever reports of them.
   *
   * @param told numbers of recipients; not all of them: the last part is `queue`'s
   * @param reports at most 500
   * @returns what is left to report, claimed as before
   */
  queuePart(
    opened: OpenedReport,
    told: readonly number[],
    reports: readonly NewMessage[],
  ): Promise<OpenedReport | "stale">;
  giveBack(opened: OpenedReport): Promise<void>;
  openContent(id: QueueId): ContentWriter;
  newId(): QueueId;
}

// ---------------------------------------------------------------------------------------------- looking

export type ListedMessage = {
  readonly id: QueueId;
  readonly queue: MessageQueue;
  readonly generation: number;
  readonly arrivalMs: number;
  readonly createdMs: number;
  readonly sizeBytes: number;
  readonly content: ContentRef;
  readonly envelope: Envelope;
  readonly isForceExpired: boolean;
  readonly attempts: number;
  readonly lastAttemptMs?: number;
  readonly dueMs?: number;
  /** Not yet done ones, at most 1 000 (`undoneRecipients` tells the true number). */
  readonly recipients: readonly StoredRecipient[];
  readonly undoneRecipients: number;
  readonly totalRecipients: number;
  /** Why it is in corrupt. */
  readonly corruptReason?: string;
  /** The report about it that is owed: it stays in active until that is queued. */
  readonly owedReport?: ReportKind;
  /** In deferred: it waits for room at a destination that holds its share of active (S31). */
  readonly isSurplus: boolean;
};

/** A page of a listing, by arrival. Moves meanwhile may repeat or miss an entry, as in Postfix (Q9). */
export type ListPage = {
  readonly messages: readonly ListedMessage[];
  /** Pass to `list` for the next page; absent at the end. */
  readonly cursor?: string;
};

export type QueueDepth = {
  readonly queue: MessageQueue;
  readonly messages: number;
  /** Arrival of the oldest, if any. */
  readonly oldestArrivalMs?: number;
};

export type QshapeRow = {
  readonly domain: string;
  /** One count per bucket, youngest first. */
  readonly counts: readonly number[];
};

/** A delivery worker as the store knows it. */
export type WorkerReport = {
  /** Service, host, process id, and this very run. */
  readonly name: string;
  /** Deliveries that it can run at once. */
  readonly concurrency: number;
  /** It has a heartbeat. */
  readonly isAlive: boolean;
  /** When it was found without one; its claims fall a heartbeat later. */
  readonly goneSinceMs?: number;
};

export interface Looking {
  depths(): Promise<readonly QueueDepth[]>;
  list(
    queue: MessageQueue,
    options: { readonly cursor?: string; readonly limit: number },
  ): Promise<ListPage>;
  message(id: QueueId): Promise<ListedMessage | undefined>;
  /** Recipients of a message that are not done, from a number on, in pages: for those beyond the first 1 000. */
  undoneRecipients(
    id: QueueId,
    from: number,
  ): AsyncGenerator<readonly StoredRecipient[], void, void>;
  /**
   * Counts by recipient domain (recipients) or sender domain (messages) and age.
   *
   * @param ageLimitsMs upper bounds of all buckets but the last, rising; age = now - arrival < limit is in that bucket.
   */
  qshape(options: {
    readonly queues: readonly MessageQueue[];
    readonly by: "recipient" | "sender";
    readonly ageLimitsMs: readonly number[];
    readonly nowMs: number;
  }): Promise<readonly QshapeRow[]>;
  readContent(content: ContentRef): AsyncIterable<Buffer>;
  /** What the leader told of itself within the last seconds; undefined: nobody leads. */
  scheduler(): Promise<SchedulerReport | undefined>;
  /** Destinations that the leader knows, a page at a time, in no order. */
  destinations(options: {
    readonly cursor?: string;
    readonly limit: number;
  }): Promise<{ readonly destinations: readonly DestinationReport[]; readonly cursor?: string }>;
  /** Of all those names, the destinations that the leader knows. */
  destinationsNamed(names: readonly string[]): Promise<readonly DestinationReport[]>;
  /** Delivery workers, those that are gone lately too, by name. */
  workers(): Promise<readonly WorkerReport[]>;
  /** Requests of a message that are out. */
  openRequests(id: QueueId): Promise<readonly OpenRequest[]>;
}

// -------------------------------------------------------------------------------------------- operating

/** What operators do to the queue. Every act is one script, or steps of which each is safe to repeat. */
export interface Operating {
  /** Everything in deferred is tried, whatever its due time, and all throttles are lifted (`postqueue -f`). */
  flushAll(): Promise<void>;
  /**
   * Messages of deferred with undone recipients in this domain go to incoming, due now; all throttles are lifted
   * (`postqueue -s`).
   *
   * @returns how many
   */
  flushSite(domain: string): Promise<number>;
  /** One message goes from deferred to incoming, due now, and lifts the throttles that it meets (`postqueue -i`). */
  flushMessage(id: QueueId): Promise<"moved" | "not deferred">;
  /** Lifts all throttles, moving nothing: what comes before a flush of something selected. */
  unthrottle(): Promise<void>;
}

// ------------------------------------------------------------------------------------------------ store

export type StoreHealth = {
  readonly isReachable: boolean;
  /** Why a daemon on this store is not ready, or undefined. */
  readonly trouble?: string;
  /** used_memory / maxmemory, 0 when unlimited. */
  readonly memoryRatio: number;
  /** appendfsync as Redis has it: always, everysec, no; or off. */
  readonly durability: string;
};

/** Everything of one instance. Made by `openStore`. */
export interface Store extends AsyncDisposable {
  [Symbol.asyncDispose](): Promise<void>;
  readonly instanceName: string;
  /** Redis TIME as far as known: a monotonic clock, and how far Redis is beyond it. */
  readonly clock: Clock;
  health(): StoreHealth;
  /** Each of these may be asked for once per process; the parts own timers and connections that the store closes. */
  intake(): Intake;
  cleaning(): Cleaning;
  reporting(): Reporting;
  leadership(): Leadership;
  scheduling(): Scheduling;
  delivering(options: { readonly concurrency: number }): Promise<Delivering>;
  looking(): Looking;
  operating(): Operating;
  acting(): Acting;
  selecting(): Selecting;
  copying(): Copying & MovingAway;
  timelines(): Timelines;
  auditing(): Auditing;
  operations(): Operations;
  checking(): Checking;
  listen(
    queue: Exclude<BellQueue, "active">,
    options: { readonly concurrency: number },
    handler: (bell: Bell) => Promise<void>,
  ): Promise<BellListener>;
  listenForDeliveries(
    options: { readonly concurrency: number },
    handler: (bell: DeliveryBell) => Promise<void>,
  ): Promise<BellListener>;
}
