/**
 * Which TLS policy holds for a next hop: an entry of smtp_tls_policy_maps, else the domain's MTA-STS policy where those
 * are asked for, else smtp_tls_security_level.
 *
 * A table's key is the next hop as it is written, with brackets and port; a plain domain is also looked up by its
 * parents, each with a leading dot. An entry that can't be used stops mail for its next hop (4.7.5) and is logged.
 *
 * MTA-STS: mode enforce means level secure, MX hosts of the policy only, the certificate of the MX host's own name, and
 * that name asked for (SNI). Mode testing means level may at least, and log lines of what would have been refused.
 *
 * Source: postconf(5) smtp_tls_policy_maps; RFC 8461 §4, §5.
 */
import { openTables } from "@postmq/tables";
import type { Tables } from "@postmq/tables";
import { PostmqError, enhancedStatus } from "@postmq/vocabulary";

import { parseNexthopList } from "../servers/nexthop.ts";
import { MtaStsPolicies } from "./mta-sts.ts";
import type { StsLibrary, StsPolicy, StsResolver } from "./mta-sts.ts";
import { parsePolicyEntry } from "./policy-entry.ts";
import type { PolicyEntry } from "./policy-entry.ts";
import { SecureContexts } from "./secure-contexts.ts";
import { isMandatory, sitePolicy } from "./site-policy.ts";
import { reportOnly } from "./sts-testing.ts";
import { TlsFiles, UnusableTlsFile } from "./tls-files.ts";
import type { TlsPolicies, TlsPolicy, TlsTrouble } from "./tls-policy.ts";
import type { TlsSettings } from "./tls-settings.ts";

export type TlsPolicyParts = {
  readonly resolver: StsResolver;
  readonly onWarning: (text: string) => void;
  readonly onInfo: (text: string) => void;
  readonly nowMs?: () => number;
  /** Default: mailauth, loaded when it is wanted. */
  readonly stsLibrary?: StsLibrary;
  /** How long mail waits for the first look at a domain; default 5 000. */
  readonly stsPatienceMs?: number;
};

/**
 * undefined: TLS is nowhere asked for.
 *
 * @throws PMQ_TABLE_UNREADABLE, PMQ_CONFIG_INVALID for files and settings that can't be used
 */
export async function openTlsPolicies(
  settings: TlsSettings,
  parts: TlsPolicyParts,
): Promise<TlsPolicies | undefined> {
  if (isNowhereAsked(settings)) return undefined;
  const parameterName = "smtp_tls_policy_maps";
  const tables = await openTables(settings.policyTables, {
    parameterName,
    onWarning: parts.onWarning,
  });
  const mtaSts = settings.asksMtaSts
    ? new MtaStsPolicies(parts.stsLibrary ?? (await import("mailauth/lib/mta-sts.js")), {
        ...parts,
        allowsPrivate: settings.allowsPrivate,
        ...(parts.stsPatienceMs === undefined ? {} : { patienceMs: parts.stsPatienceMs }),
      })
    : undefined;
  return new ConfiguredPolicies({ settings, parts, tables, mtaSts });
}

function isNowhereAsked(settings: TlsSettings): boolean {
  const { level, policyTables, asksMtaSts, startsWithTls } = settings;
  return level === "none" && policyTables.length === 0 && !asksMtaSts && !startsWithTls;
}

type Configured = {
  readonly settings: TlsSettings;
  readonly parts: TlsPolicyParts;
  readonly tables: Tables;
  readonly mtaSts: MtaStsPolicies | undefined;
};

/** What a policy was made from, so that it is made anew when that changes. */
type Made = { readonly source: string; readonly policy: TlsPolicy };

const mostPolicies = 5_000;

class ConfiguredPolicies implements TlsPolicies {
  readonly #configured: Configured;
  readonly #contexts: SecureContexts;
  readonly #usual: PolicyEntry;
  readonly #made = new Map<string, Made>();
  /** Where one policy holds for all: no names in it, no tables, no MTA-STS. */
  readonly #only: Promise<TlsPolicy> | undefined;

  constructor(configured: Configured) {
    const { settings, parts, tables, mtaSts } = configured;
    this.#configured = configured;
    this.#contexts = new SecureContexts(new TlsFiles(parts), settings.client, parts);
    this.#usual = { level: settings.level };
    const hasOthers = !tables.isEmpty || mtaSts !== undefined;
    if (settings.startsWithTls && !isMandatory(settings.level) && !hasOthers)
      throw configError("smtp_tls_wrappermode needs smtp_tls_security_level encrypt or above");
    this.#checkFiles();
    const isOnly =
      !hasOthers &&
      settings.servername !== "nexthop" &&
      ["none", "may", "encrypt"].includes(settings.level);
    const policy = isOnly ? this.#make("", this.#usual) : undefined;
    if (policy !== undefined && !("kind" in policy)) this.#only = Promise.resolve(policy);
  }

  policyFor(nexthop: string): Promise<TlsPolicy | TlsTrouble> {
    return this.#only ?? this.#find(nexthop);
  }

