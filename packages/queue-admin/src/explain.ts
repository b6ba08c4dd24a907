/**
 * Why a message is not being delivered right now: one cause and one sentence for the message, and one of each for every
 * destination of its undone recipients.
 *
 * The queue that the message is in comes first: outside of active nothing can be delivered, and each queue has one way
 * out. In active, and for what a deferred message will meet, each destination is judged by itself
 * (`explain-destination.ts`). The message's own cause is then that of the destination with the most recipients, unless
 * one is being delivered: also one that is beyond the recipients that were read.
 *
 * What is told is what the leader published within the last second or so; it may have changed since.
 *
 * Source: spec http-api.md §2 "explain"; scheduling.md S2, S5.
 */
import type { ListedMessage, OpenRequest } from "@postmq/queue-store";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";
import {
  beingDelivered,
  isClaimed,
  isSurplusOfUnnamed,
  judgeActive,
  judgeDeferred,
  noScheduler,
  surplusOfUnnamed,
} from "./explain-destination.ts";
import type { DestinationReason, ExplainInput, Reason } from "./explain-destination.ts";
import { moment, times } from "./explain-words.ts";
import { printable } from "./printable.ts";

export type Explanation = Reason & {
  readonly id: QueueId;
  readonly queue: MessageQueue;
  /** The destination that the cause is about, if it is about one. */
  readonly destination?: string;
  /** One for each destination with undone recipients; empty where the queue alone decides. */
  readonly details: readonly DestinationReason[];
};

/** Answers for one message. Never throws; what can't be told is left out. */
export function explain(input: ExplainInput): Explanation {
  const { id, queue } = input.message;
  const about = { id, queue };
  switch (queue) {
    case "hold":
      return { ...about, ...held, details: [] };
    case "corrupt":
      return { ...about, ...corrupt(input), details: [] };
    case "maildrop":
      return { ...about, ...inMaildrop(input), details: [] };
    case "incoming":
      return { ...about, ...waitingForImport(input), details: [] };
    case "deferred":
      return { ...about, ...inDeferred(input) };
    case "active":
      return { ...about, ...inActive(input) };
  }
}

const held: Reason = {
  cause: "held",
  sentence: "It is on hold, until an operator releases it (postsuper -H).",
};

function corrupt({ message }: ExplainInput): Reason {
  const why = message.corruptReason;
  return {
    cause: "corrupt",
    sentence: `It was put aside as corrupt${why === undefined ? "" : `: ${printable(why)}`}.`,
  };
}

function inMaildrop({ message, nowMs }: ExplainInput): Reason {
  return {
    cause: "in-maildrop",
    sentence: `It is in maildrop, since ${moment(message.arrivalMs, nowMs)}, and waits for cleanup.`,
    sinceMs: message.arrivalMs,
  };
}

/** What stands between incoming, or a due message of deferred, and active. */
function waitingForImport({ message, scheduler, nowMs }: ExplainInput): Reason {
  const dueMs = message.dueMs ?? 0;
  if (dueMs > nowMs) {
    return {
      cause: "backoff",
      sentence: `It is not to be tried before ${moment(dueMs, nowMs)}.`,
      untilMs: dueMs,
    };
  }
  if (scheduler === undefined) return noScheduler();
  const { activeMessages, activeLimit } = scheduler;
  if (activeMessages >= activeLimit) {
    return {
      cause: "active-full",
      sentence: `The active queue is full, with ${activeMessages} of at most ${activeLimit} messages (qmgr_message_active_limit).`,
    };
  }
  return {
    cause: "waiting-for-import",
    sentence: "It is due, and the scheduler will take it into active at its turn.",
  };
}

type Answer = Reason & {
  readonly destination?: string;
  readonly details: readonly DestinationReason[];
};

