/**
 * What the store offers to operators: acts on messages, selections from indexes, copies of whole messages, timelines,
 * the audit log, and operations that outlive the process that began them. The rest of the contract is in contract.ts.
 *
 * Every act is one script or steps of which each is safe to repeat; a step holds Redis for some milliseconds at most,
 * so that mail flows in between. The state machines are in docs/ARCHITECTURE.md "What operators do".
 *
 * Source: DESIGN §3, §5; spec admin-tools.md §2, http-api.md §2, sendmail-queue.md §5, §7.
 */
import type {
  Envelope,
  MessageQueue,
  NotifyCondition,
  QueueId,
  RecipientState,
  StoredRecipient,
} from "@postmq/vocabulary";

import type { ContentRef, ContentWriter, FinishedContent, ListedMessage } from "./contract.ts";

// ----------------------------------------------------------------------------------------- acts on messages

/**
 * delete: gone, without a report. hold: to hold. release: from hold to deferred, its due time unchanged. requeue: to
 * maildrop under its own id, to be cleaned anew, created now. expire: marked, to be returned at its next turn. retry:
 * from deferred to incoming, due now.
 */
export const acts = ["delete", "hold", "release", "requeue", "expire", "retry"] as const;
export type Act = (typeof acts)[number];

/** Which queues each act takes messages from unless told otherwise; it never takes them from others but `corrupt`. */
export const queuesOfAct: Readonly<Record<Act, readonly MessageQueue[]>> = {
  delete: ["hold", "incoming", "active", "deferred", "maildrop"],
  hold: ["incoming", "active", "deferred"],
  release: ["hold"],
  requeue: ["hold", "incoming", "active", "deferred"],
  expire: ["hold", "incoming", "active", "deferred"],
  retry: ["deferred"],
};

/** The queues beyond those that an act can be told to work on: what is unreadable is deleted or tried again. */
export const namedQueuesOfAct: Readonly<Record<Act, readonly MessageQueue[]>> = {
  delete: ["corrupt"],
  // Not from maildrop: what is there is not cleaned, and must not mix with what is (postsuper.c).
  hold: [],
  release: [],
  requeue: ["corrupt"],
  expire: ["corrupt"],
  retry: [],
};

/**
 * done: it was there and the act was carried out; absent: no such message in the queues asked for, or it came there
 * after the moment asked for, or it is expired already; unreadable: its record tells too little for this act.
 */
export type ActAnswer = "done" | "absent" | "unreadable";

/** Where a walk through a queue stands. Opaque beside the counts; pass it on. */
export type Walk = {
  /** When the walk began, ms: what entered its queue later is left alone, so that every walk ends. */
  readonly begunMs: number;
  /** Absent at the end. */
  readonly cursor?: string;
};

export type WalkStep = {
  /** Messages that the act was carried out on. */
  readonly done: number;
  readonly unreadable: number;
  /** Messages looked at. */
  readonly seen: number;
  readonly next: Walk;
};

export interface Acting {
  /**
   * One act on messages by id, in steps that hold Redis for some milliseconds; at most 500 ids.
   *
   * @param options.queues only in these; default: those of the act
   * @param options.begunMs leave alone what entered its queue later
   */
  act(
    act: Act,
    ids: readonly QueueId[],
    options?: { readonly queues?: readonly MessageQueue[]; readonly begunMs?: number },
  ): Promise<readonly ActAnswer[]>;
  /** One act on all of a queue: a step. Begin without `walk`; it is over when the answer has no cursor. */
  actOnQueue(act: Act, queue: MessageQueue, walk?: Walk): Promise<WalkStep>;
  /**
   * The same on the same connection, where what is done counts for a stored operation, in the scripts that do it: its
   * total is right whoever dies between a step and the saving of it.
   */
  countingFor(operation: string): Acting;
}

// ----------------------------------------------------------------------------------------------- selecting

/** An index to read candidates from. */
export type CandidateIndex =
  | { readonly by: "queue" }
  /** Messages of a sender, folded as `senderKey` does; of all queues. */
  | { readonly by: "sender"; readonly sender: string }
  /** Messages with undone recipients in a domain. */
  | { readonly by: "domain"; readonly domain: string }
  /** Messages whose sender is in a domain. */
  | { readonly by: "senderDomain"; readonly domain: string };

