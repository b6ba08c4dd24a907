/**
 * Where mail for an address goes: its transport and next hop.
 *
 * The recipient's domain gives its class (local, relay, default), the class gives a transport and a next hop, and
 * `transport_maps` overrides both. For mail that leaves, the sender may choose the relay host and the transport of the
 * default class. Whatever can't be resolved becomes an `error` or `retry` destination, so that every address has an
 * answer and no address can stop the others.
 *
 * Departs: sender-given routing (user%domain, domain!user), virtual classes and relocated_maps are not served yet; the
 * local part is never looked into.
 *
 * Source: spec rewriting-and-checks.md §6, R20, R22; S15; trivial-rewrite(8), transport(5).
 */
import { isIP } from "node:net";
import type { Destination } from "@postmq/vocabulary";
import { withoutExtension } from "./address-extension.ts";
import { lookupSender } from "./sender-maps.ts";

export type RoutingTable = {
  readonly isEmpty: boolean;
  /** @throws PMQ_TABLE_UNREADABLE */
  lookup(key: string): string | undefined;
};

export type Routing = {
  readonly mydestination: readonly string[];
  readonly relayDomains: readonly string[];
  readonly localTransport: string;
  readonly relayTransport: string;
  readonly defaultTransport: string;
  readonly relayhost: string;
  readonly recipientDelimiter: string;
  /** Stands for the domain of an address that has none. */
  readonly myorigin: string;
  readonly transportMaps: RoutingTable;
  /** sender_dependent_relayhost_maps and sender_dependent_default_transport_maps. */
  readonly senderRelayhosts: RoutingTable;
  readonly senderTransports: RoutingTable;
  /** Names of the delivery transports that workers serve. */
  readonly transports: ReadonlySet<string>;
};

/** @param sender envelope sender of the message; empty for the null sender */
export type Resolver = (address: string, sender: string) => Destination;

const nullAddress: Destination = { transport: "error", nexthop: "5.1.3 null recipient address" };
const badSyntax: Destination = { transport: "error", nexthop: "5.1.3 bad address syntax" };
const resolverFailure: Destination = {
  transport: "retry",
  nexthop: "4.3.0 address resolver failure",
};
const unavailable: Destination = {
  transport: "retry",
  nexthop: "4.3.0 mail transport unavailable",
};

/** A resolver that never throws: a table that can't be read defers the address (S15), and says so once per failure. */
export function openResolver(routing: Routing, onTrouble: (text: string) => void): Resolver {
  const local = new Set(routing.mydestination.map((domain) => domain.toLowerCase()));
  const relay = new Set(routing.relayDomains.map((domain) => domain.toLowerCase()));
  return (address, sender) => {
    if (address === "") return nullAddress;
    const parts = splitAddress(address, routing.myorigin);
    if (parts === undefined) return badSyntax;
    try {
      const byClass = classDestination(parts.domain, sender, { routing, local, relay, onTrouble });
      const found = lookupTransport(parts, routing);
      const chosen = found === undefined ? byClass : override(byClass, found, parts.domain);
      return isServed(chosen, routing) ? chosen : unavailable;
    } catch (error) {
      onTrouble(error instanceof Error ? error.message : String(error));
      return resolverFailure;
    }
  };
}

type AddressParts = {
  readonly localPart: string;
  /** Lower case. */
  readonly domain: string;
};

function splitAddress(address: string, myorigin: string): AddressParts | undefined {
  if (address.startsWith("-")) return undefined;
  const at = address.lastIndexOf("@");
  const localPart = at < 0 ? address : address.slice(0, at);
  const domain = (at < 0 ? myorigin : address.slice(at + 1)).toLowerCase();
  return isDomain(domain) ? { localPart, domain } : undefined;
}

/** A host name or an address literal. A bare IP address is not one (rewriting-and-checks.md §6.1). */
function isDomain(domain: string): boolean {
  if (domain.startsWith("[")) return isAddressLiteral(domain);
  if (domain.length > 255 || isIP(domain) !== 0) return false;
  return domain
    .split(".")
    .every((label) =>
      /^[\w\u{80}-\u{10ffff}](?:[\w\u{80}-\u{10ffff}-]*[\w\u{80}-\u{10ffff}])?$/u.test(label),
    );
}

