/**
 * Addresses of the envelope: the parser that every address from outside passes, and the one form we keep.
 *
 * Important: everywhere in postmq an address is kept in the form that goes on the wire, without angle brackets: the
 * local part is quoted where, and only where, RFC 5321 asks for it. (Postfix keeps the unquoted form and quotes at
 * each way out.) So an address can be put between < and > as it is, and two spellings of one address compare equal,
 * `"bob"@example.com` and `bob@example.com` for example.
 *
 * More is let pass than RFC 5321 allows where Postfix is known to get mail with it: addresses without a domain (they are
 * completed later), stray dots in the local part (they get quotes), UTF-8, a dot after the domain (it is cut off),
 * underscores in domains. Never let pass: control characters, a second @ outside quotes, lengths without bound.
 *
 * Source: RFC 5321 §4.1.2, §4.5.3.1; RFC 6531 §3.3; spec V5, V6; security.md 3.
 */
import { isIPv4, isIPv6 } from "node:net";

/** Postfix's bound for one address. Source: postconf(5) virtual_alias_address_length_limit. */
const longestAddress = 1000;
const longestDomain = 255;
const longestLabel = 63;

/** C0 and C1 controls and DEL: never part of an address. */
const controlCharacters = /[\p{Cc}\u2028\u2029]/u;
const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\u00A0-\\u{10FFFF}-]+";
const dotString = new RegExp(`^${atom}(?:\\.${atom})*$`, "u");
const bareLocalPart = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u00A0-\u{10FFFF}-]+$/u;
const domainLabel =
  /^[A-Za-z0-9_\u00A0-\u{10FFFF}](?:[A-Za-z0-9_\u00A0-\u{10FFFF}-]*[A-Za-z0-9_\u00A0-\u{10FFFF}])?$/u;
const sourceRoute = /^@[^:@,\s]+(?:,@[^:@,\s]+)*:/;

/**
 * The address in a reverse-path or forward-path; the empty string for the null path `<>`.
 *
 * Angle brackets may be missing. A source route is taken off. undefined: malformed.
 *
 * Source: RFC 5321 §4.1.2, §4.1.1.3 (source routes are accepted and ignored).
 */
export function parseSmtpPath(text: string): string | undefined {
  if (text === "<>") return "";
  const isBracketed = text.startsWith("<") && text.endsWith(">");
  const inner = isBracketed ? text.slice(1, -1) : text;
  return parseAddress(inner.replace(sourceRoute, ""));
}

/** One address without angle brackets, with or without a domain, in the form we keep; undefined when malformed. */
export function parseAddress(text: string): string | undefined {
  if (text.length === 0 || text.length > longestAddress) return undefined;
  if (controlCharacters.test(text) || !text.isWellFormed()) return undefined;
  const localEnd = text.startsWith('"') ? quotedStringEnd(text) : unquotedEnd(text);
  if (localEnd === undefined) return undefined;
  const local = canonicalLocalPart(text.slice(0, localEnd));
  if (local === undefined) return undefined;
  if (localEnd === text.length) return local;
  if (text[localEnd] !== "@") return undefined;
  const domain = text.slice(localEnd + 1).replace(/\.$/, "");
  return isMailDomain(domain) ? `${local}@${domain}` : undefined;
}

/** Whether the text is a whole address: local part and domain, no angle brackets. */
export function isMailAddress(text: string): boolean {
  const address = parseAddress(text);
  return address !== undefined && addressDomain(address) !== undefined;
}

/** The domain of an address in the form we keep; undefined if it has none. */
export function addressDomain(address: string): string | undefined {
  const at = address.lastIndexOf("@");
  return at <= 0 || address.endsWith('"') ? undefined : address.slice(at + 1);
}

/** Whether the text can stand after the @: a host name or an address literal such as [192.0.2.1] or [IPv6:::1]. */
export function isMailDomain(domain: string): boolean {
  if (domain.startsWith("[")) return isAddressLiteral(domain);
  if (domain.length > longestDomain) return false;
  return domain
    .split(".")
    .every((label) => label.length <= longestLabel && domainLabel.test(label));
}

/** The form of RFC 5322 for listings and headers: quotes are put round a local part that needs them. */
export function quoteAddress(address: string): string {
  const kept = parseAddress(address);
  if (kept !== undefined || address === "") return kept ?? "";
  const at = address.lastIndexOf("@");
  const local = at < 0 ? address : address.slice(0, at);
  return `${quoteLocalPart(local)}${at < 0 ? "" : address.slice(at)}`;
}

/** The form without quotes that Postfix keeps in its files: `two words@example.com`. */
export function unquoteAddress(address: string): string {
  if (!address.startsWith('"')) return address;
  const at = address.lastIndexOf("@");
  if (at < 0) return unquoteLocalPart(address);
  return `${unquoteLocalPart(address.slice(0, at))}${address.slice(at)}`;
}

function unquotedEnd(text: string): number {
  const at = text.indexOf("@");
  return at < 0 ? text.length : at;
}

/** One past the closing quote of the quoted string that the text starts with. */
function quotedStringEnd(text: string): number | undefined {
  for (let position = 1; position < text.length; position++) {
    if (text[position] === "\\") position++;
    else if (text[position] === '"') return position + 1;
  }
  return undefined;
}

function canonicalLocalPart(local: string): string | undefined {
  if (local.startsWith('"')) return quoteLocalPart(unquoteLocalPart(local));
  return bareLocalPart.test(local) ? quoteLocalPart(local) : undefined;
}

/** What a local part says, without the quotes it may need. */
export function unquoteLocalPart(local: string): string {
  return local.startsWith('"') ? local.slice(1, -1).replaceAll(/\\(.)/gu, "$1") : local;
}

/** A local part with quotes where RFC 5321 asks for them. */
export function quoteLocalPart(plain: string): string {
  return dotString.test(plain) ? plain : `"${plain.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

function isAddressLiteral(domain: string): boolean {
  if (!domain.endsWith("]")) return false;
  const inner = domain.slice(1, -1);
  return /^ipv6:/i.test(inner)
    ? isIPv6(inner.slice("ipv6:".length)) && !inner.includes("%")
    : isIPv4(inner);
}
