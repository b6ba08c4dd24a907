/**
 * Which names may be asked of DNS, and be believed when DNS tells them.
 *
 * Source: Postfix src/util/valid_hostname.c; RFC 1123 §2.1; RFC 6761 §6.3.
 */

const longestName = 253;

/** Letters, digits, hyphens inside labels, and underscores, which people use; never digits and dots alone. */
export function isHostName(name: string): boolean {
  return (
    name.length <= longestName &&
    /^(?!-)[\w-]{1,63}(?<!-)(?:\.(?!-)[\w-]{1,63}(?<!-))*$/.test(name) &&
    !/^[\d.]+$/.test(name)
  );
}

/** Names of this machine, which DNS is never asked for. */
export function isLocalhost(name: string): boolean {
  return /^(?:.+\.)?localhost\.?$/i.test(name);
}
