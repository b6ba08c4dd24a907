import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { describe, it } from "node:test";

import { FakeSmtpServer, testCertificates } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";
import { mailCommand, parseOffers } from "./mail-commands.ts";
import { requireTlsRefusal } from "./require-tls.ts";
import type { TlsFacts } from "./tls-facts.ts";
import { cipherBits } from "./tls-facts.ts";

const server = { host: "mx", address: "192.0.2.1", port: 25 };
const under = (trust: TlsFacts["trust"]): TlsFacts => ({
  level: "verify",
  trust,
  protocol: "TLSv1.3",
  cipher: "TLS_AES_256_GCM_SHA384",
  bits: 256,
});
const offering = parseOffers(["REQUIRETLS"]);

describe("REQUIRETLS", () => {
  it("is met by a verified server that offers it", () => {
    const session = { server, tls: under("Verified"), offers: offering };
    assert.equal(requireTlsRefusal(session), undefined);
  });

  it("RFC 8689 bounces with 5.7.30 without TLS, and without the offer", () => {
    const plain = requireTlsRefusal({ server, tls: undefined, offers: offering });
    assert.equal(plain?.status, "5.7.30");
    assert.equal(plain.isPermanent, true);
    const offersNothing = { server, tls: under("Verified"), offers: parseOffers([]) };
    assert.equal(requireTlsRefusal(offersNothing)?.status, "5.7.30");
  });

  it("bounces with 5.7.10 where the server has not proven its name", () => {
    for (const trust of ["Anonymous", "Untrusted", "Trusted"] as const) {
      const refusal = requireTlsRefusal({ server, tls: under(trust), offers: offering });
      assert.equal(refusal?.status, "5.7.10");
      assert.match(refusal.reason, /^Sender requested REQUIRETLS, but no (?:trusted|matching) /);
    }
  });

  it("is said with MAIL where the sender asked for it", () => {
    const envelope = { sender: "a@example.com", origin: "smtp" } as const;
    const facts = { sizeBytes: 1, needsSmtputf8: false };
    const asked = mailCommand({ ...facts, envelope: { ...envelope, requireTls: true } }, offering);
    assert.equal(asked, "MAIL FROM:<a@example.com> REQUIRETLS");
    assert.equal(mailCommand({ ...facts, envelope }, offering), "MAIL FROM:<a@example.com>");
  });
});

describe("mail that asks for REQUIRETLS", () => {
  const { cert, key } = testCertificates().make();
  const known = {
    POSTMQ_SMTP_TLS_SECURITY_LEVEL: "fingerprint",
    POSTMQ_SMTP_TLS_FINGERPRINT_CERT_MATCH: new X509Certificate(cert).fingerprint256,
  };
  const envelope = { sender: "a@example.com", origin: "smtp", requireTls: true } as const;

  it("goes on to a server that meets it", async () => {
    await using first = await FakeSmtpServer.start({ tls: { cert, key }, keywords: [] });
    await using second = await FakeSmtpServer.start({
      tls: { cert, key },
      keywords: ["REQUIRETLS"],
    });
    await using test = await startWorker(known);
    const nexthop = `${first.relayhost}, ${second.relayhost}`;
    await test.serve(request(1, nexthop, { envelope }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 sent 2.0.0"]);
    assert.deepEqual([first.messages.length, second.messages.length], [0, 1]);
    assert.equal(second.messages[0]?.mailParameters, "REQUIRETLS");
  });

  it("bounces when no server is left", async () => {
    await using first = await FakeSmtpServer.start({ tls: { cert, key }, keywords: [] });
    await using second = await FakeSmtpServer.start({ tls: { cert, key }, keywords: [] });
    await using test = await startWorker(known);
    const nexthop = `${first.relayhost}, ${second.relayhost}`;
    await test.serve(request(1, nexthop, { envelope }));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 failed 5.7.30"]);
    assert.deepEqual([first.totalConnections, second.totalConnections], [1, 1]);
  });
});

describe("the bits of a cipher", () => {
  it("D24 are in its name", () => {
    const bits = {
      TLS_AES_128_GCM_SHA256: 128,
      "ECDHE-RSA-AES256-GCM-SHA384": 256,
      "ECDHE-RSA-CHACHA20-POLY1305": 256,
      "DES-CBC3-SHA": 168,
      "ECDHE-ARIA128-GCM-SHA256": 128,
      UNHEARD_OF: 0,
    };
    for (const [cipher, expected] of Object.entries(bits))
      assert.equal(cipherBits(cipher), expected);
  });
});
