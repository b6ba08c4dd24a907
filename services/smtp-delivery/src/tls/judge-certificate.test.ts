import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { TlsOptions } from "node:tls";

import { testCertificates } from "@postmq/testing";

import { judged, openPolicies, shownVerdict, usable } from "./tls.test-support.ts";

const nexthop = "example.com";
const mxHost = "mx.example.com";
let directory = "";
let authority = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "postmq-tls-"));
  authority = join(directory, "authority.pem");
  writeFileSync(authority, testCertificates().authority);
});
after(() => rmSync(directory, { recursive: true }));

async function verdict(
  env: Readonly<Record<string, string>>,
  server: TlsOptions,
  where: { readonly nexthop?: string; readonly mxHost?: string } = {},
): Promise<string> {
  const policies = await openPolicies({ smtp_tls_CAfile: authority, ...env });
  const policy = usable(await policies.policyFor(where.nexthop ?? nexthop));
  return shownVerdict((await judged(policy, server, where.mxHost ?? mxHost)).verdict);
}

const level = (name: string) => ({ smtp_tls_security_level: name });
const make = testCertificates;
const good = () => make().make({ names: [mxHost] });

describe("a certificate at level may or encrypt", () => {
  it("D24 is taken whatever it is, and the log says what it was worth", async () => {
    assert.equal(await verdict(level("may"), good()), "accepted Trusted");
    const stranger = make().make({ names: [mxHost], issuer: "stranger" });
    assert.equal(await verdict(level("may"), stranger), "accepted Untrusted");
    const expired = make().make({ isExpired: true });
    assert.equal(await verdict(level("encrypt"), expired), "accepted Untrusted");
    const wrongName = make().make({ names: ["other.example"] });
    assert.equal(await verdict(level("encrypt"), wrongName), "accepted Trusted");
  });

  it("D24 may be none at all", async () => {
    const anonymous = {
      ciphers: "ADH-AES256-GCM-SHA384:@SECLEVEL=0",
      maxVersion: "TLSv1.2",
    } as const;
    const dhparam = "auto";
    assert.equal(await verdict(level("may"), { ...anonymous, dhparam }), "accepted Anonymous");
    await assert.rejects(verdict(level("secure"), { ...anonymous, dhparam }));
  });
});

describe("a certificate at level verify", () => {
  it("D22 must have a trusted chain", async () => {
    const names = [mxHost];
    assert.equal(await verdict(level("verify"), good()), "accepted Verified");
    assert.equal(
      await verdict(level("verify"), make().make({ names, issuer: "self" })),
      "refused Untrusted 4.7.5 self-signed certificate",
    );
    assert.equal(
      await verdict(level("verify"), make().make({ names, issuer: "stranger" })),
      "refused Untrusted 4.7.5 untrusted issuer /CN=nobody's authority",
    );
    assert.equal(
      await verdict(level("verify"), make().make({ names, isExpired: true })),
      "refused Untrusted 4.7.5 certificate has expired",
    );
  });

  it("D22 must show the MX host's name, whatever the next hop's is", async () => {
    const mismatch = "refused Trusted 4.7.5 hostname mismatch";
    assert.equal(await verdict(level("verify"), make().make({ names: [nexthop] })), mismatch);
    const wildcard = make().make({ names: ["*.example.com"] });
    assert.equal(await verdict(level("verify"), wildcard), "accepted Verified");
    assert.equal(
      await verdict(level("verify"), wildcard, { mxHost: "a.mx.example.com" }),
      mismatch,
    );
    const partial = make().make({ names: ["m*.example.com", "mx.*.com"] });
    assert.equal(await verdict(level("verify"), partial), mismatch);
  });

  it("D22 counts its common name only if it has no other names", async () => {
    const commonName = mxHost;
    assert.equal(await verdict(level("verify"), make().make({ commonName })), "accepted Verified");
    assert.equal(
      await verdict(level("verify"), make().make({ commonName, names: ["other.example"] })),
      "refused Trusted 4.7.5 hostname mismatch",
    );
  });

  it("D22 can't cut its name short with a NUL", async () => {
    const names = ["mx.example.com\0.evil.example"];
    assert.match(await verdict(level("verify"), make().make({ names })), /^refused/);
    const commonName = "mx.example.com\0.evil.example";
    assert.match(await verdict(level("verify"), make().make({ commonName })), /^refused/);
  });

  it("D22 is compared as an address for a server without a name, and in A-labels", async () => {
    const byAddress = make().make({ addresses: ["192.0.2.1"] });
    const address = { nexthop: "[192.0.2.1]", mxHost: "192.0.2.1" };
    assert.equal(await verdict(level("verify"), byAddress, address), "accepted Verified");
    const asName = make().make({ names: ["192.0.2.1"] });
    assert.match(await verdict(level("verify"), asName, address), /^refused Trusted/);
    const idn = make().make({ names: ["mx.xn--bcher-kva.example"] });
    const host = { mxHost: "mx.bücher.example" };
    assert.equal(await verdict(level("verify"), idn, host), "accepted Verified");
  });

  it("D22 has no longer chain than smtp_tls_scert_verifydepth", async () => {
    const deep = { ...level("verify"), smtp_tls_scert_verifydepth: "0" };
    assert.equal(
      await verdict(deep, good()),
      "refused Trusted 4.7.5 certificate chain longer than limit(0)",
    );
    const enough = { ...level("verify"), smtp_tls_scert_verifydepth: "1" };
    assert.equal(await verdict(enough, good()), "accepted Verified");
  });

  it("D22 is compared with Node's own authorities when neither a file nor a directory is named", async () => {
    const none = { ...level("verify"), smtp_tls_CAfile: "" };
    assert.match(await verdict(none, good()), /untrusted issuer/);
  });
});

