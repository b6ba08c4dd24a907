/**
 * A message in active, as the leader sees it: what of it is outstanding, and what has come of the rest.
 *
 * Important: these objects are a view. The record in Redis is the truth, and every decision made from this view is
 * checked against the record by the script that carries it out; so a mistake here costs time, never mail.
 *
 * Source: queues.md §3.7.
 */
import type { QueueId } from "@postmq/vocabulary";
import { verpDelimitersOf } from "@postmq/vocabulary";
import type { ImportedMessage } from "@postmq/queue-store";

/**
 * open: waits for what is outstanding; when nothing is, for a decision.
 * deciding: a decision about it is on its way to the store.
 * reporting: the bounce service is to report about it.
 * gone: no longer in active; only requests that are still out refer to it.
 */
export type MessagePhase = "open" | "deciding" | "reporting" | "gone";

export type ActiveMessage = {
  readonly id: QueueId;
  /** Its generation in active. */
  readonly generation: number;
  readonly sender: string;
  readonly createdMs: number;
  readonly arrivalMs: number;
  /** When it came into this leader's hands, and as which. */
  readonly activeMs: number;
  readonly order: number;
  /** Whose turns are balanced, by fair_share_key. */
  readonly shareKey: string;
  /** transport:nexthop of a content filter, or "". */
  readonly contentFilter: string;
  /** Its sender names each recipient (VERP), so that a request is for one only. */
  readonly isSingleRecipient: boolean;
  /** It is tried because everything, or this message, was flushed. */
  readonly isFlushed: boolean;
  /** It was flushed by its id: it lifts what stands in its way (S29). */
  readonly isUnthrottling: boolean;
  /** An operator wants it returned, not tried. */
  readonly isForceExpired: boolean;
  readonly totalRecipients: number;
  /** It was finished but for its removal. */
  readonly isFinished: boolean;
  phase: MessagePhase;
  /** Entries waiting, requests out, and outcomes being recorded. */
  outstanding: number;
  /** The transport of the last of its requests: its recipients come from that one's pool. */
  transport: string;
  /** Recipients in entries that are not over. */
  recipientsInMemory: number;
  /** When recipients were read last. */
  lastRefillMs: number;
  /** The transport under which it is listed as one with recipients to be read. */
  unreadAt: string;
  /** More recipients are being read while others are out. */
  isReading: boolean;
  /** Room that is kept for recipients being read. */
  reserved: number;
  /** First recipient not yet read. */
  nextRecipient: number;
  /** Deferred in this run. */
  deferred: number;
  /** Failed and not yet reported. */
  unreported: number;
  /** Sent, and a success report is owed (D31). */
  unreportedSuccesses: number;
  /** Whose share of active is used up, so that recipients of it wait in deferred (S31). */
  surplusOf: string | undefined;
  /** Its sender was warned of the delay. */
  wasWarned: boolean;
  /** An attempt was made in this run. */
  wasTried: boolean;
  /** Workers that crashed with it. */
  crashes: number;
  /** What is counted here is in doubt: count from the record before deciding. */
  mustRecount: boolean;
  /** Recipients below this number, when read again, are counted by their state, not tried again when deferred. */
  recountBelow: number;
  /** Recipients of requests from before this stay: they are tried by whoever has those. */
  adopted: ReadonlySet<number> | undefined;
  /** Why it must go to corrupt. */
  corruptReason: string | undefined;
  /** The report was not queued in time (Q6). */
  isReportLate: boolean;
  /** Its report was queued, as its event says, before the store's answer came. */
  wasReported: boolean;
  /** When its report was asked for. */
  reportSinceMs: number;
  /** Decisions in a row that the record did not bear out. */
  refusals: number;
};

export function openMessage(
  imported: ImportedMessage,
  opened: Pick<ActiveMessage, "activeMs" | "order" | "shareKey" | "isFlushed">,
): ActiveMessage {
  return {
    id: imported.id,
    generation: imported.generation,
    sender: imported.envelope.sender,
    createdMs: imported.createdMs,
    arrivalMs: imported.arrivalMs,
    activeMs: opened.activeMs,
    order: opened.order,
    shareKey: opened.shareKey,
    isFlushed: opened.isFlushed,
    contentFilter: imported.envelope.contentFilter ?? "",
    isSingleRecipient: verpDelimitersOf(imported.envelope) !== undefined,
    isForceExpired: imported.isForceExpired,
    isUnthrottling: imported.isUnthrottling,
    totalRecipients: imported.totalRecipients,
    isFinished: imported.isFinished,
    phase: "open",
    outstanding: 0,
    transport: "",
    recipientsInMemory: 0,
    lastRefillMs: opened.activeMs,
    unreadAt: "",
    isReading: false,
    reserved: 0,
    nextRecipient: imported.nextRecipient,
    deferred: 0,
    unreported: imported.unreportedRecipients,
    unreportedSuccesses: imported.unreportedSuccesses,
    surplusOf: undefined,
    wasWarned: imported.wasWarned,
    wasTried: false,
    crashes: imported.crashes,
    mustRecount: false,
    recountBelow: 0,
    adopted: undefined,
    corruptReason: undefined,
    isReportLate: false,
    wasReported: false,
    reportSinceMs: 0,
    refusals: 0,
  };
}

/** Crashes after which a message is tried in a process of its own (DESIGN §3). */
export const crashesBeforeAlone = 2;

export function mustGoAlone(message: ActiveMessage): boolean {
  return message.crashes >= crashesBeforeAlone;
}
