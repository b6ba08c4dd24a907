/**
 * Where the undone recipients of a message go, as the resolver says now: one entry for each name under which limits
 * are kept.
 *
 * The scheduler resolved them when it took the message in; a table that changed since may give another answer.
 *
 * Source: spec S15, S16.
 */
import type { MessageDestination } from "@postmq/queue-admin";
import type { DestinationReport } from "@postmq/queue-store";
import { destinationOf, queueName } from "@postmq/routing";
import type { RoutingRules } from "@postmq/routing";
import type { Destination, Envelope, StoredRecipient } from "@postmq/vocabulary";

export type RoutedMessage = {
  readonly recipients: readonly StoredRecipient[];
  readonly envelope: Pick<Envelope, "sender" | "contentFilter">;
};

/** Groups by name, in the order of their first recipients. Recipients that wait for a report go nowhere. */
export function destinationsOf(
  { recipients, envelope }: RoutedMessage,
  rules: RoutingRules,
): readonly MessageDestination[] {
  const byName = new Map<string, { destination: Destination; recipients: StoredRecipient[] }>();
  for (const recipient of recipients) {
    if (recipient.state.kind !== "todo" && recipient.state.kind !== "deferred") continue;
    const destination = destinationOf(recipient.address, envelope, rules);
    const name = queueName(recipient.address, destination, rules);
    const known = byName.get(name);
    if (known === undefined) byName.set(name, { destination, recipients: [recipient] });
    else known.recipients.push(recipient);
  }
  return [...byName].map(([name, each]) => ({ name, ...each }));
}

/** The same with what the leader says of each. */
export function withReports(
  destinations: readonly MessageDestination[],
  reports: readonly DestinationReport[],
): readonly MessageDestination[] {
  const byName = new Map(reports.map((report) => [report.name, report]));
  return destinations.map((each) => {
    const report = byName.get(each.name);
    return report === undefined ? each : { ...each, report };
  });
}