export type CandidatePage = {
  readonly messages: readonly ListedMessage[];
  /** Entries of the index looked at: those of other queues too. */
  readonly seen: number;
  /** Pass on; absent at the end. What stays in the index is seen exactly once, whatever comes and goes. */
  readonly cursor?: string;
};

export type Ages = {
  /** Arrival from, to (both included), ms. */
  readonly arrivedFromMs?: number;
  readonly arrivedToMs?: number;
};

export interface Selecting {
  /** How many candidates an index holds, about: to choose the narrowest. */
  countCandidates(queue: MessageQueue, index: CandidateIndex, ages?: Ages): Promise<number>;
  /**
   * A page of candidates in one queue by arrival, whole records; those outside the ages are never read. In an index of
   * domains, messages of very many domains come last.
   *
   * @throws PMQ_USAGE for a cursor that no page gave
   */
  candidates(
    options: Ages & {
      readonly queue: MessageQueue;
      readonly index: CandidateIndex;
      readonly cursor?: string;
      /** Entries of the index looked at: a page may hold fewer messages, or none. */
      readonly limit: number;
    },
  ): Promise<CandidatePage>;
  /** Of all those ids, the messages that are there, whatever their queue. */
  messages(ids: readonly QueueId[]): Promise<readonly ListedMessage[]>;
  /** Undone recipients of a message from a number on, in steps: those that a listing leaves out of a long list. */
  undoneRecipients(
    id: QueueId,
    from: number,
  ): AsyncGenerator<readonly StoredRecipient[], void, void>;
}

// --------------------------------------------------------------------------------------- copies of messages

/** A recipient as a copy carries it: done ones too, so that a restored message tells nobody twice. */
export type CopiedRecipient = {
  /**
   * Absent: its place in the list. A requeue leaves gaps, and a copy keeps them, so that what is said late of a recipient
   * is said of the same one.
   */
  readonly number?: number;
  readonly address: string;
  readonly original?: string;
  readonly orcpt?: string;
  readonly notify?: readonly NotifyCondition[];
  readonly state: RecipientState;
};

/** A message whole, but for its content: what export writes, and what another instance gets. */
export type MessageCopy = {
  readonly id: QueueId;
  readonly queue: Exclude<MessageQueue, "active">;
  readonly arrivalMs: number;
  readonly createdMs: number;
  readonly envelope: Envelope;
  /** By rising number. */
  readonly recipients: readonly CopiedRecipient[];
  readonly attempts: number;
  readonly lastAttemptMs?: number;
  readonly dueMs?: number;
  readonly isForceExpired: boolean;
  /** Its sender has been warned of the delay, or nobody wants a warning (S13). */
  readonly wasWarned: boolean;
  /** Everybody was told of its expiry; only its removal is left. */
  readonly isFinished: boolean;
  /** Why it is in corrupt. */
  readonly corruptReason?: string;
};

/** A copy as it was read, with what tells whether the message is still that. */
export type ReadCopy = {
  readonly copy: MessageCopy;
  readonly generation: number;
  /**
   * Opaque: another once the message was in another queue, somebody's delivery ended or was reported, or its due time,
   * attempts, warning or forced expiry changed. Not with the time and the reasons of a deferral alone.
   */
  readonly version: string;
  /** A process is at work on it, or its delivery is under way. */
  readonly isClaimed: boolean;
  readonly content: ContentRef;
  /** The content when it fits in one chunk. */
  readonly inline?: Buffer;
};

/**
 * absent: gone; unreadable: neither record nor content can be made sense of; changing: of very many recipients, and
 * under delivery: it was never the same from the first page of them to the last.
 */
export type NotCopied = "absent" | "unreadable" | "changing";

/** A copy with its content, which goes ahead of it when it is large. */
export type RestorableMessage = { readonly copy: MessageCopy; readonly content: FinishedContent };

/** How far a long reading of a file has come, kept with the messages that it stored. */
export type ImportPlace = { readonly name: string; readonly from: string; readonly to: string };

