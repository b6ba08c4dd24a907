/**
 * From one next hop to the addresses to try, or to the reason why there are none.
 *
 * Reasons are Postfix's words. Our own address among them (on port 25) takes everything with it that is not better: mail
 * goes towards the best MX host, never back (D3). Addresses that DNS gave for a domain and that lie in private ranges
 * are left out (security.md 10); when nothing else is left, the mail waits, since whoever published them may mend it.
 * What is judged is the address that is dialled: names are not looked up again.
 *
 * Departs: the host of an MX record must be a name, not an address; a null MX beside real ones is left out; where one MX
 * host could not be looked up and others have no address, the mail waits with the first one's reason (Postfix: the last).
 *
 * Source: spec D1 to D3; RFC 5321 §5.1; RFC 7505; Postfix src/smtp/smtp_addr.c, src/dns/dns_lookup.c.
 */
import { domainToASCII } from "node:url";
import { isIP } from "node:net";

import { isHostName } from "@postmq/dns";
import type { DnsAnswer, MailResolver, MxRecord, NoAnswerKind } from "@postmq/dns";
import { enhancedStatus } from "@postmq/vocabulary";
import type { EnhancedStatus } from "@postmq/vocabulary";

import type { Nexthop } from "./nexthop.ts";
import { orderAddresses } from "./order-addresses.ts";
import type { OrderOptions, ServerAddress } from "./order-addresses.ts";
import { isPrivateAddress } from "./private-address.ts";

export type ServersFound =
  | {
      readonly kind: "servers";
      readonly servers: readonly ServerAddress[];
      /** All hosts that DNS names for it, whether or not they can be tried. */
      readonly hosts: readonly string[];
      /** Of the best host that has an address: mail that loops at such a one is at its end. */
      readonly bestPreference: number;
      readonly isOurs: boolean;
    }
  | (NoServer & {
      /** We are an MX host of it, or it is we: other next hops would only carry the loop on. */
      readonly isOurs: boolean;
    });

/** bounced: there will never be a server; deferred: ask again later. */
export type NoServer = {
  readonly kind: "bounced" | "deferred";
  readonly status: EnhancedStatus;
  readonly reason: string;
};

export type FindOptions = OrderOptions & {
  readonly resolver: MailResolver;
  /** Names a server behind a socket of this machine. */
  readonly myhostname: string;
  readonly allowsPrivate: boolean;
  /** Families that are looked up and dialled. */
  readonly families: readonly (4 | 6)[];
  /** no: every next hop is a host, as in LMTP or without DNS. */
  readonly looksUpMx: boolean;
  readonly defersWithoutAddress: boolean;
  readonly ignoresMxErrors: boolean;
  /** Whether mail to port 25 of this address would come back to us. */
  readonly isOwn: (address: string) => boolean;
};

/** Source: RFC 5321 §4.5.4.2; own addresses matter at this port only. */
export const smtpPort = 25;

/** Whose addresses are looked for: nobody has more MX hosts in earnest, and each costs two questions. */
const mostHosts = 20;

