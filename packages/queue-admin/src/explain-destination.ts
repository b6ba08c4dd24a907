/**
 * Why the recipients of a message at one destination are not being delivered to right now.
 *
 * In the order in which the scheduler looks: what is being delivered, what is deferred by an operator's word, what is
 * throttled or dead, who could deliver, then rates, limits and turns.
 *
 * Source: spec scheduling.md S15, S24, S28, S30, S31, S35, S36.
 */
import type {
  DestinationReport,
  ListedMessage,
  OpenRequest,
  SchedulerReport,
} from "@postmq/queue-store";
import type { Destination, StoredRecipient } from "@postmq/vocabulary";
import { moment, requestsText } from "./explain-words.ts";
import { printable } from "./printable.ts";

const explainCauses = [
  "held",
  "corrupt",
  "in-maildrop",
  "no-scheduler",
  "active-full",
  "waiting-for-import",
  "backoff",
  "destination-dead",
  "concurrency-limit",
  "rate-delay",
  "transport-deferred",
  "transport-throttled",
  "no-worker",
  "being-delivered",
  "waiting-turn",
  "surplus",
  "report-pending",
] as const;
export type ExplainCause = (typeof explainCauses)[number];

/** A destination of undone recipients, as the resolver names it now, and what the leader says of it. */
export type MessageDestination = {
  /** The name under which limits are kept (S16). */
  readonly name: string;
  readonly destination: Destination;
  /** Undone ones; at least one. */
  readonly recipients: readonly StoredRecipient[];
  /** Absent when the leader does not know it: nothing waits there and nothing is wrong. */
  readonly report?: DestinationReport;
};

export type ExplainInput = {
  readonly message: ListedMessage;
  readonly openRequests: readonly OpenRequest[];
  /** undefined: nobody leads. */
  readonly scheduler: SchedulerReport | undefined;
  readonly destinations: readonly MessageDestination[];
  readonly deferTransports: readonly string[];
  readonly nowMs: number;
};

/** A cause with what belongs to it. Times are Redis TIME in ms. */
export type Reason = {
  readonly cause: ExplainCause;
  readonly sentence: string;
  /** Since when it is so. */
  readonly sinceMs?: number;
  /** Until when it will be so, if nothing happens before. */
  readonly untilMs?: number;
};

export type DestinationReason = Reason & {
  readonly destination: string;
  /** Undone recipients of the message there. */
  readonly recipients: number;
  /** What the site, or the scheduler, said last of these recipients. */
  readonly lastReason?: string;
  /** <worker>.<run>, for being-delivered. */
  readonly worker?: string;
  /** For concurrency-limit, waiting-turn and surplus, where the leader knows the destination. */
  readonly load?: {
    readonly window: number | null;
    readonly limit: number | null;
    readonly inFlight: number;
    readonly waiting: number;
  };
};

/** For a message in deferred: what it will meet when it is due. */
export function judgeDeferred(each: MessageDestination, input: ExplainInput): DestinationReason {
  const { message, nowMs } = input;
  const facts = factsOf(each);
  const stopped = whyStopped(each, input);
  if (stopped !== undefined) return { ...stopped, ...facts };
  const held = each.report?.surplus ?? 0;
  if (message.isSurplus && held > 0) {
    return {
      cause: "surplus",
      sentence: `${each.name} holds its share of the active queue; ${surplusText(held)} in deferred until requests there end.`,
      ...(message.dueMs === undefined ? {} : { untilMs: message.dueMs }),
      ...facts,
      ...loadOf(each),
    };
  }
  const dueMs = message.dueMs ?? nowMs;
  if (isSurplusOfUnnamed(input) && dueMs > nowMs) return { ...surplusOfUnnamed(input), ...facts };
  return {
    cause: "backoff",
    sentence:
      dueMs > nowMs ? `The message rests until ${moment(dueMs, nowMs)}.` : "The message is due.",
    untilMs: dueMs,
    ...facts,
  };
}

/** Its own mark says so, but the leader tells of no surplus at its destinations: it is that of a fair_share_key. */
export function isSurplusOfUnnamed({ message, destinations }: ExplainInput): boolean {
  return message.isSurplus && destinations.every(({ report }) => (report?.surplus ?? 0) === 0);
}

export function surplusOfUnnamed({ message: { dueMs }, nowMs }: ExplainInput): Reason {
  const latest = dueMs === undefined ? "" : `, or until ${moment(dueMs, nowMs)}`;
  return {
    cause: "surplus",
    sentence: `Its destination, or its fair_share_key, held its share of the active queue; it waits in deferred until requests there end${latest}.`,
    ...(dueMs === undefined ? {} : { untilMs: dueMs }),
  };
}

function surplusText(held: number): string {
  return held === 1 ? "this message waits" : `${held} messages, this one among them, wait`;
}

/** For a message in active. */
export function judgeActive(each: MessageDestination, input: ExplainInput): DestinationReason {
  const facts = factsOf(each);
  const out = requestsOf(each, input.openRequests);
  const claimed = out.find(isClaimed);
  if (claimed !== undefined) {
    return { ...beingDelivered(claimed, each.name), ...facts, worker: claimed.claim };
  }
  if (input.scheduler === undefined) return { ...noScheduler(), ...facts };
  const stopped = whyStopped(each, input);
  if (stopped !== undefined && out.length === 0) return { ...stopped, ...facts };
  if (input.scheduler.liveWorkers === 0) return { ...noWorker(), ...facts };
  const reason =
    out.length > 0
      ? rungOut(input.scheduler)
      : (resting(each, input.nowMs) ?? atLimit(each) ?? waitingTurn(each, input.scheduler));
  return { ...reason, ...facts, ...loadOf(each) };
}

