/**
 * Which versions of TLS may be spoken, as Postfix writes it: `>=TLSv1.2, <=TLSv1.3`, `!SSLv3 !TLSv1`, or `TLSv1.2 TLSv1.3`.
 *
 * OpenSSL takes a lowest and a highest version, so what lies above a gap is not spoken, as in Postfix.
 *
 * Source: postconf(5) smtp_tls_protocols; Postfix src/tls/tls_misc.c tls_proto_mask_lims.
 */
import type { SecureVersion } from "node:tls";

/** Oldest first. Those before TLSv1 can't be spoken any more. */
const versions = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;
const oldestSpoken = versions.indexOf("TLSv1");

export type ProtocolRange = { readonly min: SecureVersion; readonly max: SecureVersion };

/** undefined: malformed, or nothing is left. */
export function parseProtocols(text: string): ProtocolRange | undefined {
  const items = text.split(/[\s,:]+/).filter((item) => item !== "");
  let lowest = oldestSpoken;
  let highest = versions.length - 1;
  const excluded = new Set<number>();
  const included = new Set<number>();
  for (const item of items) {
    const match = /^(>=|<=|!)?(.+)$/.exec(item);
    const at = versionAt(match?.[2] ?? "", match?.[1] ?? "");
    if (at === undefined) return undefined;
    if (match?.[1] === ">=") lowest = Math.max(lowest, at);
    else if (match?.[1] === "<=") highest = Math.min(highest, at);
    else (match?.[1] === "!" ? excluded : included).add(at);
  }
  const isSpoken = (at: number) =>
    at <= highest && !excluded.has(at) && (included.size === 0 || included.has(at));
  while (lowest <= highest && !isSpoken(lowest)) lowest += 1;
  let top = lowest;
  while (isSpoken(top + 1)) top += 1;
  const [min, max] = [spoken(lowest), spoken(top)];
  return lowest > highest || min === undefined || max === undefined ? undefined : { min, max };
}

/** Numbers such as 0303 stand for versions in bounds only. */
function versionAt(name: string, operator: string): number | undefined {
  const number = /^0?x?0?30([0-4])$/i.exec(name)?.[1];
  if (number !== undefined) return /[<>]/.test(operator) ? Number(number) + 1 : undefined;
  const plain = name.toLowerCase() === "tlsv1.0" ? "tlsv1" : name.toLowerCase();
  const at = versions.findIndex((version) => version.toLowerCase() === plain);
  return at < 0 ? undefined : at;
}

function spoken(at: number): SecureVersion | undefined {
  const version = versions[at];
  return version === "SSLv2" || version === "SSLv3" ? undefined : version;
}
