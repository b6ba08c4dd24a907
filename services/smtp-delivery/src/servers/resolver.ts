/**
 * The questions that delivery asks of DNS, with the answers told apart as mail needs them.
 *
 * Source: spec D2; RFC 5321 §5.1; RFC 6761 §6.3 (localhost is never asked of DNS).
 */
import { promises as dns } from "node:dns";

/**
 * notFound: the name does not exist; noData: it exists, without such records; tryAgain: nobody answered, or the
 * server has trouble; failed: the name server refuses or the name can't be asked for.
 */
export type DnsAnswer<T> =
  | { readonly kind: "found"; readonly records: readonly T[] }
  | { readonly kind: "notFound" | "noData" | "tryAgain" | "failed" };

export type MxRecord = {
  /** Without the last dot; empty in a null MX. */
  readonly host: string;
  readonly preference: number;
};

export interface MailResolver {
  mx(domain: string): Promise<DnsAnswer<MxRecord>>;
  addresses(host: string, family: 4 | 6): Promise<DnsAnswer<string>>;
}

const queryTimeoutMs = 5_000;
const queryTries = 2;

/** DNS as this machine is set up for it. */
export function systemResolver(): MailResolver {
  const resolver = new dns.Resolver({ timeout: queryTimeoutMs, tries: queryTries });
  return {
    mx: (domain) =>
      ask(async () =>
        (await resolver.resolveMx(domain)).map(({ exchange, priority }) => ({
          host: exchange.replace(/\.$/, ""),
          preference: priority,
        })),
      ),
    addresses: (host, family) => {
      if (/^(?:.+\.)?localhost\.?$/i.test(host)) {
        const records = [family === 4 ? "127.0.0.1" : "::1"];
        return Promise.resolve({ kind: "found", records });
      }
      return ask(() => (family === 4 ? resolver.resolve4(host) : resolver.resolve6(host)));
    },
  };
}

async function ask<T>(query: () => Promise<readonly T[]>): Promise<DnsAnswer<T>> {
  try {
    const records = await query();
    return records.length > 0 ? { kind: "found", records } : { kind: "noData" };
  } catch (error) {
    // Every failure of a query is an answer here: STYLE §6, an outcome is a value.
    return { kind: answerOfCode(error instanceof Error && "code" in error ? error.code : "") };
  }
}

function answerOfCode(code: unknown): "notFound" | "noData" | "tryAgain" | "failed" {
  switch (code) {
    case dns.NOTFOUND:
      return "notFound";
    case dns.NODATA:
      return "noData";
    case dns.BADNAME:
    case dns.BADQUERY:
    case dns.REFUSED:
    case dns.NOTIMP:
    case "ERR_INVALID_ARG_VALUE":
      return "failed";
    default:
      return "tryAgain";
  }
}
