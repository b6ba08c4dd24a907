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
  RequestEnd,
  RequestName,
  RequestState,
  SiteFeedback,
  StoredRecipient,
} from "@postmq/vocabulary";

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

/** A recipient of a new message. `failed`: cleanup refused it; a report about it is owed at once. */
export type NewRecipient = Recipient & {
  readonly failed?: { readonly status: EnhancedStatus; readonly reason: string };
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
  readonly recipients: readonly StoredRecipient[];
  readonly content: ContentRef;
};

/** busy: a live process has it; stale: it is no longer there; parked: it was unreadable and is in corrupt now. */
export type NotOpened = "busy" | "stale" | "parked";

export interface Cleaning {
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
  /** Moves it to corrupt, with the reason that operators see. */
  park(opened: OpenedMessage, reason: string): Promise<void>;
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
  /** Back to deferred until due. countAttempt: an attempt was made. */
  | { readonly action: "defer"; readonly dueMs: number; readonly countAttempt: boolean }
  /** A report is owed; the message stays in active. `expired`: deferred recipients are returned too. */
  | { readonly action: "report"; readonly kind: ReportKind }
  | { readonly action: "corrupt"; readonly reason: string }
);

export const reportKinds = ["failure", "expired"] as const;
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
      /** Workers that crashed with the message so far, this one included; only when one just did. */
      readonly crashes?: number;
    }
  /** Somebody else moved or deleted a message that was in active. */
  | { readonly kind: "left"; readonly id: QueueId }
  /** A report about it was queued (or needs none). */
  | { readonly kind: "reported"; readonly id: QueueId };

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
    readonly maxRecipients: number;
  }): Promise<readonly ImportedMessage[]>;
  /** The last batch is in hand, and no import follows. */
  closeImport(fence: Fence): Promise<void>;
  /** More undone recipients of a message in active. */
  readRecipients(options: {
    readonly id: QueueId;
    readonly from: number;
    readonly limit: number;
  }): Promise<{ readonly recipients: readonly StoredRecipient[]; readonly nextRecipient: number }>;
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

export interface Delivering {
  /** Name of this run of this worker; its claims live as long as its heartbeat. */
  readonly worker: string;
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
  /** failure: those that failed and are unreported; expired: those and the deferred ones. */
  readonly recipients: readonly StoredRecipient[];
  readonly content: ContentRef;
};

export interface Reporting {
  open(id: QueueId): Promise<OpenedReport | NotOpened>;
  readContent(content: ContentRef, maxBytes: number): Promise<Buffer>;
  /** Queues the report and marks it no longer owed, in one script. undefined: nobody wants one. */
  queue(opened: OpenedReport, report: NewMessage | undefined): Promise<"queued" | "stale">;
  giveBack(opened: OpenedReport): Promise<void>;
  openContent(id: QueueId): ContentWriter;
  newId(): QueueId;
}

// ---------------------------------------------------------------------------------------------- looking

export type ListedMessage = {
  readonly id: QueueId;
  readonly queue: MessageQueue;
  readonly arrivalMs: number;
  readonly createdMs: number;
  readonly sizeBytes: number;
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

export interface Looking {
  depths(): Promise<readonly QueueDepth[]>;
  list(
    queue: MessageQueue,
    options: { readonly cursor?: string; readonly limit: number },
  ): Promise<ListPage>;
  message(id: QueueId): Promise<ListedMessage | undefined>;
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
  /** Redis TIME as far as known: last reading plus a monotonic offset. */
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
