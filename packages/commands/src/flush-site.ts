/**
 * Sites as `postqueue -s` takes them: what one looks like, and which may be flushed.
 *
 * Source: postqueue(1) -s; Postfix src/util/valid_hostname.c, src/global/valid_mailhost_addr.c, flush_clnt.c.
 */
import { isIPv4, isIPv6 } from "node:net";

import { isInList } from "./match-list.ts";

const longestName = 255;
const label = /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

/** Whether it is a domain, or an address literal in brackets. A name of digits and dots alone is neither. */
export function isSite(text: string): boolean {
  if (text.startsWith("[")) return isAddressLiteral(text);
  return (
    text.length <= longestName &&
    !/^[\d.]*$/.test(text) &&
    text.split(".").every((part) => label.test(part))
  );
}

function isAddressLiteral(text: string): boolean {
  const address = /^\[(.*)\]$/.exec(text)?.[1] ?? "";
  const v6 = /^ipv6:(.*)$/i.exec(address)?.[1];
  return v6 === undefined ? isIPv4(address) : isIPv6(v6);
}

/**
 * Whether a site is one of fast_flush_domains, or below one.
 *
 * Source: postconf(5) fast_flush_domains, parent_domain_matches_subdomains.
 */
export function isFlushable(site: string, fastFlushDomains: readonly string[]): boolean {
  const name = site.toLowerCase();
  return isInList({ parameter: "fast_flush_domains", items: fastFlushDomains }, (pattern) => {
    const domain = pattern.toLowerCase();
    return name === domain || (!domain.startsWith(".") && name.endsWith(`.${domain}`));
  });
}
