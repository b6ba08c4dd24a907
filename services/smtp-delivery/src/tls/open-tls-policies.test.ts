import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { testCertificates } from "@postmq/testing";

import { judged, openPolicies, settingsOf, shownVerdict, usable } from "./tls.test-support.ts";

let directory = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "postmq-tls-"));
});
after(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe("the level of a next hop", () => {
  it("is none unless something says otherwise", async () => {
    const policies = await openPolicies({});
    assert.equal(usable(await policies.policyFor("example.com")).level, "none");
  });

  it("comes from smtp_tls_policy_maps by the next hop as written, then by its parents", async () => {
    const policies = await openPolicies({
      smtp_tls_security_level: "may",
      smtp_tls_policy_maps:
        "inline:{{example.com = encrypt},{.example.com = verify},{[relay.example.com]:587 = secure},{com = none}," +
        "{.example.com:25 = none},{.example.com] = none}}",
    });
    const levelOf = async (nexthop: string) => usable(await policies.policyFor(nexthop)).level;
    assert.equal(await levelOf("example.com"), "encrypt");
    assert.equal(await levelOf("EXAMPLE.com"), "encrypt");
    assert.equal(await levelOf("a.b.example.com"), "verify");
    assert.equal(await levelOf("[relay.example.com]:587"), "secure");
    assert.equal(await levelOf("[relay.example.com]"), "may");
    assert.equal(await levelOf("a.example.com:25"), "may");
    assert.equal(await levelOf("[a.example.com]"), "may");
    assert.equal(await levelOf("other.com"), "may");
  });

  it("D22 is trouble where an entry can't be understood, until it is mended", async () => {
    const table = file("policy", "example.com secure match=\n");
    const policies = await openPolicies({ smtp_tls_policy_maps: `texthash:${table}` });
    const trouble = await policies.policyFor("example.com");
    assert.deepEqual(trouble, {
      kind: "trouble",
      status: "4.7.5",
      reason: "client TLS configuration problem",
    });
    assert.match(policies.warnings.join(), /TLS policy for example\.com: attribute "match"/);
    assert.equal(usable(await policies.policyFor("example.net")).level, "none");
  });

  it("D22 is trouble where an entry names a file that is not there, wants no protocol, or no fingerprint", async () => {
    const policies = await openPolicies({
      smtp_tls_policy_maps:
        "inline:{{a.example = secure tafile=/nowhere.pem},{b.example = encrypt protocols=TLSv9}," +
        "{c.example = fingerprint},{d.example = encrypt exclude=+RC4}}",
    });
    for (const nexthop of ["a.example", "b.example", "c.example", "d.example"])
      assert.ok("kind" in (await policies.policyFor(nexthop)), nexthop);
    assert.equal(policies.warnings.length, 4);
  });

  it("D22 is trouble below encrypt where TLS comes first, and refused at start where it is so for all", async () => {
    const wrapped = { smtp_tls_wrappermode: "yes" };
    await assert.rejects(
      openPolicies({ ...wrapped, smtp_tls_security_level: "may" }),
      /smtp_tls_wrappermode needs smtp_tls_security_level encrypt/,
    );
    const policies = await openPolicies({
      ...wrapped,
      smtp_tls_security_level: "encrypt",
      smtp_tls_policy_maps: "inline:{{weak.example = may}}",
    });
    assert.ok("kind" in (await policies.policyFor("weak.example")));
    assert.equal(usable(await policies.policyFor("example.com")).startsWithTls, true);
  });
});

describe("the key of a policy", () => {
  it("D27 differs where sessions were judged differently", async () => {
    const policies = await openPolicies({
      smtp_tls_security_level: "may",
      smtp_tls_policy_maps:
        "inline:{{a.example = secure},{b.example = secure},{c.example = may ciphers=high}}",
    });
    const keyOf = async (nexthop: string) => usable(await policies.policyFor(nexthop)).key;
    assert.notEqual(await keyOf("a.example"), await keyOf("b.example"));
    assert.notEqual(await keyOf("c.example"), await keyOf("d.example"));
    assert.equal(await keyOf("d.example"), await keyOf("e.example"));
  });
});

describe("what a session is asked for", () => {
  const certificate = () => testCertificates().make({ names: ["mx.example.com"] });
  const session = async (
    env: Readonly<Record<string, string>>,
    nexthop = "example.com",
    mxHost = "mx.example.com",
  ) => {
    const policies = await openPolicies({ smtp_tls_security_level: "may", ...env });
    return await judged(usable(await policies.policyFor(nexthop)), certificate(), mxHost);
  };

  it("is no name, or the one of smtp_tls_servername", async () => {
    assert.equal((await session({})).facts?.servername, undefined);
    const named = (name: string) => ({ smtp_tls_servername: name });
    assert.equal((await session(named("hostname"))).facts?.servername, "mx.example.com");
    assert.equal(
      (await session(named("nexthop"), "[b.example]:25")).facts?.servername,
      "b.example",
    );
    assert.equal((await session(named("fixed.example"))).facts?.servername, "fixed.example");
    assert.equal((await session(named("hostname"), "x", "192.0.2.1")).facts?.servername, undefined);
  });

  it("is the protocols and ciphers of the level or of the entry", async () => {
    const old = { smtp_tls_protocols: "<=TLSv1.2", smtp_tls_mandatory_protocols: ">=TLSv1.3" };
    assert.equal((await session(old)).facts?.protocol, "TLSv1.2");
    const mandatory = { ...old, smtp_tls_security_level: "encrypt" };
    assert.equal((await session(mandatory)).facts?.protocol, "TLSv1.3");
    const exclude = { ...old, smtp_tls_exclude_ciphers: "aRSA AES256, AESGCM" };
    await assert.rejects(session(exclude));
    const entry = {
      smtp_tls_policy_maps: "inline:{{example.com = encrypt protocols=TLSv1.2 exclude=AESGCM}}",
    };
    const { facts } = await session(entry);
    assert.equal(facts?.protocol, "TLSv1.2");
    assert.doesNotMatch(facts?.cipher ?? "", /GCM/);
  });

  it("speaks TLSv1 with a server that knows nothing newer, where that is allowed", async () => {
    const policies = await openPolicies({
      smtp_tls_security_level: "may",
      smtp_tls_protocols: ">=TLSv1",
    });
    const policy = usable(await policies.policyFor("example.com"));
    const server = {
      ...certificate(),
      maxVersion: "TLSv1",
      minVersion: "TLSv1",
      ciphers: "ALL:@SECLEVEL=0",
    } as const;
    assert.equal((await judged(policy, server)).facts?.protocol, "TLSv1");
  });

  it("shows our own certificate when the server wants one", async () => {
    const own = testCertificates().make({ commonName: "client.example.com" });
    const cert = file("client.pem", own.cert + own.key);
    const policies = await openPolicies({
      smtp_tls_security_level: "encrypt",
      smtp_tls_cert_file: cert,
    });
    const policy = usable(await policies.policyFor("example.com"));
    const asking = { ...certificate(), requestCert: true, rejectUnauthorized: false };
    assert.equal((await judged(policy, asking)).facts?.clientName, "client.example.com");
  });
});

describe("trust in a server", () => {
  const good = () => testCertificates().make({ names: ["mx.example.com"] });

  it("can hang on the anchors that an entry names, and on nothing else then", async () => {
    const anchor = file("anchor.pem", testCertificates().authority);
    const stranger = testCertificates().make({ names: ["mx.example.com"], issuer: "stranger" });
    const policies = await openPolicies({
      smtp_tls_policy_maps: `inline:{{example.com = secure tafile=${anchor}}}`,
    });
    const policy = usable(await policies.policyFor("example.com"));
    assert.equal(shownVerdict((await judged(policy, good())).verdict), "accepted Verified");
    assert.match(shownVerdict((await judged(policy, stranger)).verdict), /^refused/);
  });

  it("can hang on an anchor that is no root: the server's own certificate, whoever signed it", async () => {
    const stranger = testCertificates().make({ names: ["mx.example.com"], issuer: "stranger" });
    const anchor = file("own-anchor.pem", stranger.cert);
    const policies = await openPolicies({
      smtp_tls_policy_maps: `inline:{{example.com = secure tafile=${anchor}}}`,
    });
    const policy = usable(await policies.policyFor("example.com"));
    assert.equal(shownVerdict((await judged(policy, stranger)).verdict), "accepted Verified");
  });

  it("can hang on a directory", async () => {
    const path = mkdtempSync(join(directory, "certs-"));
    writeFileSync(join(path, "readme"), "no certificate");
    writeFileSync(join(path, "a.crt"), testCertificates().authority);
    const policies = await openPolicies({
      smtp_tls_security_level: "verify",
      smtp_tls_CApath: path,
    });
    const policy = usable(await policies.policyFor("example.com"));
    assert.equal(shownVerdict((await judged(policy, good())).verdict), "accepted Verified");
  });

  it("follows a file that changes, and keeps its last content when it is spoilt", async () => {
    const path = file("changing.pem", testCertificates().make({ issuer: "self" }).cert);
    let nowMs = 0;
    const policies = await openPolicies(
      { smtp_tls_security_level: "verify", smtp_tls_CAfile: path },
      { nowMs: () => nowMs },
    );
    const verdict = async () => {
      nowMs += 2_000;
      const policy = usable(await policies.policyFor("example.com"));
      return shownVerdict((await judged(policy, good())).verdict);
    };
    assert.match(await verdict(), /^refused/);
    writeFileSync(path, testCertificates().authority);
    assert.equal(await verdict(), "accepted Verified");
    writeFileSync(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert.equal(await verdict(), "accepted Verified");
    rmSync(path);
    assert.equal(await verdict(), "accepted Verified");
    assert.equal(policies.warnings.length, 1);
    assert.match(policies.warnings.join(), /changing\.pem.*its last content still counts/);
  });

  it("keeps our old certificate until the key of the new one is there", async () => {
    const old = testCertificates().make({ commonName: "old" });
    const cert = file("own-cert.pem", old.cert);
    const key = file("own-key.pem", old.key);
    let nowMs = 0;
    const policies = await openPolicies(
      { smtp_tls_security_level: "may", smtp_tls_cert_file: cert, smtp_tls_key_file: key },
      { nowMs: () => nowMs },
    );
    const policy = usable(await policies.policyFor("example.com"));
    writeFileSync(cert, testCertificates().authority);
    nowMs += 2_000;
    assert.ok(policy.connectOptions("mx.example.com").secureContext);
    assert.match(policies.warnings.join(), /own-cert\.pem can't be used: .*still counts/);
    assert.doesNotMatch(policies.warnings.join(), /PRIVATE KEY/);
  });

  it("is refused at start when a file of the parameters is not there or is not a certificate", async () => {
    const level = { smtp_tls_security_level: "may" };
    const missing = openPolicies({ ...level, smtp_tls_CAfile: "/nowhere.pem" });
    await assert.rejects(missing, { code: "PMQ_CONFIG_INVALID", message: /\/nowhere\.pem/ });
    const empty = openPolicies({ ...level, smtp_tls_CAfile: file("empty.pem", "nothing\n") });
    await assert.rejects(empty, /there is no certificate in it/);
    const noKey = file("nokey.pem", testCertificates().authority);
    await assert.rejects(openPolicies({ ...level, smtp_tls_cert_file: noKey }), {
      code: "PMQ_CONFIG_INVALID",
    });
  });
});

describe("tlsSettings", () => {
  it("refuses protocols and ciphers that leave nothing to speak", () => {
    assert.throws(() => settingsOf({ smtp_tls_protocols: ">=TLSv1.3, <=TLSv1.2" }), {
      code: "PMQ_CONFIG_INVALID",
    });
    assert.throws(() => settingsOf({ smtp_tls_exclude_ciphers: "!MD5" }), {
      code: "PMQ_CONFIG_INVALID",
    });
  });
});