/** A worker has it. */
export function isClaimed({ state }: OpenRequest): boolean {
  return state !== "queued";
}

/** @param name where to */
export function beingDelivered({ state, claim }: OpenRequest, name: string): Reason {
  const asked = state === "dotSent" ? ", the reply to the whole message outstanding" : "";
  return {
    cause: "being-delivered",
    sentence: `It is being delivered to ${name} by ${claim}${asked}.`,
  };
}

/** Requests that are out for these recipients. */
function requestsOf(
  { recipients }: MessageDestination,
  requests: readonly OpenRequest[],
): readonly OpenRequest[] {
  const numbers = new Set(recipients.map(({ number }) => number));
  return requests.filter((request) => request.recipients.some((number) => numbers.has(number)));
}

/** Nothing for this destination is tried now, whoever asks: S15's last steps. */
function whyStopped(
  { name, destination, report }: MessageDestination,
  { deferTransports, scheduler, nowMs }: ExplainInput,
): Reason | undefined {
  const { transport } = destination;
  if (deferTransports.includes(transport)) {
    return {
      cause: "transport-deferred",
      sentence: `The transport ${transport} is deferred until a flush (defer_transports).`,
    };
  }
  const throttle = scheduler?.throttled.find((each) => each.transport === transport);
  if (throttle !== undefined && throttle.untilMs > nowMs) {
    return {
      cause: "transport-throttled",
      sentence: `The transport ${transport} is throttled until ${moment(throttle.untilMs, nowMs)}: ${printable(throttle.reason)}.`,
      untilMs: throttle.untilMs,
    };
  }
  const dead = report?.dead;
  if (dead === undefined || dead.untilMs <= nowMs) return undefined;
  return {
    cause: "destination-dead",
    sentence: `${name} is dead since ${moment(dead.sinceMs, nowMs)}, until ${moment(dead.untilMs, nowMs)}: ${printable(dead.reason)}.`,
    sinceMs: dead.sinceMs,
    untilMs: dead.untilMs,
  };
}

function noWorker(): Reason {
  return { cause: "no-worker", sentence: "No delivery worker is alive (smtp-delivery)." };
}

/** The choice was made, but no worker has taken it yet. */
function rungOut({ capacity, jobsOut }: SchedulerReport): Reason {
  return {
    cause: "waiting-turn",
    sentence: `It was handed to the workers, which can run ${capacity} deliveries and have ${jobsOut}; none has begun yet.`,
  };
}

/** Source: spec S30. */
function resting({ name, report }: MessageDestination, nowMs: number): Reason | undefined {
  const untilMs = report?.pausedUntilMs;
  if (untilMs === undefined || untilMs <= nowMs) return undefined;
  return {
    cause: "rate-delay",
    sentence: `${name} rests between deliveries until ${moment(untilMs, nowMs)} (destination_rate_delay).`,
    untilMs,
  };
}

/** Source: spec S24. */
function atLimit({ name, report }: MessageDestination): Reason | undefined {
  if (report === undefined || report.window === null) return undefined;
  const { window, limit, inFlight, waiting } = report;
  if (inFlight < window) return undefined;
  const most = limit === null ? "" : `, of at most ${limit}`;
  return {
    cause: "concurrency-limit",
    sentence: `${name} has ${inFlight} deliveries in flight, and its window is ${window}${most}; ${requestsText(waiting)} there.`,
  };
}

/** Transports without a worker (S18). */
const servedByScheduler: readonly string[] = ["error", "retry", "discard"];

function waitingTurn(
  { name, destination, report }: MessageDestination,
  { capacity, jobsOut }: SchedulerReport,
): Reason {
  if (servedByScheduler.includes(destination.transport)) {
    return {
      cause: "waiting-turn",
      sentence: `The scheduler itself is about to decide on it: ${printable(destination.nexthop)}.`,
    };
  }
  const there = report === undefined ? "" : `; ${requestsText(report.waiting)} for ${name}`;
  const all = jobsOut >= capacity ? ", all of them busy" : "";
  return {
    cause: "waiting-turn",
    sentence: `It waits for its turn: the workers can run ${capacity} deliveries${all}${there}.`,
  };
}

function factsOf({ name, recipients }: MessageDestination) {
  const last = recipients.map(({ state }) => state).findLast(({ kind }) => kind === "deferred");
  return {
    destination: name,
    recipients: recipients.length,
    ...(last?.kind === "deferred" ? { lastReason: printable(last.reason) } : {}),
  };
}

function loadOf({ report }: MessageDestination): Pick<DestinationReason, "load"> {
  if (report === undefined) return {};
  const { window, limit, inFlight, waiting } = report;
  return { load: { window, limit, inFlight, waiting } };
}

/** Nobody decides anything. */
export function noScheduler(): Reason {
  return {
    cause: "no-scheduler",
    sentence:
      "No scheduler leads: no qmgr runs, or none can reach Redis, or one is just taking over.",
  };
}