export interface Copying {
  /** A message of any queue as it stands, read only; one of active reads as of incoming. */
  readCopy(id: QueueId): Promise<ReadCopy | NotCopied>;
  /** The same of several, in few scripts. */
  readCopies(ids: readonly QueueId[]): Promise<readonly (ReadCopy | NotCopied)[]>;
  readContent(content: ContentRef): AsyncIterable<Buffer>;
  /** Content of a message that is to be restored. */
  openContent(id: QueueId): ContentWriter;
  /**
   * Writes messages under their own ids, with their clocks, each whole or not at all, in one script: at most 100, with
   * 1 MiB of content that does not go ahead.
   *
   * @param place moves in the same script, if it is still at `from`
   * @returns already: that id is here in some form; nothing is changed. overtaken: the place is elsewhere, and nothing was done
   * @throws PMQ_STORE_FULL at 0.95 of maxmemory; PMQ_STORE_NO_REPLY: never resent, look at the place
   */
  restore(
    messages: readonly RestorableMessage[],
    place?: ImportPlace,
  ): Promise<readonly ("stored" | "already")[] | "overtaken">;
  /** Where a place stands: empty if there is none. */
  readPlace(name: string): Promise<string>;
  forgetPlace(name: string): Promise<void>;
}

/** A message on its way to another instance, or into a file. */
export type Move = {
  readonly id: QueueId;
  /** Of this move and no other: made of the instance, the id and the generation that it leaves. */
  readonly name: string;
};

/**
 * Moving messages to another instance (DESIGN §5): copied there not ready, marked here, made ready there, dropped here,
 * forgotten there. Or into a file: marked, written, dropped. At most 100 at a time; every step is safe to repeat.
 */
export interface MovingAway {
  /** The name of the move that would take it away as it was read. */
  moveOf(read: ReadCopy): Move;
  /**
   * Stores copies here, not ready: they go by themselves after an hour.
   *
   * @returns arrived: this very move was made ready here before; taken: another message of that id is here
   * @throws PMQ_STORE_FULL at 0.95 of maxmemory
   */
  restoreComing(
    messages: readonly (RestorableMessage & { readonly move: Move })[],
  ): Promise<readonly ("stored" | "arrived" | "taken")[]>;
  /**
   * Takes messages out of their queues, those that are still what was read and that nobody works on.
   *
   * @param to an instance's name, or `file:` and the name of a place
   */
  markMoving(
    reads: readonly { readonly move: Move; readonly version: string }[],
    to: string,
  ): Promise<readonly ("marked" | "changed" | "claimed")[]>;
  /** Makes copies that were restored here, not ready, appear in their queues. absent: restore it again. */
  makeReady(moves: readonly Move[]): Promise<readonly ("ready" | "already" | "absent" | "taken")[]>;
  /** On the side it came from: safe over there by now. */
  dropMoved(moves: readonly Move[]): Promise<void>;
  /**
   * The same for those that were written to a file: all, or none if one of them was put back meanwhile.
   *
   * @param place tells the writer that starts again how far deletion came
   */
  dropWritten(
    moves: readonly Move[],
    place: { readonly name: string; readonly to: string },
  ): Promise<boolean>;
  /** They are in their queues again, as after a step back; what was in active is in incoming. */
  putBack(moves: readonly Move[]): Promise<void>;
  /** On the side it came to: the other side has dropped them. */
  forgetArrived(moves: readonly Move[]): Promise<void>;
  /**
   * Messages that stand as moving, marked before that moment: somebody died over them.
   *
   * @yields pages of them, the oldest first, as they stood at the first
   */
  moving(markedBeforeMs: number): AsyncIterable<readonly (Move & { readonly to: string })[]>;
  /** Copies of such messages, as they were marked. */
  readMoving(ids: readonly QueueId[]): Promise<readonly (ReadCopy | NotCopied)[]>;
  /** Names of the instances that messages were moved to from here and that were not removed since. */
  asideNames(): Promise<readonly string[]>;
  rememberAside(name: string): Promise<void>;
  forgetAside(name: string): Promise<void>;
  /** Whether a qmgr leads this instance now. */
  isLed(): Promise<boolean>;
  /** Takes this instance out of Redis, if it is empty. @returns full: messages are there; led: a qmgr runs there. */
  removeInstance(): Promise<"removed" | "full" | "led">;
}

// ----------------------------------------------------------------------------------------------- timelines

