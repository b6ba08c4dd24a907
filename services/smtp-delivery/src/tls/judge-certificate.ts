/**
 * What a server has proven by its certificate, and whether that is enough.
 *
 * Levels may and encrypt take any certificate and none; fingerprint takes one that is listed, whoever signed it and
 * however old; verify and secure want a chain up to a trusted authority and a wanted name. The texts are Postfix's.
 *
 * Source: spec D22, D24; Postfix src/tls/tls_client.c verify_x509, src/tls/tls_verify.c tls_log_verify_error,
 * src/tls/tls_misc.c tls_log_summary.
 */
import { createHash } from "node:crypto";
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";

import { enhancedStatus } from "@postmq/vocabulary";

import { showsWantedName } from "./certificate-names.ts";
import type { WantedNames } from "./certificate-names.ts";
import type { TlsTrust, TlsVerdict } from "./tls-policy.ts";

export type Demand =
  | { readonly kind: "any" }
  | { readonly kind: "fingerprint"; readonly digest: string; readonly listed: readonly string[] }
  | { readonly kind: "name"; readonly names: WantedNames; readonly maxDepth: number };

/** @param socket after a handshake that checked the chain but did not stop for it, and compared no name */
export function judgeCertificate(socket: TLSSocket, demand: Demand): TlsVerdict {
  const certificate = socket.getPeerX509Certificate();
  const isTrusted = certificate !== undefined && socket.authorized;
  const trust: TlsTrust =
    certificate === undefined ? "Anonymous" : isTrusted ? "Trusted" : "Untrusted";
  if (demand.kind === "any") return { kind: "accepted", trust };
  const detail =
    certificate === undefined
      ? "no certificate"
      : demand.kind === "fingerprint"
        ? fingerprintProblem(certificate, demand)
        : nameProblem(socket, certificate, demand);
  if (detail === undefined) return { kind: "accepted", trust: "Verified" };
  return {
    kind: "refused",
    // At level fingerprint no authority is trusted.
    trust: demand.kind === "fingerprint" && trust === "Trusted" ? "Untrusted" : trust,
    status: enhancedStatus("4.7.5"),
    reason: "Server certificate not verified",
    detail,
  };
}

function fingerprintProblem(
  certificate: X509Certificate,
  demand: Demand & { kind: "fingerprint" },
): string | undefined {
  const publicKey = certificate.publicKey.export({ type: "spki", format: "der" });
  const shown = [certificate.raw, publicKey].map((bytes) =>
    createHash(demand.digest).update(bytes).digest("hex"),
  );
  const isListed = demand.listed.some((one) =>
    shown.includes(one.replaceAll(":", "").toLowerCase()),
  );
  return isListed ? undefined : "not trusted by local policy";
}

function nameProblem(
  socket: TLSSocket,
  certificate: X509Certificate,
  demand: Demand & { kind: "name" },
): string | undefined {
  if (!socket.authorized) return chainProblem(socket, certificate);
  if (chainDepth(socket) > demand.maxDepth)
    return `certificate chain longer than limit(${demand.maxDepth})`;
  return showsWantedName(certificate, demand.names) ? undefined : "hostname mismatch";
}

/** Certificates above the server's own, the trusted one included. */
function chainDepth(socket: TLSSocket): number {
  let depth = 0;
  let { issuerCertificate: issuer, fingerprint256 } = socket.getPeerCertificate(true);
  while (issuer !== undefined && issuer.fingerprint256 !== fingerprint256) {
    depth += 1;
    ({ issuerCertificate: issuer, fingerprint256 } = issuer);
  }
  return depth;
}

function chainProblem(socket: TLSSocket, certificate: X509Certificate): string {
  // Node's types say Error; it is OpenSSL's code.
  const code = String(socket.authorizationError);
  switch (code) {
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
      return "self-signed certificate";
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return `untrusted issuer ${printable(certificate.issuer)}`;
    case "CERT_HAS_EXPIRED":
      return "certificate has expired";
    case "CERT_NOT_YET_VALID":
      return "certificate not yet valid";
    case "INVALID_PURPOSE":
      return "not designated for use as a server certificate";
    default:
      return code;
  }
}

/** On one line, as the server wrote it: `/C=XX/CN=name`. */
function printable(distinguishedName: string): string {
  const line = `/${distinguishedName.trim().replaceAll("\n", "/")}`;
  return line.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
}
