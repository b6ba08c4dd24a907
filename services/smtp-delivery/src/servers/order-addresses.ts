/**
 * In which order the addresses of a next hop are tried, and how many of them.
 *
 * Lower preference first; equal preference is shuffled when smtp_randomize_addresses is set, and smtp_address_preference
 * puts one family first within it. When the list is cut to smtp_mx_address_limit and both families are in it, each
 * gets up to half of the places, so that one family that can't be reached does not use up the limit
 * (smtp_balance_inet_protocols).
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
  readonly balances: boolean;
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
  const { addressLimit, balances } = options;
  if (addressLimit === 0 || sorted.length <= addressLimit) return sorted;
  return balances ? balance(sorted, addressLimit) : sorted.slice(0, addressLimit);
}

/** So many of each family, in the order they have. @param sorted longer than the limit */
function balance(sorted: readonly ServerAddress[], limit: number): readonly ServerAddress[] {
  const isSix = sorted.map(({ address }) => isIPv6(address));
  const allSix = isSix.filter(Boolean).length;
  const allFour = sorted.length - allSix;
  const half = Math.floor(limit / 2);
  // Both have more than half: the odd place goes to the family that comes first.
  const halfOfSix = isSix[0] === true ? limit - half : half;
  const six =
    allSix <= half ? allSix : allFour <= half ? limit - allFour : Math.min(halfOfSix, limit);
  const left = { six, four: limit - six };
  return sorted.filter((_, at) => (isSix[at] === true ? left.six-- > 0 : left.four-- > 0));
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const keyed = items.map((item) => ({ item, key: random() }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ item }) => item);
}
