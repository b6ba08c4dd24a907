/**
 * One-to-one maps of addresses: smtp_generic_maps, and what canonical maps will be.
 *
 * Looked up, in this order, each in all tables before the next: the address as it is, the address without its extension
 * (`recipient_delimiter`), the local part alone with and without extension where the domain is ours, `@domain`. A result
 * `@domain` keeps the local part; a bare result gets `myorigin`. An extension that was taken off to find something comes
 * back only if asked for. Each address is looked up once.
 *
 * Source: spec R9, R10, R11, rewriting-and-checks.md §2; generic(5), canonical(5); Postfix src/global/mail_addr_map.c.
 */
import { addressDomain, parseAddress } from "@postmq/mail-format";

export type AddressMapSettings = {
  /** Open tables: patterns are held against whole addresses only. */
  readonly tables: {
    lookup(key: string): string | undefined;
    lookupPart(key: string): string | undefined;
  };
  readonly myorigin: string;
  /** Domains whose addresses are looked up by their local part too. */
  readonly ownDomains: readonly string[];
  /** Any of these characters begins an extension; empty: there are none. */
  readonly recipientDelimiter: string;
  /** propagate_unmatched_extensions names this map. */
  readonly propagatesExtension: boolean;
};

type Split = {
  readonly local: string;
  /** The local part without its extension; undefined: it has none. */
  readonly base?: string;
  readonly extension: string;
  readonly domain: string;
};

/** @returns the new address; the address itself when nothing is found, or nothing that is an address. */
export function mapAddress(address: string, settings: AddressMapSettings): string {
  if (address === "") return address;
  const found = find(split(address, settings), settings);
  return found === undefined ? address : (parseAddress(found) ?? address);
}

function find(address: Split, settings: AddressMapSettings): string | undefined {
  const { tables, myorigin, ownDomains } = settings;
  const { local, base, extension, domain } = address;
  const isOwn = ownDomains.some((own) => own.toLowerCase() === domain.toLowerCase());
  const withBase = base === undefined ? [] : [base];
  const keys = [
    ...[local, ...withBase].map((part) => ({ key: `${part}@${domain}`, part })),
    ...(isOwn ? [local, ...withBase].map((part) => ({ key: part, part })) : []),
    { key: `@${domain}`, part: local },
  ];
  for (const [at, { key, part }] of keys.entries()) {
    const result = at === 0 ? tables.lookup(key) : tables.lookupPart(key);
    if (result === undefined) continue;
    if (result.startsWith("@")) return `${part}${result}`;
    const whole = addressDomain(result) === undefined ? `${result}@${myorigin}` : result;
    if (part === local || !settings.propagatesExtension) return whole;
    const localEnd = whole.lastIndexOf("@");
    return `${whole.slice(0, localEnd)}${extension}${whole.slice(localEnd)}`;
  }
  return undefined;
}

function split(address: string, { myorigin, recipientDelimiter }: AddressMapSettings): Split {
  const domain = addressDomain(address);
  const local = domain === undefined ? address : address.slice(0, -domain.length - 1);
  const end = extensionStart(local, recipientDelimiter);
  return {
    local,
    ...(end === undefined ? {} : { base: local.slice(0, end) }),
    extension: end === undefined ? "" : local.slice(end),
    domain: domain ?? myorigin,
  };
}

/** Not in quoted local parts, nor at the very start. */
function extensionStart(local: string, delimiters: string): number | undefined {
  if (local.startsWith('"')) return undefined;
  const places = [...delimiters].map((one) => local.indexOf(one, 1)).filter((place) => place > 0);
  return places.length === 0 ? undefined : Math.min(...places);
}
