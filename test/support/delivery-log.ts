/** Delivery lines of a mail log, Postfix's or ours: both have one grammar. Source: spec delivery.md §8. */

export type DeliveryLine = {
  readonly recipient: string;
  /** sent, deferred, bounced, … */
  readonly status: string;
  /** What stands in parentheses at the end. */
  readonly text: string;
};

/** Lines for recipients of one domain, in the order of the log. */
export function deliveryLines(log: string, domain: string): readonly DeliveryLine[] {
  return [...log.matchAll(/ to=<([^>]*)>, .*status=(\w+),? \((.*)\)$/gm)]
    .map(([, recipient = "", status = "", text = ""]) => ({ recipient, status, text }))
    .filter(({ recipient }) => recipient.endsWith(`@${domain}`));
}

const suspension = "delivery temporarily suspended: ";

/** Deferred without an attempt, since the destination is dead (S28). */
export function isSuspended(line: DeliveryLine): boolean {
  return line.status === "deferred" && line.text.startsWith(suspension);
}

/** The reason that killed the destination. */
export function suspensionReason(line: DeliveryLine): string {
  return line.text.slice(suspension.length);
}
