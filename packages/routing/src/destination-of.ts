/**
 * Where one recipient of a message goes, and what that counts as.
 *
 * Source: spec S15, S16; postconf(5) content_filter.
 */
import type { Destination, Envelope } from "@postmq/vocabulary";
import type { NamingRules } from "./queue-name.ts";
import type { Resolver } from "./resolve.ts";

export type RoutingRules = NamingRules & {
  readonly resolve: Resolver;
  /** The site at which a next hop counts, as far as it is known now; absent: each counts by itself. */
  readonly siteOf?: (destination: Destination) => string | undefined;
};

/** A content filter takes all recipients of its message; a filter without a next hop, each to their own. */
export function destinationOf(
  address: string,
  envelope: Pick<Envelope, "sender" | "contentFilter">,
  rules: RoutingRules,
): Destination {
  return atSite(filteredDestination(address, envelope, rules), rules);
}

function filteredDestination(
  address: string,
  { sender, contentFilter = "" }: Pick<Envelope, "sender" | "contentFilter">,
  { resolve }: RoutingRules,
): Destination {
  if (contentFilter === "") return resolve(address, sender);
  const colon = contentFilter.indexOf(":");
  const transport = colon < 0 ? contentFilter : contentFilter.slice(0, colon);
  const nexthop = colon < 0 ? "" : contentFilter.slice(colon + 1);
  return nexthop === "" ? { ...resolve(address, sender), transport } : { transport, nexthop };
}

/** Where limits are kept per recipient, sites have none. */
function atSite(destination: Destination, rules: RoutingRules): Destination {
  if (rules.siteOf === undefined || rules.recipientLimit(destination.transport) === 1) {
    return destination;
  }
  const site = rules.siteOf(destination);
  return site === undefined ? destination : { ...destination, site };
}
