/**
 * Our own addresses, by which a loop is known: those of inet_interfaces and of proxy_interfaces.
 *
 * Names among them are looked up once, at start, as the system does; one that can't be found stops the daemon, as a
 * list that lacks an address would let mail go round. IPv4 addresses written as IPv6 ones are the same address.
 *
 * Source: spec D3; postconf(5) inet_interfaces, proxy_interfaces; Postfix src/global/own_inet_addr.c.
 */
import { BlockList, isIP } from "node:net";
import { networkInterfaces } from "node:os";

import { nativeAddresses } from "@postmq/dns";
import { PostmqError } from "@postmq/vocabulary";

export type OwnAddressSettings = {
  readonly inet_interfaces: readonly string[];
  readonly proxy_interfaces: readonly string[];
};

/** @throws PMQ_CONFIG_INVALID for a name that is not found */
export async function findOwnAddresses(
  settings: OwnAddressSettings,
  local: readonly string[] = localAddresses(),
): Promise<(address: string) => boolean> {
  const own = new BlockList();
  const add = (address: string) => own.addAddress(address, familyOf(address));
  for (const item of settings.inet_interfaces) {
    const word = item.toLowerCase();
    if (word === "all") local.forEach(add);
    else if (word === "loopback-only") local.filter(isLoopback).forEach(add);
    else (await addressesOf(item, "inet_interfaces")).forEach(add);
  }
  for (const item of settings.proxy_interfaces) {
    (await addressesOf(item, "proxy_interfaces")).forEach(add);
  }
  return (address) => own.check(address, familyOf(address));
}

async function addressesOf(item: string, parameter: string): Promise<readonly string[]> {
  const text = item.replace(/^\[(?:ipv6:)?(.*)\]$/i, "$1");
  if (isIP(text) !== 0) return [text];
  const answers = await Promise.all([nativeAddresses(text, 4), nativeAddresses(text, 6)]);
  const addresses = answers.flatMap((answer) => (answer.kind === "found" ? answer.records : []));
  if (addresses.length > 0) return addresses;
  throw new PostmqError("PMQ_CONFIG_INVALID", `${parameter}: host not found: ${item}`, {
    facts: { parameter },
  });
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}

function isLoopback(address: string): boolean {
  return address === "::1" || address.startsWith("127.");
}

function localAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .map(({ address }) => address);
}
