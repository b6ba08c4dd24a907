/**
 * A resolver from the parameters, with the tables that they name opened.
 *
 * Source: spec rewriting-and-checks.md §6.
 */
import { parseTransports } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { openTables } from "@postmq/tables";
import { openResolver } from "./resolve.ts";
import type { Resolver } from "./resolve.ts";

/**
 * Opens `transport_maps` and gives the resolver over it.
 *
 * @param onTrouble a look-up in a table failed; the address is deferred
 * @throws PMQ_TABLE_UNREADABLE when a table can't be opened
 */
export async function openRouting(
  parameters: Parameters,
  onTrouble: (error: unknown) => void,
): Promise<Resolver> {
  const transportMaps = await openTables(parameters.transport_maps, {
    parameterName: "transport_maps",
  });
  return openResolver(
    {
      mydestination: parameters.mydestination,
      relayDomains: parameters.relay_domains,
      localTransport: parameters.local_transport,
      relayTransport: parameters.relay_transport,
      defaultTransport: parameters.default_transport,
      relayhost: parameters.relayhost,
      recipientDelimiter: parameters.recipient_delimiter,
      myorigin: parameters.myorigin,
      transportMaps,
      transports: new Set(parseTransports(parameters).keys()),
    },
    onTrouble,
  );
}