/** What can happen to a message, over all services. more: outcomes of so many more recipients, not told one by one. */
export type TimelineKind =
  | "accepted"
  | "cleaned"
  | "queued"
  | "claimed"
  | "dot-sent"
  | "sent"
  | "deferred"
  | "failed"
  | "more"
  | "put-back"
  | "ambiguous"
  | "report-owed"
  | "reported"
  | "moved"
  | "marked"
  | "removed";

/** One thing that happened. */
export type TimelineEvent = {
  readonly atMs: number;
  readonly kind: TimelineKind;
  /** Into which queue, for moves. */
  readonly queue?: MessageQueue;
  /** What else is known, as name and text: recipient, status, reason, relay, worker, by, due. */
  readonly details: Readonly<Record<string, string>>;
};

export interface Timelines {
  /**
   * What happened to a message, the oldest first; of the last `event_retention`, and no more of all messages together
   * than fits in `event_memory`.
   *
   * @param options.sinceMs leave out what was before
   */
  timeline(id: QueueId, options?: { readonly sinceMs?: number }): Promise<readonly TimelineEvent[]>;
}

// ------------------------------------------------------------------------------------- audit and operations

export const auditOutcomes = ["started", "done", "cancelled", "failed"] as const;

/** Who did what to which messages, and why. */
export type AuditEntry = {
  readonly atMs: number;
  /** The token's name, or the user of the command line. */
  readonly who: string;
  /** postsuper, postqueue, http, … */
  readonly by: string;
  readonly action: string;
  /** The selection as it was given, one line. */
  readonly selection: string;
  readonly reason: string;
  /** The operation, if there is one. */
  readonly operation?: string;
  readonly outcome: (typeof auditOutcomes)[number];
  readonly count?: number;
};

export interface Auditing {
  audit(entry: Omit<AuditEntry, "atMs">): Promise<void>;
  /** The newest first. */
  readAudit(options: {
    readonly cursor?: string;
    readonly limit: number;
  }): Promise<{ readonly entries: readonly AuditEntry[]; readonly cursor?: string }>;
}

/** An operation asked for over HTTP: any showq carries it on. It is forgotten a week after its end. */
export type StoredOperation = {
  /** Letters, digits and `-`; later ones sort behind earlier ones. */
  readonly id: string;
  readonly createdMs: number;
  readonly updatedMs: number;
  readonly state: "running" | "cancelling" | "done" | "cancelled" | "failed";
  /** What is to be done, as the caller of the store understands it: JSON. */
  readonly task: string;
  /** How far it is, JSON: from there another process goes on. Empty at first. */
  readonly progress: string;
  /** What was done for it so far, by act (`Acting.countingFor`). */
  readonly done: Readonly<Partial<Record<Act, number>>>;
  /** How often somebody took it: 0, nobody yet; more than 1, it was given back or its process died. */
  readonly takes: number;
  /** How often since its progress changed last. */
  readonly takesInVain: number;
};

/** An operation in the hands of this process; `holder` names this very taking of it. */
export type TakenOperation = StoredOperation & { readonly holder: string };

export interface Operations {
  /** @returns many: 100 of them have not ended, no more are taken in; the oldest ended go when there are 500. */
  create(operation: { readonly id: string; readonly task: string }): Promise<"created" | "many">;
  read(id: string): Promise<StoredOperation | undefined>;
  /** The newest first. */
  listOperations(options: {
    readonly cursor?: string;
    readonly limit: number;
  }): Promise<{ readonly operations: readonly StoredOperation[]; readonly cursor?: string }>;
  /** Takes an operation that nobody is at work on, for `holdMs`; saving renews that. The longest waiting first. */
  take(holdMs: number): Promise<TakenOperation | undefined>;
  /**
   * @param options.holdMs 0 gives it back
   * @returns lost: another process has it by now, nothing was saved; cancelling: saved, and it is to end.
   */
  save(
    taken: { readonly id: string; readonly holder: string },
    options: {
      readonly progress: string;
      readonly holdMs: number;
      readonly end?: "done" | "cancelled" | "failed";
    },
  ): Promise<"saved" | "cancelling" | "lost">;
  /** @returns false: it has ended, or there is none. */
  cancel(id: string): Promise<boolean>;
}
