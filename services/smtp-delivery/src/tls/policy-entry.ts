/**
 * One result of smtp_tls_policy_maps: `level name=value ...`.
 *
 * What is malformed stops mail, since a policy that is half understood may be weaker than what was meant.
 *
 * Source: postconf(5) smtp_tls_policy_maps; Postfix src/smtp/smtp_tls_policy.c tls_policy_lookup_one.
 */
import { cipherGrades } from "./cipher-list.ts";
import type { CipherGrade } from "./cipher-list.ts";
import { tlsLevels } from "./tls-policy.ts";
import type { TlsLevel } from "./tls-policy.ts";

export type PolicyEntry = {
  readonly level: TlsLevel;
  readonly protocols?: string;
  readonly ciphers?: CipherGrade;
  readonly exclude?: readonly string[];
  readonly servername?: string;
  /** Names, strategies or, at level fingerprint, fingerprints. */
  readonly match?: readonly string[];
  readonly trustFiles?: readonly string[];
  readonly mayReuse?: boolean;
};

export type MalformedEntry = { readonly problem: string };

export function parsePolicyEntry(text: string): PolicyEntry | MalformedEntry {
  const [word = "", ...attributes] = text.split(/[\s,]+/).filter((item) => item !== "");
  const level = tlsLevels.find((known) => known === word.toLowerCase());
  if (level === undefined)
    return { problem: word === "" ? "invalid empty policy" : `invalid security level "${word}"` };
  // Without TLS nothing of the rest means anything.
  if (level === "none") return { level };
  let entry: PolicyEntry = { level };
  for (const attribute of attributes) {
    const split = /^([^=]+)=(.*)$/.exec(attribute);
    if (split === null) return { problem: `malformed attribute/value pair "${attribute}"` };
    const [, name = "", value = ""] = split;
    const read = readAttribute(entry, name.toLowerCase(), value);
    if ("problem" in read) return read;
    entry = { ...entry, ...read };
  }
  return entry;
}

/** What an attribute adds to an entry. */
function readAttribute(
  entry: PolicyEntry,
  name: string,
  value: string,
): Partial<PolicyEntry> | MalformedEntry {
  const problem = (what: string) => ({ problem: `attribute "${name}" ${what}` });
  switch (name) {
    case "match":
      return value === "" ? problem("has empty value") : readMatch(entry, value);
    case "tafile":
      if (value === "") return problem("has empty value");
      if (!hasNames(entry.level)) return problem(`invalid at security level "${entry.level}"`);
      return { trustFiles: [...(entry.trustFiles ?? []), value] };
    case "ciphers": {
      const grade = cipherGrades.find((known) => known === value.toLowerCase());
      if (grade === undefined) return problem(`has no such grade: "${value}"`);
      return entry.ciphers === undefined ? { ciphers: grade } : problem(twice);
    }
    case "protocols":
      return entry.protocols === undefined ? { protocols: value } : problem(twice);
    case "exclude":
      if (entry.exclude !== undefined) return problem(twice);
      return { exclude: value.split(":").filter((item) => item !== "") };
    case "servername":
      if (entry.servername !== undefined) return problem(twice);
      return /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(value)
        ? { servername: value }
        : problem(`specifies an invalid hostname "${value}"`);
    case "connection_reuse":
      return /^(?:yes|no)$/i.test(value)
        ? { mayReuse: value.toLowerCase() === "yes" }
        : problem(`has bad value: "${value}"`);
    default:
      return { problem: `invalid attribute name: "${name}"` };
  }
}

const twice = "is specified multiple times";

function readMatch(entry: PolicyEntry, value: string): Partial<PolicyEntry> | MalformedEntry {
  if (entry.level !== "fingerprint" && !hasNames(entry.level))
    return { problem: `attribute "match" invalid at security level "${entry.level}"` };
  // A fingerprint has colons between its digits.
  const items = value.split(entry.level === "fingerprint" ? "|" : ":");
  return { match: [...(entry.match ?? []), ...items.filter((item) => item !== "")] };
}

function hasNames(level: TlsLevel): boolean {
  return level === "verify" || level === "secure";
}
