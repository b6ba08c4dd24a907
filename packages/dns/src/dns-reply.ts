/**
 * What a reply of a name server says about the name that was asked for: its records, another name to ask for, or why
 * there are none, and how long that holds.
 *
 * Records count only if they belong to the name asked for, or to one that its CNAMEs in the same reply lead to. Times to
 * live are bounded: a day for what exists, an hour for what does not, for which the zone's SOA record says how long; a
 * reply without one is not kept. Trouble is remembered for a second, so that many who ask at once ask once.
 *
 * Source: RFC 1034 §3.6.2; RFC 2181 §5.2, §8; RFC 2308 §2, §3, §5; Postfix src/dns/dns_lookup.c.
 */
import { isIP } from "node:net";

import type { Answer, Packet, RecordType } from "dns-packet";

import type { TimedAnswer } from "./dns-cache.ts";
import { isHostName } from "./host-name.ts";
import type { DnsAnswer, MxRecord, NoAnswerKind } from "./resolver.ts";

export type ReplyReading =
  | { readonly kind: "records"; readonly records: readonly Answer[]; readonly ttlMs: number }
  | { readonly kind: "alias"; readonly target: string; readonly ttlMs: number }
  | { readonly kind: NoAnswerKind; readonly ttlMs: number };

export type DnsQuestion = { readonly name: string; readonly type: RecordType };

/** Aliases that are followed until it counts as a loop. Source: Postfix src/dns/dns_lookup.c. */
export const mostAliases = 10;
/** Of one name and type. Source: postconf(5) dns_rr_list_limit, whose default it is. */
const mostRecords = 100;
const longestTtlSeconds = 86_400;
const longestNegativeTtlSeconds = 3_600;
export const troubleTtlMs = 1_000;

const noSuchName = 3;

/** @param packet with the code 0 or 3: other replies say nothing about the name */
export function readReply(packet: Packet, question: DnsQuestion): ReplyReading {
  const answers = (packet.answers ?? []).filter(isInternet);
  let { name } = question;
  let ttlMs = longestTtlSeconds * 1000;
  for (let aliases = 0; aliases <= mostAliases; aliases++) {
    const own = answers.filter((answer) => isSameName(answer.name, name));
    const records = own.filter(({ type }) => type === question.type);
    if (records.length > 0) {
      return {
        kind: "records",
        records: records.slice(0, mostRecords),
        ttlMs: Math.min(ttlMs, ...records.map(ttlOf)),
      };
    }
    const alias = own.find((answer) => answer.type === "CNAME");
    if (alias?.type !== "CNAME") break;
    name = alias.data;
    ttlMs = Math.min(ttlMs, ttlOf(alias));
  }
  const isAlias = !isSameName(name, question.name);
  if (replyCode(packet) === noSuchName) return { kind: "notFound", ttlMs: negativeTtlMs(packet) };
  if (isAlias) return { kind: "alias", target: name, ttlMs };
  return { kind: "noData", ttlMs: negativeTtlMs(packet) };
}

export function replyCode(packet: Packet): number {
  return (packet.flags ?? 0) & 15;
}

/** Source: RFC 4343: case means nothing. */
export function isSameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

function isInternet(answer: Answer): boolean {
  return answer.type !== "OPT" && (answer.class === undefined || answer.class === "IN");
}

function ttlOf(answer: Answer): number {
  const seconds = answer.type === "OPT" ? 0 : (answer.ttl ?? 0);
  // Source: RFC 2181 §8: the highest bit set means 0.
  return seconds > 0x7f_ff_ff_ff ? 0 : Math.min(seconds, longestTtlSeconds) * 1000;
}

function negativeTtlMs(packet: Packet): number {
  const soa = packet.authorities?.find(({ type }) => type === "SOA");
  if (soa?.type !== "SOA") return 0;
  const seconds = Math.min(soa.data.minimum ?? 0, longestNegativeTtlSeconds);
  return Math.min(ttlOf(soa), seconds * 1000);
}

/** What a kind of record becomes; undefined: it can't be used. */
export type RecordReader<T> = (record: Answer) => T | undefined;

/** Records that can't be used are left out; none left: the answer as a whole is malformed. */
export function timedAnswer<T>(reading: ReplyReading, read: RecordReader<T>): TimedAnswer<T> {
  if (reading.kind !== "records") return { answer: noAnswer(reading.kind), ttlMs: reading.ttlMs };
  const records = reading.records.map(read).filter((record) => record !== undefined);
  const answer: DnsAnswer<T> =
    records.length > 0 ? { kind: "found", records } : { kind: "malformed" };
  return { answer, ttlMs: reading.ttlMs };
}

/** An alias that is left when all were followed leads round in a circle. */
function noAnswer(kind: NoAnswerKind | "alias"): { readonly kind: NoAnswerKind } {
  return { kind: kind === "alias" ? "malformed" : kind };
}

/** An empty host is a null MX; a host that is no name is left out. */
export function readMx(record: Answer): MxRecord | undefined {
  if (record.type !== "MX") return undefined;
  const host = record.data.exchange.replace(/\.$/, "");
  const preference = record.data.preference ?? 0;
  return host === "" || isHostName(host) ? { host, preference } : undefined;
}

export function readAddress(record: Answer): string | undefined {
  const isAddress = record.type === "A" || record.type === "AAAA";
  return isAddress && isIP(record.data) !== 0 ? record.data : undefined;
}

export function readText(record: Answer): string | undefined {
  if (record.type !== "TXT") return undefined;
  const parts = Array.isArray(record.data) ? record.data : [record.data];
  return parts.map((part) => part.toString()).join("");
}