/** Source: RFC 5321 §4.1.3. */
function isAddressLiteral(domain: string): boolean {
  const inside = /^\[(?:ipv6:)?([^\]]+)\]$/.exec(domain)?.[1];
  return inside !== undefined && isIP(inside) !== 0;
}

type Classes = {
  readonly routing: Routing;
  readonly local: ReadonlySet<string>;
  readonly relay: ReadonlySet<string>;
  readonly onTrouble: (text: string) => void;
};

/** An explicit next hop in a transport parameter beats relayhost (rewriting-and-checks.md §6.3). */
function classDestination(domain: string, sender: string, classes: Classes): Destination {
  const { routing, local, relay, onTrouble } = classes;
  if (local.has(domain)) return parseTransport(routing.localTransport, domain);
  const chosenBy = (table: RoutingTable, parameterName: string) =>
    table.isEmpty
      ? undefined
      : lookupSender(sender, { ...routing, table, parameterName, local, onTrouble });
  const transport = isInDomains(domain, relay)
    ? routing.relayTransport
    : (chosenBy(routing.senderTransports, "sender_dependent_default_transport_maps") ??
      routing.defaultTransport);
  const relayhost =
    chosenBy(routing.senderRelayhosts, "sender_dependent_relayhost_maps") ?? routing.relayhost;
  return parseTransport(transport, relayhost === "" ? domain : relayhost);
}

/** relay_domains covers subdomains (postconf(5) parent_domain_matches_subdomains). */
function isInDomains(domain: string, domains: ReadonlySet<string>): boolean {
  if (domains.size === 0) return false;
  if (domains.has(domain)) return true;
  return parentDomains(domain).some((parent) => domains.has(parent));
}

/** `b.c` and `c` for `a.b.c`, nearest first. */
function parentDomains(domain: string): readonly string[] {
  if (domain.startsWith("[")) return [];
  const labels = domain.split(".");
  return labels.slice(1).map((_, index) => labels.slice(index + 1).join("."));
}

/** `transport:nexthop` or `transport`. */
function parseTransport(text: string, defaultNexthop: string): Destination {
  const colon = text.indexOf(":");
  if (colon < 0) return { transport: text, nexthop: withText(text, defaultNexthop) };
  const transport = text.slice(0, colon);
  const nexthop = text.slice(colon + 1).trim();
  return { transport, nexthop: nexthop === "" ? withText(transport, defaultNexthop) : nexthop };
}

/** A transport that only tells a text has one, even where none was given (transport(5)). */
function withText(transport: string, nexthop: string): string {
  return transport === "error" || transport === "retry" ? "Address is undeliverable" : nexthop;
}

/** Keys in R20's order: user+ext@domain, user@domain, domain, .parent (nearest first), *. */
function lookupTransport(parts: AddressParts, routing: Routing): string | undefined {
  const table = routing.transportMaps;
  if (table.isEmpty) return undefined;
  const local = parts.localPart.toLowerCase();
  const bare = withoutExtension(local, routing.recipientDelimiter);
  const keys = [
    `${local}@${parts.domain}`,
    ...(bare === local ? [] : [`${bare}@${parts.domain}`]),
    parts.domain,
    ...parentDomains(parts.domain).map((parent) => `.${parent}`),
    "*",
  ];
  for (const key of keys) {
    const found = table.lookup(key);
    if (found !== undefined) return found.trim();
  }
  return undefined;
}

/** `t:n` sets both, `t:` resets the next hop to the domain, `:n` keeps the transport, `:` changes nothing. */
function override(current: Destination, found: string, domain: string): Destination {
  if (found === ":") return current;
  if (found.startsWith(":"))
    return { transport: current.transport, nexthop: found.slice(1).trim() };
  return parseTransport(found, domain);
}

/** Transports without a worker (S18): the scheduler itself says what becomes of their mail. */
const servedByScheduler: ReadonlySet<string> = new Set(["error", "retry", "discard"]);

function isServed(destination: Destination, routing: Routing): boolean {
  const name = destination.transport;
  return servedByScheduler.has(name) || routing.transports.has(name);
}
