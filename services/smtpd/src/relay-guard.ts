/**
 * Who may send to where: keeps the server from relaying for strangers.
 *
 * A trusted client (mynetworks) may send anywhere. Everybody may send to an authorised destination: a domain of
 * relay_domains or mydestination, or below one of relay_domains, unless the address carries routing of the sender's
 * (`user%other@here`, `"user@other"@here`, `other!user@here`), which a next hop might follow.
 *
 * Source: spec V22; security.md 4; postconf(5) smtpd_relay_restrictions, parent_domain_matches_subdomains.
 */
import { addressDomain } from "@postmq/mail-format";

import type { Reply } from "./reply.ts";
import { printable } from "./reply.ts";

export type RelayPolicy = {
  /** smtpd_relay_restrictions, in order; config refuses a list without a guard. */
  readonly restrictions: readonly string[];
  readonly relayDomains: readonly string[];
  readonly mydestination: readonly string[];
  /** Completes an address that has no domain (V5). */
  readonly myorigin: string;
};

export type RelayGuard = {
  /** @returns the reply that refuses the recipient, or undefined when it may be sent to. */
  refuse(recipient: string, isTrustedClient: boolean): Reply | undefined;
};

export function makeRelayGuard(policy: RelayPolicy): RelayGuard {
  const relayDomains = new Set(policy.relayDomains.map((domain) => domain.toLowerCase()));
  const ownDomains = new Set(policy.mydestination.map((domain) => domain.toLowerCase()));

  const isAuthorised = (recipient: string): boolean => {
    const domain = (addressDomain(recipient) ?? policy.myorigin).toLowerCase();
    if (!ownDomains.has(domain) && !isWithin(relayDomains, domain)) return false;
    return !hasSenderRouting(recipient);
  };

  return {
    refuse(recipient, isTrustedClient) {
      for (const restriction of policy.restrictions) {
        const shown = `<${printable(recipient)}>`;
        switch (restriction) {
          case "permit_mynetworks":
            if (isTrustedClient) return undefined;
            break;
          case "permit_auth_destination":
            if (isAuthorised(recipient)) return undefined;
            break;
          case "defer_unauth_destination":
            if (!isAuthorised(recipient)) return `454 4.7.1 ${shown}: Relay access denied`;
            break;
          case "reject_unauth_destination":
            if (!isAuthorised(recipient)) return `554 5.7.1 ${shown}: Relay access denied`;
            break;
          case "defer":
            return `450 4.7.1 ${shown}: Recipient address rejected: Try again later`;
          case "reject":
            return `554 5.7.1 ${shown}: Recipient address rejected: Access denied`;
        }
      }
      return undefined;
    },
  };
}

/** The domain itself or any parent of it is listed. */
function isWithin(domains: ReadonlySet<string>, domain: string): boolean {
  if (domains.size === 0) return false;
  for (let rest = domain; ; rest = rest.slice(rest.indexOf(".") + 1)) {
    if (domains.has(rest)) return true;
    if (!rest.includes(".")) return false;
  }
}

/** Source: Postfix src/trivial-rewrite/resolve.c RESOLVE_FLAG_ROUTED. */
function hasSenderRouting(recipient: string): boolean {
  const at = recipient.lastIndexOf("@");
  return /[@%!]/.test(at < 0 ? recipient : recipient.slice(0, at));
}
