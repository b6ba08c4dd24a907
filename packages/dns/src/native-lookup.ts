/**
 * Addresses of a host as the system finds them: /etc/hosts, and whatever else nsswitch.conf names.
 *
 * Source: postconf(5) smtp_host_lookup "native"; Postfix src/smtp/smtp_addr.c; getaddrinfo(3).
 */
import { lookup } from "node:dns/promises";

import type { DnsAnswer } from "./resolver.ts";

export async function nativeAddresses(host: string, family: 4 | 6): Promise<DnsAnswer<string>> {
  try {
    const found = await lookup(host, { all: true, family, order: "verbatim" });
    return { kind: "found", records: [...new Set(found.map(({ address }) => address))] };
  } catch (error) {
    // Every failure of a lookup is an answer here: STYLE §6, an outcome is a value.
    const code = error instanceof Error && "code" in error ? error.code : "";
    const isUnknown = code === "ENOTFOUND";
    const text = isUnknown ? "Name or service not known" : "Temporary failure in name resolution";
    const reason = `unable to look up host ${host}: ${text}`;
    return { kind: isUnknown ? "notFound" : "tryAgain", reason };
  }
}
