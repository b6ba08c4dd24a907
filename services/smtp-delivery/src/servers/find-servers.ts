/**
 * From a next hop to the list of addresses to try, or to the reason why there is none.
 *
 * Reasons are Postfix's words. Addresses that DNS gave for a domain and that lie in private ranges are left out
 * (security.md 10); when nothing else is left, the mail waits, since whoever published them may mend it.
 *
 * Source: spec D1, D2; RFC 5321 §5.1; RFC 7505; Postfix src/smtp/smtp_addr.c, src/dns/dns_lookup.c.
 */
import { domainToASCII } from "node:url";
import { isIP } from "node:net";

import { enhancedStatus } from "@postmq/vocabulary";
import type { EnhancedStatus } from "@postmq/vocabulary";

import type { Nexthop } from "./nexthop.ts";
import { orderAddresses } from "./order-addresses.ts";
import type { OrderOptions, ServerAddress } from "./order-addresses.ts";
import { isPrivateAddress } from "./private-address.ts";
import type { DnsAnswer, MailResolver, MxRecord } from "./resolver.ts";

export type ServersFound =
  | { readonly kind: "servers"; readonly servers: readonly ServerAddress[] }
  | NoServer;

/** bounced: there will never be a server; deferred: ask again later. */
export type NoServer = {
  readonly kind: "bounced" | "deferred";
  readonly status: EnhancedStatus;
  readonly reason: string;
};

export type FindOptions = OrderOptions & {
  readonly resolver: MailResolver;
  readonly allowsPrivate: boolean;
};

export async function findServers(nexthop: Nexthop, options: FindOptions): Promise<ServersFound> {
  if (nexthop.isLiteral) return await literalServers(nexthop, options);
  const domain = domainToASCII(nexthop.host.replace(/\.$/, ""));
  if (domain === "") return noServer("failed", nexthop.host, "MX");
  const answer = await options.resolver.mx(domain);
  if (answer.kind === "noData") {
    return await hostServers([{ host: domain, preference: 0 }], nexthop.port, options);
  }
  if (answer.kind !== "found") return noServer(answer.kind, domain, "MX");
  if (isNullMx(answer.records)) return nullMx(domain);
  return await hostServers(answer.records, nexthop.port, options);
}

/** Source: RFC 7505 §3: one record with an empty name. */
function isNullMx(records: readonly MxRecord[]): boolean {
  return records.every(({ host }) => host === "");
}

/** Departs: Postfix says 5.1.0; 5.1.10 is what RFC 7505 §4.1 registers. */
function nullMx(domain: string): NoServer {
  const reason = `Domain ${domain} does not accept mail (nullMX)`;
  return { kind: "bounced", status: enhancedStatus("5.1.10"), reason };
}

/** [ip] needs no lookup; [host] is looked up without MX. */
function literalServers(nexthop: Nexthop, options: FindOptions): Promise<ServersFound> {
  if (isIP(nexthop.host) === 0) {
    const host = domainToASCII(nexthop.host.replace(/\.$/, ""));
    return hostServers([{ host, preference: 0 }], nexthop.port, options);
  }
  const server = { host: nexthop.host, address: nexthop.host, port: nexthop.port, preference: 0 };
  return Promise.resolve(keepPublic([server], options));
}

async function hostServers(
  hosts: readonly MxRecord[],
  port: number,
  options: FindOptions,
): Promise<ServersFound> {
  const lookups = hosts
    .filter(({ host }) => host !== "")
    .flatMap(({ host, preference }) =>
      ([4, 6] as const).map(async (family) => {
        const isAddress = isIP(host) !== 0;
        const answer: DnsAnswer<string> = isAddress
          ? { kind: "noData" }
          : await options.resolver.addresses(host, family);
        return { host, preference, family, answer };
      }),
    );
  const looked = await Promise.all(lookups);
  const servers = looked.flatMap(({ host, preference, answer }) =>
    answer.kind === "found"
      ? answer.records.map((address) => ({ host, address, port, preference }))
      : [],
  );
  if (servers.length > 0) return keepPublic(servers, options);
  const worst = looked.find(({ answer }) => answer.kind === "tryAgain") ?? looked.at(-1);
  const kind = worst === undefined || worst.answer.kind === "found" ? "noData" : worst.answer.kind;
  return noServer(kind, worst?.host ?? "", worst?.family === 4 ? "A" : "AAAA");
}

function keepPublic(servers: readonly ServerAddress[], options: FindOptions): ServersFound {
  const kept = options.allowsPrivate
    ? servers
    : servers.filter(({ address }) => !isPrivateAddress(address));
  if (kept.length > 0) return { kind: "servers", servers: orderAddresses(kept, options) };
  const first = servers[0];
  return {
    kind: "deferred",
    status: enhancedStatus("4.4.4"),
    reason: `mail for ${first?.host ?? ""} would go to the private address ${first?.address ?? ""}`,
  };
}

function noServer(
  kind: "notFound" | "noData" | "tryAgain" | "failed",
  name: string,
  type: "MX" | "A" | "AAAA",
): NoServer {
  const reason =
    "Host or domain name not found. " +
    `Name service error for name=${name} type=${type}: ${dnsErrorTexts[kind]}`;
  switch (kind) {
    case "notFound":
    case "noData":
      return { kind: "bounced", status: enhancedStatus("5.4.4"), reason };
    case "tryAgain":
      return { kind: "deferred", status: enhancedStatus("4.4.3"), reason };
    case "failed":
      return { kind: "bounced", status: enhancedStatus("5.4.3"), reason };
  }
}

/** Source: Postfix src/dns/dns_strerror.c. */
const dnsErrorTexts = {
  notFound: "Host not found",
  noData: "Host found but no data record of requested type",
  tryAgain: "Host not found, try again",
  failed: "Non-recoverable error",
} as const;
