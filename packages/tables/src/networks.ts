/**
 * Lists of networks, as mynetworks has them.
 *
 * An item is an address, net/length, a file of such, or any of them after `!`, which excludes. The first item that
 * matches decides. IPv6 may stand in brackets, with the length behind or within. An IPv4 address that came over IPv6
 * (::ffff:192.0.2.1) is the IPv4 address. A net whose address has bits beyond its length is refused, as in Postfix:
 * it is nearly always a mistake, and a guess could open a relay.
 *
 * Source: spec V23; postconf(5) mynetworks; Postfix src/util/cidr_match.c, src/util/match_ops.c.
 */
import { readFileSync } from "node:fs";
import { isIPv4, isIPv6 } from "node:net";
import { PostmqError } from "@postmq/vocabulary";

type Network = {
  readonly isExcluded: boolean;
  readonly family: 4 | 6;
  readonly bytes: readonly number[];
  readonly prefixLength: number;
};

/** A parsed list. Made by `parseNetworks`. */
export type NetworkList = { readonly networks: readonly Network[] };

const maxFileDepth = 10;

/** @throws PMQ_CONFIG_INVALID naming the item and what is wrong with it. */
export function parseNetworks(list: readonly string[], parameterName = "mynetworks"): NetworkList {
  return { networks: list.flatMap((item) => parseItem(item, parameterName, 0)) };
}

/** Whether the address is in the networks. Something that is no address is in none. */
export function inNetworks(address: string, list: NetworkList): boolean {
  const parsed = parseAddress(address);
  if (parsed === undefined) return false;
  const hit = list.networks.find(
    (network) =>
      network.family === parsed.family &&
      samePrefix(network.bytes, parsed.bytes, network.prefixLength),
  );
  return hit !== undefined && !hit.isExcluded;
}

function parseItem(item: string, parameterName: string, depth: number): readonly Network[] {
  const isExcluded = item.startsWith("!");
  if (isExcluded) {
    return parseItem(item.slice(1), parameterName, depth).map((network) => ({
      ...network,
      isExcluded: !network.isExcluded,
    }));
  }
  if (item.startsWith("/")) return readFile(item, parameterName, depth);
  const match = /^(?:\[([^\]/]+)(?:\/(\d{1,3}))?\]|([^[\]/]+))(?:\/(\d{1,3}))?$/.exec(item);
  const address = parseAddress(match?.[1] ?? match?.[3] ?? "");
  if (address === undefined) throw bad(item, parameterName, "it is not an address or net/length");
  const bits = address.bytes.length * 8;
  const prefixLength = Number(match?.[2] ?? match?.[4] ?? bits);
  if (prefixLength > bits) throw bad(item, parameterName, `the length must be 0 to ${bits}`);
  if (hasHostBits(address.bytes, prefixLength)) {
    throw bad(item, parameterName, `the address has bits beyond its first ${prefixLength}`);
  }
  return [{ ...address, prefixLength, isExcluded: false }];
}

/** A file of items, separated by commas, white space or lines; `#` begins a comment line. */
function readFile(fileName: string, parameterName: string, depth: number): readonly Network[] {
  if (depth >= maxFileDepth) throw bad(fileName, parameterName, "files name files too deeply");
  let content: string;
  try {
    content = readFileSync(fileName, "utf8");
  } catch (cause) {
    throw bad(fileName, parameterName, "the file can't be read", cause);
  }
  return content
    .split("\n")
    .filter((line) => !/^\s*#/.test(line))
    .flatMap((line) => line.split(/[\s,]+/))
    .filter((item) => item !== "")
    .flatMap((item) => parseItem(item, parameterName, depth + 1));
}

function bad(item: string, parameterName: string, problem: string, cause?: unknown): PostmqError {
  return new PostmqError(
    "PMQ_CONFIG_INVALID",
    `parameter ${parameterName}: "${item}": ${problem}`,
    { facts: { parameter: parameterName, value: item }, cause },
  );
}

function parseAddress(
  text: string,
): { readonly family: 4 | 6; readonly bytes: readonly number[] } | undefined {
  if (isIPv4(text)) return { family: 4, bytes: text.split(".").map(Number) };
  // A zone (fe80::1%eth0) names an interface of this host; it is no part of the address.
  const bare = text.replace(/%.*$/, "");
  if (!isIPv6(bare)) return undefined;
  const bytes = ipv6Bytes(bare);
  const isMapped =
    bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return isMapped ? { family: 4, bytes: bytes.slice(12) } : { family: 6, bytes };
}

/** The 16 bytes of a valid IPv6 address. */
function ipv6Bytes(text: string): readonly number[] {
  const [head = "", tail] = text.split("::");
  const before = groupBytes(head);
  if (tail === undefined) return before;
  const after = groupBytes(tail);
  const gap = new Array<number>(16 - before.length - after.length).fill(0);
  return [...before, ...gap, ...after];
}

function groupBytes(text: string): readonly number[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (group.includes(".")) return group.split(".").map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}

function samePrefix(a: readonly number[], b: readonly number[], bits: number): boolean {
  return a.every((byte, index) => {
    const mask = byteMask(bits - index * 8);
    return (byte & mask) === ((b[index] ?? 0) & mask);
  });
}

function hasHostBits(bytes: readonly number[], bits: number): boolean {
  return bytes.some((byte, index) => (byte & ~byteMask(bits - index * 8) & 255) !== 0);
}

/** The mask of a byte of which `bits` leading bits count. */
function byteMask(bits: number): number {
  if (bits >= 8) return 255;
  return bits <= 0 ? 0 : (255 << (8 - bits)) & 255;
}
