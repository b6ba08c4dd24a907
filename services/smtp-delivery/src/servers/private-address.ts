/**
 * Addresses that mail from outside must not be steered to: loopback, private, link-local and the like.
 *
 * Anybody can publish an MX record that points into our network, so such answers are refused unless
 * smtp_allow_private_addresses is set. IPv4 addresses inside IPv6 ones (mapped, NAT64, 6to4) count as themselves; what is
 * translated within a network (SIIT) is never public.
 *
 * Source: spec security.md 10; RFC 6890; RFC 4193; RFC 6052.
 */
import { BlockList, isIPv6 } from "node:net";

const ipv4Ranges = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const;

const ipv6Ranges = [
  ["::", 127],
  // IPv4-translated, as SIIT writes hosts of one's own network (RFC 2765 §2.1).
  ["::ffff:0:0:0", 96],
  // NAT64 of one's own network (RFC 8215), and addresses that go nowhere (RFC 6666).
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["fc00::", 7],
  ["fe80::", 9],
  ["ff00::", 8],
] as const;

/** Prefixes whose addresses carry an IPv4 address, and the group at which it begins. */
const carriers = [
  { prefix: "0:0:0:0:0:ffff:", group: 6 },
  { prefix: "0:0:0:0:0:0:", group: 6 },
  { prefix: "64:ff9b:0:0:0:0:", group: 6 },
  { prefix: "2002:", group: 1 },
] as const;

const privateRanges = new BlockList();
for (const [net, bits] of ipv4Ranges) privateRanges.addSubnet(net, bits, "ipv4");
for (const [net, bits] of ipv6Ranges) privateRanges.addSubnet(net, bits, "ipv6");

/** @param address an IPv4 or IPv6 address without brackets or zone */
export function isPrivateAddress(address: string): boolean {
  if (!isIPv6(address)) return privateRanges.check(address, "ipv4");
  const inner = carriedIpv4(address);
  return (
    privateRanges.check(address, "ipv6") ||
    (inner !== undefined && privateRanges.check(inner, "ipv4"))
  );
}

function carriedIpv4(address: string): string | undefined {
  const groups = expand(address);
  const text = `${groups.map((group) => group.toString(16)).join(":")}:`;
  const carrier = carriers.find(({ prefix }) => text.startsWith(prefix));
  if (carrier === undefined) return undefined;
  const high = groups[carrier.group] ?? 0;
  const low = groups[carrier.group + 1] ?? 0;
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}

/** The eight groups of an IPv6 address, `::` and a dotted end written out. */
function expand(address: string): readonly number[] {
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const plain =
    dotted === null
      ? address
      : address.slice(0, dotted.index) +
        [dotted.slice(1, 3), dotted.slice(3, 5)]
          .map(([high, low]) => (Number(high) * 256 + Number(low)).toString(16))
          .join(":");
  const [head = "", tail] = plain.split("::");
  const groups = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const first = groups(head);
  const last = groups(tail ?? "");
  const gap = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: gap }, () => 0), ...last];
}
