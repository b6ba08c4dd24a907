/**
 * The name of a destination under which its limits are kept.
 *
 * Source: spec S16; qmgr(8), default_destination_recipient_limit.
 */
import { destinationKey } from "@postmq/vocabulary";
import type { Destination } from "@postmq/vocabulary";
import { withoutExtension } from "./address-extension.ts";

export type NamingRules = {
  /** Recipients of one request at most, by transport; 0: no limit. */
  readonly recipientLimit: (transport: string) => number;
  readonly recipientDelimiter: string;
};

/**
 * `transport:nexthop` in lower case, or `transport:site` where the next hop counts at a site; with a recipient limit of
 * 1 `transport:user@nexthop`, so that limits apply per recipient.
 */
export function queueName(address: string, destination: Destination, rules: NamingRules): string {
  const { transport, site } = destination;
  if (rules.recipientLimit(transport) !== 1) {
    return site === undefined ? destinationKey(destination) : `${transport}:${site}`;
  }
  const localPart = address.slice(0, Math.max(0, address.lastIndexOf("@")));
  const user = withoutExtension(localPart, rules.recipientDelimiter).toLowerCase();
  return `${transport}:${user}@${destination.nexthop.toLowerCase()}`;
}
