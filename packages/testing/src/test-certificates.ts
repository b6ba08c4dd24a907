/**
 * Certificates for tests, made when they are asked for: an authority of the test process's own, and server and client
 * certificates of every kind that a delivery can meet. No key is ever written to the repository.
 *
 * Keys take long to make, so a process has three: the authority's, a stranger's, and one for all certificates.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";

import forge from "node-forge";

/** As PEM, for node:tls and for files. */
export type TestCertificate = { readonly cert: string; readonly key: string };

export type CertificateWishes = {
  /** dNSName entries. Default none. */
  readonly names?: readonly string[];
  /** iPAddress entries. Default none. */
  readonly addresses?: readonly string[];
  /** Default "test". */
  readonly commonName?: string;
  /** authority: what a client that trusts `authority` accepts. stranger: signed by nobody it knows. */
  readonly issuer?: "authority" | "stranger" | "self";
  /** Its time was over yesterday. */
  readonly isExpired?: boolean;
};

export class TestCertificates {
  readonly #authority = makeAuthority("postmq test authority");
  readonly #stranger = makeAuthority("nobody's authority");
  readonly #keys = makeKeys();

  /** The authority's certificate as PEM: what a client is to trust. */
  get authority(): string {
    return forge.pki.certificateToPem(this.#authority.certificate);
  }

  make(wishes: CertificateWishes = {}): TestCertificate {
    const { names = [], addresses = [], commonName = "test", issuer = "authority" } = wishes;
    const subject = [{ name: "commonName", value: commonName }];
    const certificate = draft(this.#keys.publicKey, subject, wishes.isExpired === true);
    const altNames = [
      ...names.map((value) => ({ type: 2, value })),
      ...addresses.map((ip) => ({ type: 7, ip })),
    ];
    certificate.setExtensions([
      { name: "basicConstraints", cA: false },
      ...(altNames.length === 0 ? [] : [{ name: "subjectAltName", altNames }]),
    ]);
    const signer = issuer === "authority" ? this.#authority : this.#stranger;
    certificate.setIssuer(issuer === "self" ? subject : signer.certificate.subject.attributes);
    const signingKey = issuer === "self" ? this.#keys.privateKey : signer.privateKey;
    certificate.sign(signingKey, forge.md.sha256.create());
    return {
      cert: forge.pki.certificateToPem(certificate),
      key: forge.pki.privateKeyToPem(this.#keys.privateKey),
    };
  }
}

let shared: TestCertificates | undefined;

/** Those of this process, made at the first call. */
export function testCertificates(): TestCertificates {
  shared ??= new TestCertificates();
  return shared;
}

type Keys = {
  readonly publicKey: forge.pki.rsa.PublicKey;
  readonly privateKey: forge.pki.rsa.PrivateKey;
};

/** node:crypto makes them far faster than forge does. */
function makeKeys(): Keys {
  const pem = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return {
    publicKey: forge.pki.publicKeyFromPem(pem.publicKey),
    privateKey: forge.pki.privateKeyFromPem(pem.privateKey),
  };
}

function makeAuthority(commonName: string) {
  const { publicKey, privateKey } = makeKeys();
  const subject = [{ name: "commonName", value: commonName }];
  const certificate = draft(publicKey, subject, false);
  certificate.setIssuer(subject);
  certificate.setExtensions([
    { name: "basicConstraints", cA: true, critical: true },
    { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
  ]);
  certificate.sign(privateKey, forge.md.sha256.create());
  return { certificate, privateKey };
}

const dayMs = 86_400_000;

function draft(
  publicKey: forge.pki.rsa.PublicKey,
  subject: forge.pki.CertificateField[],
  isExpired: boolean,
): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicKey;
  certificate.serialNumber = `01${randomBytes(8).toString("hex")}`;
  certificate.validity.notBefore = new Date(Date.now() - 30 * dayMs);
  certificate.validity.notAfter = new Date(Date.now() + (isExpired ? -1 : 30) * dayMs);
  certificate.setSubject(subject);
  return certificate;
}
