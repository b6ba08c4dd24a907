/**
 * What a fake name server knows: names with their records, as zone files have them.
 *
 * `"example.com": ["MX 10 mx.example.com", "300 TXT v=STSv1; id=1"]`: a time to live if it is not 60 s, the type, and
 * the rest of the line. A name may stand for trouble instead: a code, or silence. A name that is not there does not
 * exist.
 */
import type { Answer } from "dns-packet";

/** Codes of replies, and `silence`: no reply at all. Source: RFC 1035 §4.1.1. */
export const dnsTroubles = [
  "NXDOMAIN",
  "SERVFAIL",
  "REFUSED",
  "FORMERR",
  "NOTIMP",
  "silence",
] as const;
export type DnsTrouble = (typeof dnsTroubles)[number];

export type DnsZone = Readonly<Record<string, readonly string[] | DnsTrouble>>;

export type FakeDnsReply = {
  /** Default: NOERROR. */
  readonly code?: Exclude<DnsTrouble, "silence">;
  readonly answers?: readonly Answer[];
  /** How long its absence may be remembered: a SOA record says so. Absent: no SOA record. */
  readonly negativeTtlSeconds?: number;
  /** No reply at all. */
  readonly isSilent?: boolean;
  /** Sent cut off and empty over UDP, whole over TCP. */
  readonly isTruncated?: boolean;
  /** What is sent is made of the reply: to lie, or to make no sense. */
  readonly rewrite?: (reply: Buffer) => Buffer;
  readonly delayMs?: number;
};

const defaultTtlSeconds = 60;
export const defaultNegativeTtlSeconds = 60;
/** As a real server does, so that a zone may hold a circle. */
const mostAliases = 3;

/** Aliases are followed as far as the zone knows them. */
export function replyFromZone(zone: DnsZone, name: string, type: string): FakeDnsReply {
  const answers: Answer[] = [];
  let asked = name.toLowerCase();
  for (let aliases = 0; aliases <= mostAliases; aliases++) {
    const entry = zone[asked] ?? "NXDOMAIN";
    if (entry === "silence") return { isSilent: true };
    if (entry === "NXDOMAIN")
      return { code: entry, answers, negativeTtlSeconds: defaultNegativeTtlSeconds };
    if (typeof entry === "string") return { code: entry };
    const records = entry.map((line) => parseRecord(asked, line));
    const wanted = records.filter((record) => record.type === type);
    const alias = records.find((record) => record.type === "CNAME");
    if (wanted.length > 0 || alias?.type !== "CNAME") {
      answers.push(...wanted);
      const isEmpty = wanted.length === 0;
      return { answers, ...(isEmpty ? { negativeTtlSeconds: defaultNegativeTtlSeconds } : {}) };
    }
    answers.push(alias);
    asked = alias.data.toLowerCase();
  }
  return { answers };
}

/** @throws Error for a line that is no record, which is a mistake of the test */
export function parseRecord(name: string, line: string): Answer {
  const match = /^(?:(\d+) )?(MX (\d+)|A|AAAA|CNAME|TXT) (.*)$/.exec(line);
  const [, seconds, kind = "", preference, data = ""] = match ?? [];
  const ttl = seconds === undefined ? defaultTtlSeconds : Number(seconds);
  const [type] = kind.split(" ");
  switch (type) {
    case "MX":
      return { name, ttl, type, data: { preference: Number(preference), exchange: data } };
    case "A":
    case "AAAA":
    case "CNAME":
      return { name, ttl, type, data };
    case "TXT":
      return { name, ttl, type, data: data.match(/.{1,255}/gs) ?? [""] };
    default:
      throw new Error(`not a record: ${line}`);
  }
}
