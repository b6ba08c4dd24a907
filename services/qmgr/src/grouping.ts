/**
 * From the recipients of one message to its delivery requests.
 *
 * Recipients are sorted so that one domain is contiguous, put under the name of their destination, and cut into
 * requests of at most the recipient limit, which can be delivered in parallel. Recipients for the transports that
 * qmgr serves itself (error, retry) come out as outcomes instead.
 *
 * Source: spec S14, S16, S17, S18.
 */
import { queueName } from "@postmq/routing";
import type { NamingRules, Resolver } from "@postmq/routing";
import type { Destination, RecipientOutcome, StoredRecipient } from "@postmq/vocabulary";
import { localOutcome } from "./local-transport.ts";

export type GroupingRules = NamingRules & {
  readonly resolve: Resolver;
  /** soft_bounce: what would fail here is deferred instead (D13). */
  readonly softBounce: boolean;
};

export type RequestGroup = {
  readonly destination: Destination;
  /** The name under which limits are kept (S16). */
  readonly queueName: string;
  readonly recipients: readonly number[];
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

/** Groups recipients that are to be tried now. */
export function groupRecipients(
  recipients: readonly StoredRecipient[],
  rules: GroupingRules,
): Grouping {
  const decided: DecidedRecipient[] = [];
  const routed: Routed[] = [];
  for (const recipient of recipients) {
    const destination = rules.resolve(recipient.address);
    const outcome = localOutcome(destination, rules.softBounce);
    if (outcome === undefined) {
      routed.push({
        recipient,
        destination,
        queueName: queueName(recipient.address, destination, rules),
      });
    } else {
      decided.push({
        ...outcome,
        recipient: recipient.number,
        address: recipient.address,
        original: recipient.original,
        isSoftBounce: destination.transport === "error" && outcome.kind === "deferred",
      });
    }
  }
  if (routed.length > 1) routed.sort(byDestination);
  return { groups: cut(routed, rules), decided };
}

type Routed = {
  readonly recipient: StoredRecipient;
  readonly destination: Destination;
  readonly queueName: string;
};

/** Source: spec S14. */
function byDestination(a: Routed, b: Routed): number {
  return (
    compare(a.destination.transport, b.destination.transport) ||
    compare(a.queueName, b.queueName) ||
    compare(domainOf(a.recipient.address), domainOf(b.recipient.address)) ||
    compare(a.recipient.address, b.recipient.address)
  );
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function domainOf(address: string): string {
  return address.slice(address.lastIndexOf("@") + 1).toLowerCase();
}

function cut(routed: readonly Routed[], rules: GroupingRules): readonly RequestGroup[] {
  const groups: { destination: Destination; queueName: string; recipients: number[] }[] = [];
  for (const { recipient, destination, queueName } of routed) {
    const last = groups.at(-1);
    const limit = rules.recipientLimit(destination.transport);
    const hasRoom = limit === 0 || (last?.recipients.length ?? 0) < limit;
    if (last !== undefined && last.queueName === queueName && hasRoom) {
      last.recipients.push(recipient.number);
    } else {
      groups.push({ destination, queueName, recipients: [recipient.number] });
    }
  }
  return groups;
}
