/** The parameters of TLS in delivery, read and checked in one place. Source: postconf(5) smtp_tls_*. */
import type { Parameters } from "@postmq/config";
import { PostmqError } from "@postmq/vocabulary";

import { cipherList } from "./cipher-list.ts";
import type { CipherGrade } from "./cipher-list.ts";
import { parseProtocols } from "./protocol-range.ts";
import type { ProtocolRange } from "./protocol-range.ts";
import type { ClientCertificate } from "./secure-contexts.ts";
import { tlsLevels } from "./tls-policy.ts";
import type { TlsLevel } from "./tls-policy.ts";

export type TlsSettings = {
  /** Where no table and no MTA-STS policy says. */
  readonly level: TlsLevel;
  /** smtp_tls_policy_maps. */
  readonly policyTables: readonly string[];
  readonly asksMtaSts: boolean;
  readonly optional: CipherSettings;
  readonly mandatory: CipherSettings;
  /** Files and directories of authorities' certificates. */
  readonly authorityPaths: readonly string[];
  readonly appendsDefaultAuthorities: boolean;
  readonly client: ClientCertificate;
  readonly verifyMatch: readonly string[];
  readonly secureMatch: readonly string[];
  readonly fingerprints: readonly string[];
  readonly fingerprintDigest: string;
  /** Empty: no name is sent. */
  readonly servername: string;
  readonly mayReuse: boolean;
  readonly startsWithTls: boolean;
  readonly maxChainDepth: number;
  /** Each session is logged (D24). */
  readonly logsSessions: boolean;
  readonly allowsPrivate: boolean;
};

/** What holds at level may, or above it, unless a policy says otherwise. */
export type CipherSettings = {
  readonly protocols: ProtocolRange;
  readonly grade: CipherGrade;
  readonly exclude: readonly string[];
};

/** @throws PMQ_CONFIG_INVALID */
export function tlsSettings(parameters: Parameters): TlsSettings {
  const excluded = parameters.smtp_tls_exclude_ciphers;
  return {
    level: tlsLevels.find((level) => level === parameters.smtp_tls_security_level) ?? "none",
    policyTables: parameters.smtp_tls_policy_maps,
    asksMtaSts: parameters.smtp_tls_mta_sts,
    optional: {
      protocols: protocolsOf(parameters, "smtp_tls_protocols"),
      grade: parameters.smtp_tls_ciphers,
      exclude: checkedExclusions(excluded, "smtp_tls_exclude_ciphers"),
    },
    mandatory: {
      protocols: protocolsOf(parameters, "smtp_tls_mandatory_protocols"),
      grade: parameters.smtp_tls_mandatory_ciphers,
      exclude: [
        ...excluded,
        ...checkedExclusions(
          parameters.smtp_tls_mandatory_exclude_ciphers,
          "smtp_tls_mandatory_exclude_ciphers",
        ),
      ],
    },
    authorityPaths: [parameters.smtp_tls_CAfile, parameters.smtp_tls_CApath].filter(
      (path) => path !== "",
    ),
    appendsDefaultAuthorities: parameters.tls_append_default_CA,
    client: { certFile: parameters.smtp_tls_cert_file, keyFile: parameters.smtp_tls_key_file },
    verifyMatch: splitMatch(parameters.smtp_tls_verify_cert_match),
    secureMatch: splitMatch(parameters.smtp_tls_secure_cert_match),
    fingerprints: parameters.smtp_tls_fingerprint_cert_match,
    fingerprintDigest: parameters.smtp_tls_fingerprint_digest,
    servername: parameters.smtp_tls_servername,
    mayReuse: parameters.smtp_tls_connection_reuse,
    startsWithTls: parameters.smtp_tls_wrappermode,
    maxChainDepth: parameters.smtp_tls_scert_verifydepth,
    logsSessions: parameters.smtp_tls_loglevel > 0,
    allowsPrivate: parameters.smtp_allow_private_addresses,
  };
}

function splitMatch(text: string): readonly string[] {
  return text.split(/[\s,:]+/).filter((pattern) => pattern !== "");
}

function protocolsOf(
  parameters: Parameters,
  name: "smtp_tls_protocols" | "smtp_tls_mandatory_protocols",
): ProtocolRange {
  const range = parseProtocols(parameters[name]);
  if (range === undefined) throw invalid(name, `"${parameters[name]}" leaves no protocol to speak`);
  return range;
}

function checkedExclusions(names: readonly string[], parameter: string): readonly string[] {
  if (cipherList("medium", names, true) === undefined)
    throw invalid(parameter, "a cipher in it begins with an operator");
  return names;
}

function invalid(parameter: string, problem: string): PostmqError {
  return new PostmqError("PMQ_CONFIG_INVALID", `parameter ${parameter}: ${problem}`, {
    facts: { parameter },
  });
}
