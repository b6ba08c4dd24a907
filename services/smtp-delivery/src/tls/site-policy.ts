/**
 * The TLS policy of one next hop, put together from the parameters, an entry of a table, or an MTA-STS policy.
 *
 * Source: Postfix src/smtp/smtp_tls_policy.c policy_create, set_cipher_grade; RFC 8461 §4.1, §5.
 */
import { isIP } from "node:net";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { domainToASCII } from "node:url";

import { cipherList } from "./cipher-list.ts";
import { judgeCertificate } from "./judge-certificate.ts";
import type { Demand } from "./judge-certificate.ts";
import type { PolicyEntry } from "./policy-entry.ts";
import { parseProtocols } from "./protocol-range.ts";
import type { ContextWish, SecureContexts } from "./secure-contexts.ts";
import type { TlsLevel, TlsPolicy, TlsVerdict } from "./tls-policy.ts";
import type { TlsSettings } from "./tls-settings.ts";

/** What an MTA-STS policy adds. */
export type MxConstraint = {
  readonly domain: string;
  /** Of the policy, so that sessions made under an older one are not taken for its own. */
  readonly id: string;
  allows(mxHost: string): boolean;
};

export type SiteSources = {
  readonly settings: TlsSettings;
  readonly contexts: SecureContexts;
  /** Without brackets and port. */
  readonly nexthop: string;
  readonly entry: PolicyEntry;
  readonly mxConstraint?: MxConstraint;
};

/** What is wrong with a policy, for the log. */
export type UnusablePolicy = { readonly problem: string };

/** @throws UnusableTlsFile */
export function sitePolicy(sources: SiteSources): TlsPolicy | UnusablePolicy {
  const { settings, entry } = sources;
  const { level } = entry;
  if (settings.startsWithTls && !isMandatory(level))
    return {
      problem: 'smtp_tls_wrappermode requires "smtp_tls_security_level = encrypt" (or stronger)',
    };
  if (level === "none") return plaintext;
  const wish = contextWish(sources);
  if ("problem" in wish) return wish;
  if (level === "fingerprint" && fingerprintsOf(sources).length === 0)
    return {
      problem: "configured at fingerprint security level, but with no fingerprints to match",
    };
  // Files are read now, so that a session that begins finds nothing wrong with them.
  sources.contexts.contextFor(wish);
  return new SitePolicy(sources, wish);
}

/** No TLS at all. */
export const plaintext: TlsPolicy = {
  level: "none",
  startsWithTls: false,
  mayReuse: true,
  key: "none",
  allowsHost: () => true,
  connectOptions: () => ({}),
  judge: () => ({ kind: "accepted", trust: "Anonymous" }),
};

class SitePolicy implements TlsPolicy {
  readonly level: TlsLevel;
  readonly startsWithTls: boolean;
  readonly mayReuse: boolean;
  readonly key: string;
  readonly #sources: SiteSources;
  readonly #wish: ContextWish;

  constructor(sources: SiteSources, wish: ContextWish) {
    this.level = sources.entry.level;
    this.startsWithTls = sources.settings.startsWithTls;
    this.mayReuse = sources.entry.mayReuse ?? sources.settings.mayReuse;
    this.key = keyOf(sources);
    this.#sources = sources;
    this.#wish = wish;
  }

  allowsHost(mxHost: string): boolean {
    return this.#sources.mxConstraint?.allows(mxHost) ?? true;
  }

  connectOptions(mxHost: string): ConnectionOptions {
    const servername = this.#servername(mxHost);
    return {
      secureContext: this.#sources.contexts.contextFor(this.#wish),
      rejectUnauthorized: false,
      // Names are compared in judge: a chain that can be trusted is told apart from a name that matches.
      checkServerIdentity: () => undefined,
      ...(servername === undefined ? {} : { servername }),
    };
  }

  judge(socket: TLSSocket, mxHost: string): TlsVerdict {
    return judgeCertificate(socket, this.#demand(mxHost));
  }

  /** A name as SNI wants it: in A-labels, no address. */
  #servername(mxHost: string): string | undefined {
    const { settings, entry, nexthop } = this.#sources;
    const wanted = entry.servername ?? settings.servername;
    const name = wanted === "hostname" ? mxHost : wanted === "nexthop" ? nexthop : wanted;
    const ascii = domainToASCII(name.replace(/\.$/, ""));
    return ascii === "" || isIP(name) !== 0 ? undefined : ascii;
  }

  #demand(mxHost: string): Demand {
    const { settings, entry, nexthop, mxConstraint } = this.#sources;
    switch (this.level) {
      case "none":
      case "may":
      case "encrypt":
        return { kind: "any" };
      case "fingerprint": {
        const listed = fingerprintsOf(this.#sources);
        return { kind: "fingerprint", digest: settings.fingerprintDigest, listed };
      }
      case "verify":
      case "secure": {
        const usual = this.level === "verify" ? settings.verifyMatch : settings.secureMatch;
        const patterns = entry.match ?? usual;
        // RFC 8461 §4.1 knows no common names.
        const takesCommonName = mxConstraint === undefined;
        const names = { patterns, nexthop, mxHost, takesCommonName };
        return { kind: "name", names, maxDepth: settings.maxChainDepth };
      }
    }
  }
}

export function isMandatory(level: TlsLevel): boolean {
  return level !== "none" && level !== "may";
}

function contextWish({ settings, entry }: SiteSources): ContextWish | UnusablePolicy {
  const usual = isMandatory(entry.level) ? settings.mandatory : settings.optional;
  const protocols =
    entry.protocols === undefined ? usual.protocols : parseProtocols(entry.protocols);
  if (protocols === undefined) return { problem: `invalid protocols "${entry.protocols ?? ""}"` };
  const mustMatch = isMandatory(entry.level) && entry.level !== "encrypt";
  const grade = entry.ciphers ?? usual.grade;
  const ciphers = cipherList(grade, entry.exclude ?? usual.exclude, mustMatch);
  if (ciphers === undefined) return { problem: "invalid operator in a cipher exclusion" };
  const { trustFiles = [] } = entry;
  const trust =
    trustFiles.length > 0
      ? ({ kind: "anchors", paths: trustFiles } as const)
      : ({
          kind: "authorities",
          paths: settings.authorityPaths,
          appendsDefault: settings.appendsDefaultAuthorities,
        } as const);
  return { protocols, ciphers, trust };
}

function fingerprintsOf({ settings, entry }: SiteSources): readonly string[] {
  return entry.match ?? settings.fingerprints;
}

/** What a session was judged by: the entry, the MTA-STS policy, and the next hop where names come from it. */
function keyOf({ entry, nexthop, mxConstraint }: SiteSources): string {
  const parts = [entry, isMandatory(entry.level) ? nexthop.toLowerCase() : "", mxConstraint?.id];
  return JSON.stringify(parts);
}
