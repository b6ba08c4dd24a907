/**
 * What the parameters say of connections: where one counts, how many there may be, which are kept when a job is over.
 *
 * Source: spec S16, S30, S32, D25; postconf(5) smtp_connection_cache_on_demand, smtp_connection_cache_destinations.
 */
import { transportParameter } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import type { ClaimedRequest } from "@postmq/queue-store";
import { queueName } from "@postmq/routing";

import { parseNexthopList } from "../servers/nexthop.ts";

export type ConnectionRules = {
  /** The name of the destination at which a request's connection counts. */
  readonly nameOf: (request: Pick<ClaimedRequest, "destination" | "recipients">) => string;
  /** Connections to one destination of this transport at once, idle ones included; 0: no limit. */
  readonly limitOf: (transport: string) => number;
  /** @param isAsked the scheduler wants it kept, since jobs for it come back to back */
  readonly keeps: (nexthop: string, isAsked: boolean) => boolean;
};

export function connectionRules(parameters: Parameters): ConnectionRules {
  const naming = {
    recipientLimit: (transport: string) =>
      transportParameter(parameters, transport, "destination_recipient_limit"),
    recipientDelimiter: parameters.recipient_delimiter,
  };
  const always = new Set(
    parameters.smtp_connection_cache_destinations.map((item) => item.toLowerCase()),
  );
  const keepsOnDemand = parameters.smtp_connection_cache_on_demand;
  return {
    nameOf: ({ destination, recipients }) =>
      queueName(recipients[0]?.address ?? "", destination, naming),
    limitOf: (transport) =>
      // A destination that rests after each delivery has one at a time (S30).
      transportParameter(parameters, transport, "destination_rate_delay") > 0
        ? 1
        : transportParameter(parameters, transport, "destination_concurrency_limit"),
    keeps: (nexthop, isAsked) =>
      (keepsOnDemand && isAsked) || (always.size > 0 && isNamed(nexthop, always)),
  };
}

/** Destinations are named without brackets and port; as the next hop has them is understood too. */
function isNamed(nexthop: string, names: ReadonlySet<string>): boolean {
  if (names.has(nexthop.toLowerCase())) return true;
  const hosts = parseNexthopList(nexthop) ?? [];
  return hosts.some(({ host }) => names.has(host.toLowerCase()));
}
