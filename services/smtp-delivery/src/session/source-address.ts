/**
 * The address of this machine from which a transport's connections come.
 *
 * Departs: an only address of inet_interfaces is not taken for it.
 *
 * Source: postconf(5) smtp_bind_address, smtp_bind_address6, smtp_bind_address_enforce.
 */
import { isIPv6 } from "node:net";

import { transportParameter } from "@postmq/config";
import type { Parameters } from "@postmq/config";

export type SourceAddress = {
  /** Empty: the system's choice. */
  readonly address: string;
  /** Nothing is sent from another one. */
  readonly isMust: boolean;
};

/** By transport and the address to connect to. */
export function sourceAddresses(
  parameters: Parameters,
): (transport: string, address: string) => SourceAddress {
  return (transport, address) => ({
    address: transportParameter(
      parameters,
      transport,
      isIPv6(address) ? "bind_address6" : "bind_address",
    ),
    isMust: transportParameter(parameters, transport, "bind_address_enforce"),
  });
}