function inDeferred(input: ExplainInput): Answer {
  const { message, nowMs, scheduler } = input;
  const details = input.destinations.map((each) => judgeDeferred(each, input));
  const surplus = details.find(({ cause }) => cause === "surplus");
  const isOfUnnamed = isSurplusOfUnnamed(input);
  if (surplus !== undefined && !isOfUnnamed && scheduler !== undefined)
    return headed(surplus, details);
  const dueMs = message.dueMs ?? 0;
  if (dueMs <= nowMs) return { ...waitingForImport(input), details };
  const last = mostOf(details.filter(({ lastReason }) => lastReason !== undefined));
  const stopped = mostOf(details.filter(({ cause }) => cause !== "backoff" && cause !== "surplus"));
  const besides = stopped === undefined ? "" : ` Besides: ${stopped.sentence}`;
  if (isOfUnnamed && scheduler !== undefined) {
    const reason = surplusOfUnnamed(input);
    return { ...reason, sentence: `${reason.sentence}${besides}`, details };
  }
  const attempts = message.attempts === 0 ? "" : ` after ${times(message.attempts, "attempt")}`;
  const why = last?.lastReason === undefined ? "" : `; the last said: ${last.lastReason}`;
  const named = stopped?.destination ?? last?.destination;
  return {
    cause: "backoff",
    sentence: `It rests in deferred${attempts}, until ${moment(dueMs, nowMs)}${why}.${besides}`,
    ...(message.lastAttemptMs === undefined ? {} : { sinceMs: message.lastAttemptMs }),
    untilMs: dueMs,
    ...(named === undefined ? {} : { destination: named }),
    details,
  };
}

function inActive(input: ExplainInput): Answer {
  const { message, openRequests, scheduler } = input;
  const details = input.destinations.map((each) => judgeActive(each, input));
  const delivered = mostOf(details.filter(({ cause }) => cause === "being-delivered"));
  if (delivered !== undefined) return headed(delivered, details);
  const claimed = openRequests.find(isClaimed);
  if (claimed !== undefined) return deliveredBeyond(claimed, details);
  const isFinished = message.undoneRecipients === 0 && openRequests.length === 0;
  if (message.owedReport !== undefined || isFinished) return { ...reportPending(message), details };
  if (scheduler === undefined) return { ...noScheduler(), details };
  const most = mostOf(details);
  if (most !== undefined) return headed(most, details);
  return {
    cause: "waiting-turn",
    sentence: "It is in active, and the scheduler is about to decide on it.",
    details,
  };
}

/** Source: spec Q6. */
function reportPending({ owedReport, undoneRecipients }: ListedMessage): Reason {
  const left = undoneRecipients === 0 ? "nothing is left to deliver" : "it was tried";
  const about = {
    failure: "of failure",
    expired: "that it is given up",
    delay: "that it is delayed",
    success: "that it was delivered",
  }[owedReport ?? "failure"];
  return {
    cause: "report-pending",
    sentence: `It waits for bounce: ${left}, and a report ${about} is to be queued to its sender first.`,
  };
}

/** The one with the most recipients; the first of equals. */
function mostOf(details: readonly DestinationReason[]): DestinationReason | undefined {
  return details.reduce<DestinationReason | undefined>(
    (most, each) => (most === undefined || each.recipients > most.recipients ? each : most),
    undefined,
  );
}

/** A worker has recipients of it that come after those that were read, so no detail tells of them. */
function deliveredBeyond(claimed: OpenRequest, details: readonly DestinationReason[]): Answer {
  const { transport, nexthop, site = nexthop } = claimed.destination;
  const destination = `${transport}:${site}`;
  const { cause, sentence } = beingDelivered(claimed, printable(destination));
  return { cause, sentence: `${sentence}${othersText(details.length)}`, destination, details };
}

function othersText(others: number): string {
  if (others === 0) return "";
  return ` Other recipients wait for other reasons, at ${times(others, "destination")}.`;
}

/** A destination's cause as the message's. */
function headed(reason: DestinationReason, details: readonly DestinationReason[]): Answer {
  const { cause, sentence, sinceMs, untilMs, destination } = reason;
  const others = details.filter((each) => each.cause !== cause).length;
  return {
    cause,
    sentence: `${sentence}${othersText(others)}`,
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(untilMs === undefined ? {} : { untilMs }),
    destination,
    details,
  };
}