describe("a certificate at level secure", () => {
  it("D22 must show the next hop's name or one below it, whatever DNS says of its MX hosts", async () => {
    const ok = "accepted Verified";
    assert.equal(await verdict(level("secure"), make().make({ names: [nexthop] })), ok);
    assert.equal(await verdict(level("secure"), good()), ok);
    const elsewhere = make().make({ names: ["mx.evil.example"] });
    assert.equal(
      await verdict(level("secure"), elsewhere, { mxHost: "mx.evil.example" }),
      "refused Trusted 4.7.5 hostname mismatch",
    );
    const bracketed = { nexthop: "[example.com]:587" };
    assert.equal(await verdict(level("secure"), make().make({ names: [nexthop] }), bracketed), ok);
    const suffix = make().make({ names: ["notexample.com"] });
    assert.match(await verdict(level("secure"), suffix), /hostname mismatch/);
  });

  it("takes the names that smtp_tls_secure_cert_match gives", async () => {
    const env = { ...level("secure"), smtp_tls_secure_cert_match: ".relays.example:other.example" };
    const names = (name: string) => make().make({ names: [name] });
    assert.equal(await verdict(env, names("other.example")), "accepted Verified");
    assert.equal(await verdict(env, names("a.b.relays.example")), "accepted Verified");
    assert.match(await verdict(env, names("relays.example")), /hostname mismatch/);
    assert.match(await verdict(env, names(nexthop)), /hostname mismatch/);
  });
});

describe("a certificate at level fingerprint", () => {
  const hexOf = (bytes: Buffer) =>
    createHash("sha256").update(bytes).digest("hex").toUpperCase().match(/../g)?.join(":") ?? "";

  it("D22 is taken by its own digest or its key's, whoever signed it and however old", async () => {
    const certificate = make().make({ issuer: "self", isExpired: true });
    const x509 = new X509Certificate(certificate.cert);
    const key = x509.publicKey.export({ type: "spki", format: "der" });
    for (const print of [hexOf(x509.raw), hexOf(key), hexOf(key).replaceAll(":", "")]) {
      const env = { ...level("fingerprint"), smtp_tls_fingerprint_cert_match: print };
      assert.equal(await verdict(env, certificate), "accepted Verified");
    }
    const other = {
      ...level("fingerprint"),
      smtp_tls_fingerprint_cert_match: hexOf(Buffer.from("x")),
    };
    assert.equal(
      await verdict(other, good()),
      "refused Untrusted 4.7.5 not trusted by local policy",
    );
  });
});
