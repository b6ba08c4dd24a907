/**
 * In which order the addresses of a next hop are tried, and how many of them.
 *
 * Lower preference first; equal preference is shuffled when smtp_randomize_addresses is set, and smtp_address_preference
 * puts one family first within it. When the list is cut to smtp_mx_address_limit and both families are in it, each
 * gets up to half of the places, so that one family that can't be reached does not use up the limit.
 *
 * Source: spec D2, D4; postconf(5) smtp_balance_inet_protocols; Postfix src/smtp/smtp_addr.c.
 */
import { isIPv6 } from "node:net";

export type ServerAddress = {
  /** Name of the MX host, or the next hop itself. */
  readonly host: string;
  readonly address: string;
  readonly port: number;
  readonly preference: number;
};

export type OrderOptions = {
  readonly randomizes: boolean;
  readonly prefers: "any" | "ipv4" | "ipv6";
  /** 0: all. */
  readonly addressLimit: number;
  /** From 0 to below 1. */
  readonly random: () => number;
};

export function orderAddresses(
  servers: readonly ServerAddress[],
  options: OrderOptions,
): readonly ServerAddress[] {
  const mixed = options.randomizes ? shuffle(servers, options.random) : [...servers];
  const familyRank = (server: ServerAddress) =>
    options.prefers === "any" ? 0 : Number(isIPv6(server.address) !== (options.prefers === "ipv6"));
  const sorted = mixed.toSorted(
    (a, b) => a.preference - b.preference || familyRank(a) - familyRank(b),
  );
  return options.addressLimit === 0 ? sorted : balance(sorted, options.addressLimit);
}

/** The first `limit`, but room is kept for the rarer family, up to half. */
function balance(sorted: readonly ServerAddress[], limit: number): readonly ServerAddress[] {
  if (sorted.length <= limit) return sorted;
  const ofSix = sorted.filter((server) => isIPv6(server.address)).length;
  const half = Math.floor(limit / 2);
  const mostOfSix = limit - Math.min(sorted.length - ofSix, half);
  const mostOfFour = limit - Math.min(ofSix, half);
  let six = 0;
  let four = 0;
  return sorted
    .filter((server) =>
      isIPv6(server.address) ? (six += 1) <= mostOfSix : (four += 1) <= mostOfFour,
    )
    .slice(0, limit);
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const keyed = items.map((item) => ({ item, key: random() }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ item }) => item);
}
