/** The sites of next hops, from the parameters. Source: postmq destination_grouping; spec S16. */
import { parseTransports } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { openResolver, usesDns } from "@postmq/dns";
import { Sites } from "./sites.ts";

/** @returns undefined: each next hop counts by itself */
export function openSites(parameters: Parameters): Sites | undefined {
  if (parameters.destination_grouping !== "mx" || !usesDns(parameters)) return undefined;
  const resolver = openResolver(parameters);
  const kinds = parseTransports(parameters);
  return new Sites({
    mx: (domain) => resolver.mx(domain),
    goesByMx: (transport) => kinds.get(transport) === "smtp",
    nowMs: () => performance.now(),
  });
}
