/**
 * From the recipients of one message to its delivery requests.
 *
 * Each recipient is resolved; then they are sorted so that one domain is contiguous, put under the name of their
 * destination, and cut into requests of at most the recipient limit, which can be delivered in parallel. Next hops
 * of one site count as one destination; each request is for one next hop nevertheless. Recipients that need no worker
 * come out as outcomes instead: those of the transports that qmgr serves itself (error, retry, discard), of transports
 * that only a flush delivers to, and of destinations that are suspended.
 *
 * Departs: a redirect of the whole message is carried out by cleanup, which replaces the recipients (S15).
 *
 * Source: spec S14 to S18; Postfix src/qmgr/qmgr_message.c qmgr_message_resolve, qmgr_message_sort.
 */
import { destinationOf, queueName } from "@postmq/routing";
import type { RoutingRules } from "@postmq/routing";
import { destinationKey, enhancedStatus } from "@postmq/vocabulary";
import type { Destination, RecipientOutcome, StoredRecipient } from "@postmq/vocabulary";
import { localOutcome } from "./local-transport.ts";
import type { LocalOutcome } from "./local-transport.ts";
import type { Suspension } from "./scheduler/destination.ts";

export type GroupingRules = RoutingRules & {
  /** soft_bounce: what would fail here is deferred instead (D13). */
  readonly softBounce: boolean;
  /** defer_transports: only a flush delivers to these (S36). */
  readonly deferTransports: ReadonlySet<string>;
  /** Whether an address is that of our own undeliverable notices, in lower case. */
  readonly isDoubleBounce: (address: string) => boolean;
};

/** What of a message decides where its recipients go. */
export type GroupedMessage = {
  readonly sender: string;
  /** transport:nexthop of a content filter for all of them, or "". */
  readonly contentFilter: string;
  /** An operator wants it returned, not tried. */
  readonly isForceExpired: boolean;
  /** It is tried because of a flush: defer_transports does not count. */
  readonly isFlushed: boolean;
  /** Each recipient gets a request of its own: its sender names the recipient (VERP). */
  readonly isSingleRecipient: boolean;
};

export type RequestGroup = {
  readonly destination: Destination;
  /** The name under which limits are kept (S16). */
  readonly queueName: string;
  readonly recipients: readonly StoredRecipient[];
};

/** An outcome that needs no worker, with what the log tells besides. */
export type DecidedRecipient = RecipientOutcome & {
  readonly address: string;
  readonly original: string | undefined;
  readonly isSoftBounce: boolean;
};

export type Grouping = {
  readonly groups: readonly RequestGroup[];
  readonly decided: readonly DecidedRecipient[];
};

/** Why nothing is tried there now, or undefined. */
export type SuspensionOf = (destination: Destination, queueName: string) => Suspension | undefined;

/** Groups recipients that are to be tried now. */
export function groupRecipients(
  recipients: readonly StoredRecipient[],
  message: GroupedMessage,
  rules: GroupingRules,
  suspensionOf: SuspensionOf,
): Grouping {
  const decided: DecidedRecipient[] = [];
  const routed: Routed[] = [];
  for (const recipient of recipients) {
    const destination = destinationOf(recipient.address, message, rules);
    const name = queueName(recipient.address, destination, rules);
    const suspension = suspensionOf(destination, name);
    const outcome =
      decideAtOnce(recipient.address, destination, message, rules) ??
      (suspension && deferredAs(suspension));
    if (outcome === undefined) routed.push({ recipient, destination, queueName: name });
    else decided.push(decidedRecipient(recipient, outcome, destination.transport === "error"));
  }
  if (routed.length > 1) routed.sort(byDestination);
  return { groups: cut(routed, message, rules), decided };
}

export function decidedRecipient(
  recipient: StoredRecipient,
  outcome: LocalOutcome,
  isOfErrorTransport: boolean,
): DecidedRecipient {
  return {
    ...outcome,
    recipient: recipient.number,
    address: recipient.address,
    original: recipient.original,
    isSoftBounce: isOfErrorTransport && outcome.kind === "deferred",
    ...(outcome.kind === "sent" && recipient.notify?.includes("SUCCESS") === true
      ? { owesReport: "delivered" }
      : {}),
  };
}

type Routed = {
  readonly recipient: StoredRecipient;
  readonly destination: Destination;
  readonly queueName: string;
};

/** In the order of S15. */
function decideAtOnce(
  address: string,
  destination: Destination,
  message: GroupedMessage,
  rules: GroupingRules,
): LocalOutcome | undefined {
  if (message.isForceExpired) return forceExpired;
  if (rules.isDoubleBounce(address.toLowerCase())) return discardedNotice;
  const local = localOutcome(destination, rules.softBounce);
  if (local !== undefined) return local;
  const isDeferred = rules.deferTransports.has(destination.transport) && !message.isFlushed;
  return isDeferred ? deferredTransport : undefined;
}

const forceExpired: LocalOutcome = {
  kind: "deferred",
  status: enhancedStatus("4.7.0"),
  reason: "message is administratively expired",
};
const discardedNotice: LocalOutcome = {
  kind: "sent",
  status: enhancedStatus("2.0.0"),
  reason: "undeliverable postmaster notification discarded",
};
const deferredTransport: LocalOutcome = {
  kind: "deferred",
  status: enhancedStatus("4.3.2"),
  reason: "deferred transport",
};

export function deferredAs({ status, reason }: Suspension): LocalOutcome {
  return { kind: "deferred", status, reason };
}

/** Source: spec S14. */
function byDestination(a: Routed, b: Routed): number {
  return (
    compare(a.destination.transport, b.destination.transport) ||
    compare(a.queueName, b.queueName) ||
    compareNexthops(a.destination, b.destination) ||
    compare(domainOf(a.recipient.address), domainOf(b.recipient.address)) ||
    compare(a.recipient.address, b.recipient.address)
  );
}

/** Of destinations of one name: those of a site differ in their next hops. */
function compareNexthops(a: Destination, b: Destination): number {
  return a.site === undefined ? 0 : compare(a.nexthop.toLowerCase(), b.nexthop.toLowerCase());
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function domainOf(address: string): string {
  return address.slice(address.lastIndexOf("@") + 1).toLowerCase();
}

/** Source: spec S17. */
function cut(
  routed: readonly Routed[],
  { isSingleRecipient }: GroupedMessage,
  rules: GroupingRules,
): readonly RequestGroup[] {
  const groups: (RequestGroup & { readonly recipients: StoredRecipient[] })[] = [];
  for (const { recipient, destination, queueName: name } of routed) {
    const last = groups.at(-1);
    const limit = isSingleRecipient ? 1 : rules.recipientLimit(destination.transport);
    const hasRoom = limit === 0 || (last?.recipients.length ?? 0) < limit;
    const isSame = last?.queueName === name && isOneNexthop(last.destination, destination);
    if (last !== undefined && isSame && hasRoom) last.recipients.push(recipient);
    else groups.push({ destination, queueName: name, recipients: [recipient] });
  }
  return groups;
}

function isOneNexthop(a: Destination, b: Destination): boolean {
  return a.site === undefined || destinationKey(a) === destinationKey(b);
}
