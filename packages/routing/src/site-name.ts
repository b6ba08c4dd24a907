/**
 * The site of a next hop: a name for the set of mail servers that serve it, so that all domains of one set can share
 * one destination (`destination_grouping = mx`, postmq's own).
 *
 * The set is that of the MX host names. Order and preference are not part of it: limits protect the servers, and the
 * same servers in another order are the same servers. Only the whole set counts: who could join a site with servers of
 * their own could speak ill of it. Hosts with different names at one address are different sites.
 *
 * Source: postmq; spec S16.
 */
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";

/**
 * The site of a next hop that these hosts serve: their `siteName`, and the port where it is not SMTP's own.
 *
 * @returns undefined: it counts by itself
 */
export function siteOfHosts(nexthop: string, hosts: readonly string[]): string | undefined {
  const mx = mxDomain(nexthop);
  const site = mx === undefined ? undefined : siteName(hosts);
  return site === undefined || mx === undefined || mx.port === "" ? site : `${site}:${mx.port}`;
}

/** `mx:aspmx.l.google.com~<32 hexadecimal digits>`: the shortest host name, then a digest of the set if it has more than one. */
export function siteName(hosts: readonly string[]): string | undefined {
  const names = [...new Set(hosts.map(hostName))].filter((name) => name !== "").toSorted();
  const first = names.reduce(
    (best, name) => (name.length < best.length ? name : best),
    names[0] ?? "",
  );
  if (first === "") return undefined;
  return names.length > 1 ? `mx:${first}~${digest(names)}` : `mx:${first}`;
}

/** Lower case, without the last dot, international names as they stand in DNS. */
function hostName(host: string): string {
  const name = host.toLowerCase().replace(/\.$/, "");
  return domainToASCII(name) || name;
}

/** 128 bits: whoever can find another set with the same digest could speak ill of a site that is not theirs. */
function digest(names: readonly string[]): string {
  return createHash("sha256").update(names.join("\n")).digest("hex").slice(0, 32);
}

export type MxDomain = {
  /** As DNS is asked for it. */
  readonly domain: string;
  /** As it is written; empty where it is SMTP's own. */
  readonly port: string;
};

/**
 * The domain whose MX hosts serve a next hop.
 *
 * @returns undefined where MX does not decide: [host], an address, a list of next hops
 */
export function mxDomain(nexthop: string): MxDomain | undefined {
  const match = /^([^[\]:\s,/]+)(?::([A-Za-z0-9-]+))?$/.exec(nexthop);
  const domain = hostName(match?.[1] ?? "");
  if (domain === "" || isIP(domain) !== 0) return undefined;
  const port = match?.[2]?.toLowerCase() ?? "";
  return { domain, port: port === "25" || port === "smtp" ? "" : port };
}
