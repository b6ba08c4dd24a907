/**
 * Whether a certificate shows one of the names that a policy wants.
 *
 * OpenSSL compares, as it does for Postfix: dNSName entries, the common name only if there are none, a wildcard only as
 * the whole left-most label; a name with a NUL in it matches nothing. A name that begins with a dot matches every name
 * below it. An address is looked for among iPAddress entries.
 *
 * Source: postconf(5) smtp_tls_verify_cert_match; Postfix src/tls/tls_client.c add_namechecks; RFC 6125 §6.4;
 * X509_check_host(3).
 */
import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { domainToASCII } from "node:url";

export type WantedNames = {
  /** As in smtp_tls_secure_cert_match: hostname, nexthop, dot-nexthop, a name, .domain. */
  readonly patterns: readonly string[];
  /** Without brackets and port. */
  readonly nexthop: string;
  readonly mxHost: string;
  /** Default true. */
  readonly takesCommonName?: boolean;
};

export function showsWantedName(certificate: X509Certificate, wanted: WantedNames): boolean {
  const names = wanted.patterns.map((pattern) => nameOf(pattern, wanted));
  return names.some((name) => name !== "" && shows(certificate, name, wanted));
}

/** In A-labels and without a last dot; empty: nothing can match. */
function nameOf(pattern: string, { nexthop, mxHost }: WantedNames): string {
  switch (pattern.toLowerCase()) {
    case "hostname":
      return asciiName(mxHost);
    case "nexthop":
      return asciiName(nexthop);
    case "dot-nexthop":
      return below(asciiName(nexthop));
    default:
      return pattern.startsWith(".") ? below(asciiName(pattern.slice(1))) : asciiName(pattern);
  }
}

function asciiName(name: string): string {
  if (isIP(name) !== 0) return name;
  const bare = name.replace(/\.$/, "");
  // domainToASCII refuses an underscore here and there; what is ASCII needs no help.
  return /^[\x21-\x7e]*$/.test(bare) ? bare.toLowerCase() : domainToASCII(bare);
}

function below(name: string): string {
  return name === "" || isIP(name) !== 0 ? "" : `.${name}`;
}

function shows(certificate: X509Certificate, name: string, wanted: WantedNames): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  const found = certificate.checkHost(name, {
    subject: wanted.takesCommonName === false ? "never" : "default",
    wildcards: true,
    partialWildcards: false,
    multiLabelWildcards: false,
    singleLabelSubdomains: false,
  });
  return found !== undefined;
}
