/**
 * The resolver of delivery: asks name servers, follows aliases, keeps answers for as long as they hold.
 *
 * Names that can't be host names are not asked for, nor are those of localhost (RFC 6761). With smtp_host_lookup = dns,
 * native the system is asked for the addresses of hosts that DNS does not know, with native alone DNS is not asked for
 * them; such an answer has no time to live and is not kept.
 *
 * Source: spec D2; postconf(5) smtp_host_lookup; RFC 1034 §3.6.2; RFC 6761 §6.3; Postfix src/smtp/smtp_addr.c.
 */
import { DnsCache } from "./dns-cache.ts";
import { askServers } from "./dns-client.ts";
import type { DnsClientSettings } from "./dns-client.ts";
import {
  mostAliases,
  readAddress,
  readMx,
  readReply,
  readText,
  timedAnswer,
  troubleTtlMs,
} from "./dns-reply.ts";
import type { DnsQuestion, RecordReader, ReplyReading } from "./dns-reply.ts";
import { gate } from "./gate.ts";
import { isHostName, isLocalhost } from "./host-name.ts";
import { nativeAddresses } from "./native-lookup.ts";
import type { DnsAnswer, MailResolver } from "./resolver.ts";

/** Each is a socket. */
const mostQuestionsAtOnce = 256;

export const hostLookups = ["dns", "native"] as const;
export type HostLookup = (typeof hostLookups)[number];

export type ResolverSettings = DnsClientSettings & {
  /** In which order a host's addresses are looked for. */
  readonly hostLookup: readonly HostLookup[];
  /** A clock that does not jump. */
  readonly nowMs: () => number;
};

type Ask = (question: DnsQuestion) => Promise<ReplyReading>;

export function mailResolver(settings: ResolverSettings): MailResolver {
  const atOnce = gate(mostQuestionsAtOnce);
  const ask: Ask = (question) => atOnce(() => askOnce(question, settings));
  const mx = cachedLookup(settings, ask, { type: "MX", read: readMx });
  const txt = cachedLookup(settings, ask, { type: "TXT", read: readText });
  const four = cachedLookup(settings, ask, { type: "A", read: readAddress });
  const six = cachedLookup(settings, ask, { type: "AAAA", read: readAddress });
  return {
    mx: (domain) => (isLocalhost(domain) ? Promise.resolve({ kind: "noData" }) : mx(domain)),
    txt,
    addresses: async (host, family) => {
      if (isLocalhost(host)) {
        return { kind: "found", records: [family === 4 ? "127.0.0.1" : "::1"] };
      }
      let answer: DnsAnswer<string> = { kind: "notFound" };
      for (const way of settings.hostLookup) {
        const dns = family === 4 ? four : six;
        answer = way === "dns" ? await dns(host) : await nativeAddresses(host, family);
        if (answer.kind !== "notFound" && answer.kind !== "noData") break;
      }
      return answer;
    },
  };
}

function cachedLookup<T>(
  { nowMs }: ResolverSettings,
  ask: Ask,
  records: { readonly type: DnsQuestion["type"]; readonly read: RecordReader<T> },
): (name: string) => Promise<DnsAnswer<T>> {
  const cache = new DnsCache<T>(nowMs);
  return (text) => {
    const name = text.toLowerCase();
    if (!isHostName(name)) return Promise.resolve({ kind: "malformed" });
    return cache.get(name, async () =>
      timedAnswer(await followAliases({ name, type: records.type }, ask), records.read),
    );
  };
}

/** An alias that is left when enough were followed leads on for ever. */
async function followAliases(question: DnsQuestion, ask: Ask): Promise<ReplyReading> {
  let reading = await ask(question);
  let { ttlMs } = reading;
  for (let aliases = 1; reading.kind === "alias" && aliases < mostAliases; aliases++) {
    if (!isHostName(reading.target)) break;
    reading = await ask({ ...question, name: reading.target });
    ttlMs = Math.min(ttlMs, reading.ttlMs);
  }
  return { ...reading, ttlMs };
}

async function askOnce(question: DnsQuestion, settings: DnsClientSettings): Promise<ReplyReading> {
  const reply = await askServers(question, settings);
  return typeof reply === "string"
    ? { kind: reply, ttlMs: troubleTtlMs }
    : readReply(reply, question);
}