export async function findServers(nexthop: Nexthop, options: FindOptions): Promise<ServersFound> {
  if (nexthop.host.startsWith("/")) return socketItself(nexthop.host, options);
  if (isIP(nexthop.host) !== 0) return addressItself(nexthop, options);
  const domain = domainToASCII(nexthop.host.replace(/\.$/, ""));
  if (!isHostName(domain)) return noServer(invalidName(nexthop.host));
  if (nexthop.isLiteral || !options.looksUpMx) return await hostItself(domain, nexthop, options);
  const answer = await options.resolver.mx(domain);
  switch (answer.kind) {
    case "found":
      if (isNullMx(answer.records)) return noServer(nullMx(domain));
      return await mxHosts(answer.records, nexthop, options);
    // The system may know a host that DNS does not.
    case "notFound":
    case "noData":
      return await hostItself(domain, nexthop, options);
    case "tryAgain":
    case "failed":
    case "malformed":
      return options.ignoresMxErrors
        ? await hostItself(domain, nexthop, options)
        : noServer(lookupFailure({ name: domain, type: "MX", answer }));
  }
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

function invalidName(name: string): NoServer {
  const reason = `Name service error for ${name}: invalid host or domain name`;
  return { kind: "bounced", status: enhancedStatus("5.4.4"), reason };
}

/** A server of this machine. Source: Postfix src/smtp/smtp_connect.c smtp_connect_unix. */
function socketItself(path: string, { myhostname }: FindOptions): ServersFound {
  const server = { host: myhostname, address: path, port: 0, preference: 0 };
  return { kind: "servers", servers: [server], hosts: [path], bestPreference: 0, isOurs: false };
}

function addressItself(nexthop: Nexthop, options: FindOptions): ServersFound {
  const { host, port } = nexthop;
  if (!options.families.some((family) => family === isIP(host))) return noServer(invalidName(host));
  const servers = [{ host, address: host, port, preference: 0 }];
  return withoutSelf(servers, { names: [host], bestPreference: 0 }, nexthop, options);
}

async function hostItself(
  host: string,
  nexthop: Nexthop,
  options: FindOptions,
): Promise<ServersFound> {
  const { lookups, servers } = await lookUpHosts([{ host, preference: 0 }], nexthop.port, options);
  if (servers.length === 0) return noServer(worstFailure(lookups));
  return withoutSelf(servers, { names: [host], bestPreference: 0 }, nexthop, options);
}

async function mxHosts(
  records: readonly MxRecord[],
  nexthop: Nexthop,
  options: FindOptions,
): Promise<ServersFound> {
  const hosts = records
    .filter(({ host }) => host !== "")
    .toSorted((a, b) => a.preference - b.preference)
    .slice(0, mostHosts);
  const { lookups, servers } = await lookUpHosts(hosts, nexthop.port, options);
  if (servers.length === 0) {
    const failure = worstFailure(lookups);
    return noServer(options.defersWithoutAddress ? deferred(failure) : failure);
  }
  const names = records.map(({ host }) => host);
  const bestPreference = hosts[0]?.preference ?? 0;
  return withoutSelf(servers, { names, bestPreference }, nexthop, options);
}

// ------------------------------------------------------------------------------------------ addresses

type Lookup = {
  readonly name: string;
  readonly type: "MX" | "A" | "AAAA";
  readonly answer: DnsAnswer<unknown>;
};

/** All at once; the servers come in the order of the hosts, and of each host's families. */
async function lookUpHosts(
  hosts: readonly MxRecord[],
  port: number,
  { resolver, families }: FindOptions,
): Promise<{ readonly lookups: readonly Lookup[]; readonly servers: readonly ServerAddress[] }> {
  const looked = await Promise.all(
    hosts.flatMap(({ host, preference }) =>
      families.map(async (family) => {
        const answer: DnsAnswer<string> =
          isIP(host) === 0 ? await resolver.addresses(host, family) : { kind: "noData" };
        return { host, preference, family, answer };
      }),
    ),
  );
  return {
    lookups: looked.map(({ host, family, answer }) => ({
      name: host,
      type: family === 4 ? "A" : "AAAA",
      answer,
    })),
    servers: looked.flatMap(({ host, preference, answer }) =>
      answer.kind === "found"
        ? answer.records.map((address) => ({ host, address, port, preference }))
        : [],
    ),
  };
}

/** Trouble first: then waiting may help. Else the last host's, by what says most. */
function worstFailure(lookups: readonly Lookup[]): NoServer {
  const trouble = lookups.find(({ answer }) => answer.kind === "tryAgain");
  const last = lookups.at(-1);
  const ofLast = lookups.filter(({ name }) => name === last?.name);
  const telling =
    ofLast.findLast(({ answer }) => answer.kind === "malformed") ??
    ofLast.findLast(({ answer }) => answer.kind === "failed");
  const worst = trouble ?? telling ?? last;
  return worst === undefined ? invalidName("") : lookupFailure(worst);
}

/** All hosts of a next hop, before any is left out. */
type Hosts = { readonly names: readonly string[]; readonly bestPreference: number };

/** Source: Postfix src/smtp/smtp_addr.c smtp_find_self, smtp_truncate_self. */
function withoutSelf(
  servers: readonly ServerAddress[],
  hosts: Hosts,
  nexthop: Nexthop,
  options: FindOptions,
): ServersFound {
  const self =
    nexthop.port === smtpPort ? servers.find(({ address }) => options.isOwn(address)) : undefined;
  if (self === undefined) return withoutPrivate(servers, hosts, false, options);
  const better = servers.filter(({ preference }) => preference < self.preference);
  if (better.length > 0) return withoutPrivate(better, hosts, true, options);
  const wasBest = self.preference === hosts.bestPreference;
  return {
    kind: wasBest ? "bounced" : "deferred",
    status: enhancedStatus(wasBest ? "5.4.6" : "4.4.4"),
    reason: wasBest
      ? `mail for ${nexthop.host} loops back to myself`
      : `unable to find primary relay for ${nexthop.host}`,
    isOurs: true,
  };
}

function withoutPrivate(
  servers: readonly ServerAddress[],
  { names }: Hosts,
  isOurs: boolean,
  options: FindOptions,
): ServersFound {
  const kept = options.allowsPrivate
    ? servers
    : servers.filter(({ address }) => !isPrivateAddress(address));
  const [first] = servers;
  if (kept.length > 0) {
    const bestPreference = first?.preference ?? 0;
    const ordered = orderAddresses(kept, options);
    return { kind: "servers", servers: ordered, hosts: names, bestPreference, isOurs };
  }
  return {
    kind: "deferred",
    status: enhancedStatus("4.4.4"),
    reason: `mail for ${first?.host ?? ""} would go to the private address ${first?.address ?? ""}`,
    isOurs,
  };
}

// ------------------------------------------------------------------------------------------- failures

function noServer(why: NoServer): ServersFound {
  return { ...why, isOurs: false };
}

/** The same with a 4: it is not bounced. */
function deferred(why: NoServer): NoServer {
  return { ...why, kind: "deferred", status: enhancedStatus(why.status.replace(/^5/, "4")) };
}

function lookupFailure({ name, type, answer }: Lookup): NoServer {
  const kind = answer.kind === "found" ? "noData" : answer.kind;
  const ofSystem = answer.kind === "found" ? undefined : answer.reason;
  const { outcome, status } = failures[kind];
  return {
    kind: outcome,
    status: enhancedStatus(ofSystem !== undefined && kind === "tryAgain" ? "4.4.4" : status),
    reason: ofSystem ?? dnsReason(kind, `name=${name} type=${type}`),
  };
}

/** Source: Postfix src/smtp/smtp_addr.c. */
const failures: Readonly<
  Record<NoAnswerKind, { readonly outcome: NoServer["kind"]; readonly status: string }>
> = {
  notFound: { outcome: "bounced", status: "5.4.4" },
  noData: { outcome: "bounced", status: "5.4.4" },
  malformed: { outcome: "bounced", status: "5.4.4" },
  failed: { outcome: "bounced", status: "5.4.3" },
  tryAgain: { outcome: "deferred", status: "4.4.3" },
};

/** Source: Postfix src/dns/dns_lookup.c, src/dns/dns_strerror.c. */
function dnsReason(kind: NoAnswerKind, asked: string): string {
  const error = `Name service error for ${asked}: `;
  switch (kind) {
    case "malformed":
      return `${error}Malformed or unexpected name server reply`;
    case "notFound":
      return `Host or domain name not found. ${error}Host not found`;
    case "noData":
      return `Host or domain name not found. ${error}Host found but no data record of requested type`;
    case "tryAgain":
      return `Host or domain name not found. ${error}Host not found, try again`;
    case "failed":
      return `Host or domain name not found. ${error}Non-recoverable error`;
  }
}
