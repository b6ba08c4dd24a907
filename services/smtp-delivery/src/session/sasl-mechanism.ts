/**
 * Which SASL mechanism is used with a server: the best that it offers, that we speak, and that the rules allow.
 *
 * Source: spec delivery.md §5 "SASL"; postconf(5) smtp_sasl_security_options, smtp_sasl_mechanism_filter.
 */

/** Those we speak, the best first. XOAUTH2 is last: its password is a token, and no other mechanism can use that. */
export const saslMechanisms = ["CRAM-MD5", "PLAIN", "LOGIN", "XOAUTH2"] as const;
export type SaslMechanism = (typeof saslMechanisms)[number];

/** What a mechanism has of what smtp_sasl_security_options may ask for, as Cyrus SASL declares it. */
const properties: Readonly<Record<SaslMechanism, readonly string[]>> = {
  "CRAM-MD5": ["noanonymous", "noplaintext"],
  PLAIN: ["noanonymous"],
  LOGIN: ["noanonymous"],
  XOAUTH2: ["noanonymous"],
};

/** How far the connection is protected. verified: under TLS, and the server has proven its name. */
export type SaslProtection = "plain" | "tls" | "verified";

export type SaslRules = {
  /** What a mechanism must have, by the connection's protection; in lower case. */
  readonly options: Readonly<Record<SaslProtection, readonly string[]>>;
  /** smtp_sasl_mechanism_filter, in lower case; empty: all. */
  readonly filter: readonly string[];
};

/**
 * @param offered the parameters of AUTH in the EHLO reply
 * @returns undefined: none in common
 */
export function chooseMechanism(
  offered: string,
  rules: SaslRules,
  protection: SaslProtection,
): SaslMechanism | undefined {
  const names = new Set(offered.toUpperCase().split(/\s+/));
  const required = rules.options[protection];
  return saslMechanisms.find(
    (mechanism) =>
      names.has(mechanism) &&
      passesFilter(mechanism, rules.filter) &&
      required.every((property) => properties[mechanism].includes(property)),
  );
}

/** As in Postfix's match lists: the first item that fits decides; no item fits: no. */
function passesFilter(mechanism: string, filter: readonly string[]): boolean {
  if (filter.length === 0) return true;
  for (const item of filter) {
    const isExcluded = item.startsWith("!");
    const name = isExcluded ? item.slice(1) : item;
    if (name.startsWith("static:") || name === mechanism.toLowerCase()) return !isExcluded;
  }
  return false;
}
