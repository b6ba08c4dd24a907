/**
 * Which name servers are asked: those of dns_servers, else those of the system.
 *
 * Source: postmq; resolv.conf(5) nameserver.
 */
import { getServers } from "node:dns";
import { isIP } from "node:net";

import { panic } from "@postmq/vocabulary";

export type DnsServer = { readonly address: string; readonly port: number };

const dnsPort = 53;

/** @param listed as dns_servers has them; empty: what the system uses, read once */
export function dnsServers(listed: readonly string[]): readonly DnsServer[] {
  return (listed.length > 0 ? listed : getServers()).map(parseServer);
}

/** `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`. */
function parseServer(text: string): DnsServer {
  if (isIP(text) !== 0) return { address: text, port: dnsPort };
  const [, address, port = dnsPort] = /^\[?([^[\]]+?)\]?(?::(\d+))?$/.exec(text) ?? [];
  return { address: address ?? panic(`name server ${text}`), port: Number(port) };
}