  async #find(nexthop: string): Promise<TlsPolicy | TlsTrouble> {
    const written = this.#lookup(nexthop);
    if (written !== undefined) return this.#fromTable(nexthop, written);
    const sts = await this.#stsOf(nexthop);
    if (sts !== undefined) return this.#fromSts(nexthop, sts);
    return this.#remembered(nexthop, "usual", () => this.#make(hostOf(nexthop), this.#usual));
  }

  /** Only where MX hosts are looked up; at which port they are asked is the operator's affair. */
  async #stsOf(nexthop: string): Promise<StsPolicy | undefined> {
    const { mtaSts } = this.#configured;
    if (mtaSts === undefined) return undefined;
    const [hop] = parseNexthopList(nexthop) ?? [];
    return hop === undefined || hop.isLiteral ? undefined : await mtaSts.policyFor(hop.host);
  }

  #lookup(nexthop: string): string | undefined {
    const { tables } = this.#configured;
    const found = tables.lookup(nexthop);
    if (found !== undefined || !isPlainDomain(nexthop)) return found;
    const parents = nexthop.split(".").slice(1);
    for (const at of parents.keys()) {
      const value = tables.lookup(`.${parents.slice(at).join(".")}`);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  #fromTable(nexthop: string, written: string): TlsPolicy | TlsTrouble {
    return this.#remembered(nexthop, `table ${written}`, () => {
      const entry = parsePolicyEntry(written);
      if ("problem" in entry) return this.#trouble(nexthop, entry.problem);
      return this.#make(hostOf(nexthop), entry, nexthop);
    });
  }

  #fromSts(nexthop: string, sts: StsPolicy): TlsPolicy | TlsTrouble {
    return this.#remembered(nexthop, `sts ${sts.mode} ${sts.id}`, () => {
      const { settings, contexts } = { ...this.#configured, contexts: this.#contexts };
      const nexthopHost = hostOf(nexthop);
      const strict = { level: "secure", match: ["hostname"], servername: "hostname" } as const;
      const enforced = this.#guarded(nexthop, () =>
        sitePolicy({ settings, contexts, nexthop: nexthopHost, entry: strict, mxConstraint: sts }),
      );
      if (sts.mode === "enforce" || "kind" in enforced) return enforced;
      const level = isMandatory(settings.level) ? settings.level : "may";
      const actual = this.#make(nexthopHost, { level });
      return "kind" in actual
        ? actual
        : reportOnly(actual, enforced, {
            domain: sts.domain,
            onInfo: this.#configured.parts.onInfo,
          });
    });
  }

  #make(nexthopHost: string, entry: PolicyEntry, written = nexthopHost): TlsPolicy | TlsTrouble {
    const { settings } = this.#configured;
    const contexts = this.#contexts;
    return this.#guarded(written, () =>
      sitePolicy({ settings, contexts, nexthop: nexthopHost, entry }),
    );
  }

  /** A policy that can't be used becomes trouble. */
  #guarded(nexthop: string, make: () => ReturnType<typeof sitePolicy>): TlsPolicy | TlsTrouble {
    try {
      const made = make();
      return "problem" in made ? this.#trouble(nexthop, made.problem) : made;
    } catch (error) {
      if (!(error instanceof UnusableTlsFile)) throw error;
      return this.#trouble(nexthop, error.message);
    }
  }

  #trouble(nexthop: string, problem: string): TlsTrouble {
    this.#configured.parts.onWarning(`TLS policy for ${nexthop}: ${problem}`);
    const status = enhancedStatus("4.7.5");
    return { kind: "trouble", status, reason: "client TLS configuration problem" };
  }

  /** Trouble is not remembered: what is wrong may be mended. */
  #remembered(
    nexthop: string,
    source: string,
    make: () => TlsPolicy | TlsTrouble,
  ): TlsPolicy | TlsTrouble {
    const known = this.#made.get(nexthop);
    if (known?.source === source) return known.policy;
    const policy = make();
    if ("kind" in policy) return policy;
    if (this.#made.size >= mostPolicies) this.#made.clear();
    this.#made.set(nexthop, { source, policy });
    return policy;
  }

  /** At start a file that can't be used is the operator's to mend. */
  #checkFiles(): void {
    const { settings } = this.#configured;
    try {
      const entry = { level: "encrypt" } as const;
      const made = sitePolicy({ settings, contexts: this.#contexts, nexthop: "", entry });
      if ("problem" in made) throw configError(made.problem);
    } catch (error) {
      if (!(error instanceof UnusableTlsFile)) throw error;
      throw configError(error.message, error);
    }
  }
}

function configError(problem: string, cause?: unknown): PostmqError {
  return new PostmqError("PMQ_CONFIG_INVALID", `TLS of delivery: ${problem}`, { cause });
}

/** A recipient's domain, or one that is written like it: no brackets, no port. */
function isPlainDomain(nexthop: string): boolean {
  return /^[^[\]:\s,]+$/.test(nexthop);
}

function hostOf(nexthop: string): string {
  return parseNexthopList(nexthop)?.[0]?.host ?? "";
}
