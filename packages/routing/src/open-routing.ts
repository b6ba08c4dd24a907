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
 * Opens `transport_maps` and the sender-dependent maps, and gives the resolver over them.
 *
 * @param onTrouble a look-up in a table failed, and the address is deferred; or a table is not as it should be
 * @throws PMQ_TABLE_UNREADABLE when a table can't be opened
 */
export async function openRouting(
  parameters: Parameters,
  onTrouble: (text: string) => void,
): Promise<Resolver> {
  const open = (
    parameterName:
      | "transport_maps"
      | "sender_dependent_relayhost_maps"
      | "sender_dependent_default_transport_maps",
  ) => openTables(parameters[parameterName], { parameterName, onWarning: onTrouble });
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
      transportMaps: await open("transport_maps"),
      senderRelayhosts: await open("sender_dependent_relayhost_maps"),
      senderTransports: await open("sender_dependent_default_transport_maps"),
      transports: new Set(parseTransports(parameters).keys()),
    },
    onTrouble,
  );
}
