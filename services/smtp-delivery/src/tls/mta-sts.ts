/**
 * MTA-STS policies of domains, found by mailauth and kept in this process.
 *
 * A domain's policy is looked for when mail for it is about to go, and again every ten minutes (the record in DNS tells
 * whether it changed; the policy itself lives as long as its max_age). Only the first look at a domain makes mail wait, and
 * for a few seconds at most: a domain whose policy can't be had in that time is one without, as RFC 8461 §5 says. A
 * policy that is known and alive goes on to count when DNS or its web server fail.
 *
 * mailauth connects to the address that our resolver gives and follows no redirect, so private addresses that are
 * taken out of the answers can't be reached (security.md 10).
 *
 * Source: RFC 8461 §3, §5; mailauth 7.1.0 lib/mta-sts.js.
 */
import { isIP } from "node:net";
import { domainToASCII } from "node:url";

import type { DnsAnswer, MailResolver } from "@postmq/dns";
import type { DNSResolver, MTASTSPolicy, MTASTSPolicyResult } from "mailauth";
import type { MTASTSOptions } from "mailauth/lib/mta-sts.js";

import { isPrivateAddress } from "../servers/private-address.ts";

/** What is asked of DNS here. */
export type StsResolver = Pick<MailResolver, "txt" | "addresses">;

export type StsPolicy = {
  readonly mode: "enforce" | "testing" | "none";
  readonly domain: string;
  readonly id: string;
  allows(mxHost: string): boolean;
};

/** mailauth's functions, which are loaded only where they are wanted. */
export type StsLibrary = {
  getPolicy(
    domain: string,
    known: MTASTSPolicy | null,
    options: MTASTSOptions,
  ): Promise<MTASTSPolicyResult>;
  validateMx(mxHost: string, policy: MTASTSPolicy): { readonly valid: boolean };
};

export type StsOptions = {
  readonly resolver: StsResolver;
  readonly allowsPrivate: boolean;
  readonly onWarning: (text: string) => void;
  readonly nowMs?: () => number;
  /** How long mail waits for the first look; default 5 000. */
  readonly patienceMs?: number;
};

const recheckMs = 600_000;
const fetchTimeoutMs = 4_000;
const mostDomains = 10_000;

type Known = {
  /** As mailauth gave it; null: nothing yet. */
  policy: MTASTSPolicy | null;
  lookedAtMs: number;
  looking: Promise<void> | undefined;
};

export class MtaStsPolicies {
  readonly #library: StsLibrary;
  readonly #options: StsOptions;
  readonly #nowMs: () => number;
  readonly #domains = new Map<string, Known>();

  constructor(library: StsLibrary, options: StsOptions) {
    this.#library = library;
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** undefined: the domain has none. @param name a domain, in any case and form; others have no policy */
  async policyFor(name: string): Promise<StsPolicy | undefined> {
    const domain = domainToASCII(name.replace(/\.$/, ""));
    if (!domain.includes(".") || isIP(domain) !== 0) return undefined;
    const known = this.#known(domain);
    if (this.#nowMs() - known.lookedAtMs >= recheckMs) known.looking ??= this.#look(domain, known);
    if (known.policy === null && known.looking !== undefined)
      await this.#withPatience(known.looking, domain);
    return this.#usable(known.policy, domain);
  }

  #known(domain: string): Known {
    const known = this.#domains.get(domain) ?? {
      policy: null,
      lookedAtMs: -Infinity,
      looking: undefined,
    };
    // The one that was asked for last goes last: the first is forgotten when there are too many.
    this.#domains.delete(domain);
    this.#domains.set(domain, known);
    const [oldest] = this.#domains.keys();
    if (this.#domains.size > mostDomains && oldest !== undefined) this.#domains.delete(oldest);
    return known;
  }

  async #look(domain: string, known: Known): Promise<void> {
    const startedMs = this.#nowMs();
    try {
      const { policy } = await this.#library.getPolicy(domain, known.policy, {
        strict: true,
        timeout: fetchTimeoutMs,
        resolver: stsResolver(this.#options),
      });
      known.policy = policy;
      const problem = errorOf(policy);
      if (problem !== undefined) this.#warn(domain, problem);
    } catch (error) {
      // What a domain publishes must not end the process, whatever it does to the library.
      this.#warn(domain, String(error));
    }
    known.lookedAtMs = startedMs;
    known.looking = undefined;
  }

  #warn(domain: string, problem: string): void {
    this.#options.onWarning(`MTA-STS policy of ${domain} can't be had: ${problem}`);
  }

  async #withPatience(looking: Promise<void>, domain: string): Promise<void> {
    const { patienceMs = 5_000, onWarning } = this.#options;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      onWarning(`MTA-STS policy of ${domain} can't be had in time: this mail goes without`);
      late.resolve();
    }, patienceMs);
    await Promise.race([looking, late.promise]);
    clearTimeout(timer);
  }

  #usable(policy: MTASTSPolicy | null, domain: string): StsPolicy | undefined {
    if (policy === null || policy.mode === "none" || typeof policy.id !== "string")
      return undefined;
    const expiresMs = new Date(policy.expires ?? 0).getTime();
    if (!(expiresMs > this.#nowMs())) return undefined;
    const allows = (mxHost: string) => this.#library.validateMx(mxHost, policy).valid;
    return { mode: policy.mode, domain, id: policy.id, allows };
  }
}

/** Failures come as a field of the policy that counts in spite of them. */
function errorOf(policy: MTASTSPolicy): string | undefined {
  if (!("error" in policy)) return undefined;
  const { error } = policy;
  return error instanceof Error ? error.message : String(error);
}

/** Our resolver as mailauth wants it: answers as node:dns gives them, and its error codes. */
function stsResolver({ resolver, allowsPrivate }: StsOptions): DNSResolver {
  return async (name, type) => {
    if (type === "TXT") return recordsOf(await resolver.txt(name)).map((text) => [text]);
    const addresses = recordsOf(await resolver.addresses(name, type === "A" ? 4 : 6));
    const open = addresses.filter((address) => allowsPrivate || !isPrivateAddress(address));
    if (open.length === 0) throw new Error(`${name} has a private address`);
    return open;
  };
}

function recordsOf(answer: DnsAnswer<string>): readonly string[] {
  switch (answer.kind) {
    case "found":
      return answer.records;
    case "notFound":
      throw Object.assign(new Error("no such name"), { code: "ENOTFOUND" });
    case "noData":
      throw Object.assign(new Error("no such records"), { code: "ENODATA" });
    default:
      throw new Error(`DNS gives no answer (${answer.kind})`);
  }
}
