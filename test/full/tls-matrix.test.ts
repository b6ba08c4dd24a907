/**
 * Fault 35: every level of TLS against every kind of server, through the running daemons, and OpenSSL's own server as a
 * peer that is not Node.
 *
 * Each pair of a level and a server has a domain of its own, with an MX host. Mail that waits is tried again at least
 * once, so that what must not go does not go later either.
 *
 * Source: spec D22, D23, D24; delivery.md §5; security.md 13.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { FakeDnsServer, FakeSmtpServer, startPostmq, testCertificates } from "@postmq/testing";
import { sendMail, waitFor } from "@postmq/testing";
import type { FakeSmtpOptions, PostmqSystem } from "@postmq/testing";

import { OpensslPeer } from "../support/openssl-peer.ts";

const levels = ["may", "encrypt", "verify", "secure"] as const;
const peerNames = ["no-tls", "self-signed", "wrong-name", "good", "no-handshake"] as const;
type PeerName = (typeof peerNames)[number];

const delivered = "delivered over TLS";
const inPlain = "delivered in plain";
const noTls = "deferred 4.7.4";
const unverified = "deferred 4.7.5";

/** In the order of `peerNames`. */
const expected = {
  may: [inPlain, delivered, delivered, delivered, "deferred 4.7.5, delivered in plain"],
  encrypt: [noTls, delivered, delivered, delivered, unverified],
  verify: [noTls, unverified, unverified, delivered, unverified],
  secure: [noTls, unverified, unverified, delivered, unverified],
} as const;

const domainOf = (level: string, peer: string) => `${peer}.${level}.example`;

function peerOptions(peer: PeerName): FakeSmtpOptions {
  const names = levels.flatMap((level) => [domainOf(level, peer), `mx.${domainOf(level, peer)}`]);
  const make = testCertificates();
  switch (peer) {
    case "no-tls":
      return {};
    case "self-signed":
      return { tls: make.make({ names, issuer: "self" }) };
    case "wrong-name":
      return { tls: make.make({ names: ["elsewhere.example"] }) };
    case "good":
      return { tls: make.make({ names }) };
    case "no-handshake":
      return {
        tls: make.make({ names }),
        decide: ({ stage }) => (stage === "tls" ? { reply: "500 what is this?" } : undefined),
      };
  }
}

type Pair = {
  readonly level: (typeof levels)[number];
  readonly peer: PeerName;
  readonly domain: string;
  readonly server: FakeSmtpServer;
};

/** As transport_maps and smtp_tls_policy_maps want it. */
function inline(entries: readonly string[]): string {
  return `inline:{${entries.map((entry) => `{${entry}}`).join(", ")}}`;
}

/** `status dsn` of each attempt for a domain. */
function attemptsFor(system: PostmqSystem, domain: string): readonly string[] {
  const lines = system.logs.matchAll(/ to=<[^>]*@([^>]*)>, .*dsn=([\d.]+), status=(\w+)/g);
  return [...lines]
    .filter(([, at]) => at === domain)
    .map(([, , dsn = "", status = ""]) => `${status} ${dsn}`);
}

function outcomeOf({ domain, server }: Pair, system: PostmqSystem): string {
  const [received, ...more] = server.accepted.filter(({ recipients }) =>
    recipients.every((recipient) => recipient.endsWith(`@${domain}`)),
  );
  assert.deepEqual(more, []);
  const waited = attemptsFor(system, domain).filter((attempt) => attempt.startsWith("deferred"));
  const kinds = [...new Set(waited)];
  if (received !== undefined) kinds.push(received.tls === undefined ? inPlain : delivered);
  return kinds.join(", ");
}

let directory = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "postmq-tls-"));
  writeFileSync(join(directory, "authority.pem"), testCertificates().authority);
});
after(() => rmSync(directory, { recursive: true }));

describe("fault 35: TLS", () => {
  it("D22 D23 mail goes, waits, or goes in plain text after a wait, as its level says", async (context) => {
    await using stack = new AsyncDisposableStack();
    const pairs: Pair[] = [];
    for (const peer of peerNames) {
      const server = stack.use(await FakeSmtpServer.start(peerOptions(peer)));
      for (const level of levels)
        pairs.push({ level, peer, domain: domainOf(level, peer), server });
    }
    const zone = pairs.flatMap(({ domain }) => [
      [domain, [`MX 10 mx.${domain}`]],
      [`mx.${domain}`, ["A 127.0.0.1"]],
    ]);
    const dns = stack.use(await FakeDnsServer.start({ zone: Object.fromEntries(zone) }));
    const hops = pairs.map(({ domain, level, server }) => ({
      domain,
      level,
      nexthop: `${domain}:${server.port}`,
    }));
    const system = stack.use(
      await startPostmq({
        parameters: {
          dns_servers: dns.address,
          smtp_allow_private_addresses: "yes",
          transport_maps: inline(hops.map((hop) => `${hop.domain} = smtp:${hop.nexthop}`)),
          smtp_tls_policy_maps: inline(hops.map((hop) => `${hop.nexthop} = ${hop.level}`)),
          smtp_tls_CAfile: join(directory, "authority.pem"),
          smtp_tls_loglevel: "1",
          minimal_backoff_time: "2s",
          maximal_backoff_time: "2s",
          queue_run_delay: "1s",
        },
      }),
    );
    for (const { domain } of pairs) {
      const mail = {
        from: "sender@src.example",
        to: [`r@${domain}`],
        content: "Subject: x\r\n\r\n",
      };
      assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    }
    const isSettled = ({ domain }: Pair) => {
      const attempts = attemptsFor(system, domain);
      return attempts.length >= 2 || attempts.some((attempt) => attempt.startsWith("sent"));
    };
    await waitFor(() => pairs.every(isSettled), {
      describe: () =>
        pairs
          .filter((pair) => !isSettled(pair))
          .map(({ domain }) => domain)
          .join(),
    });
    for (const level of levels) {
      const row = pairs.filter((pair) => pair.level === level);
      const outcomes = row.map((pair) => outcomeOf(pair, system));
      context.diagnostic(
        `${level}: ${row.map(({ peer }, at) => `${peer} ${outcomes[at]}`).join(" | ")}`,
      );
      assert.deepEqual(outcomes, expected[level], level);
    }
    const log = system.logs;
    assert.match(log, /Verified TLS connection established to mx\.good\.secure\.example\[127/);
    assert.match(
      log,
      /certificate verification failed for mx\.self-signed\.verify\.example\[.*self-signed/,
    );
  });

  it("D22 D24 mail goes to OpenSSL's own server, TLS first, if that proves its name", async () => {
    const names = ["good.openssl.example"];
    await using good = await OpensslPeer.start(directory, testCertificates().make({ names }));
    await using old = await OpensslPeer.start(directory, testCertificates().make({ names }), [
      "-tls1_2",
    ]);
    await using bad = await OpensslPeer.start(
      directory,
      testCertificates().make({ names: ["bad.openssl.example"], issuer: "self" }),
    );
    await using dns = await FakeDnsServer.start({
      zone: {
        "good.openssl.example": ["A 127.0.0.1"],
        "bad.openssl.example": ["A 127.0.0.1"],
      },
    });
    const peers = [
      { domain: "new.example", nexthop: `[good.openssl.example]:${good.port}` },
      { domain: "old.example", nexthop: `[good.openssl.example]:${old.port}` },
      { domain: "bad.example", nexthop: `[bad.openssl.example]:${bad.port}` },
    ];
    await using system = await startPostmq({
      parameters: {
        dns_servers: dns.address,
        smtp_allow_private_addresses: "yes",
        transport_maps: inline(peers.map(({ domain, nexthop }) => `${domain} = smtp:${nexthop}`)),
        smtp_tls_security_level: "secure",
        smtp_tls_wrappermode: "yes",
        smtp_tls_CAfile: join(directory, "authority.pem"),
        smtp_tls_loglevel: "1",
      },
    });
    for (const { domain } of peers) {
      const mail = {
        from: "sender@src.example",
        to: [`r@${domain}`],
        content: "Subject: x\r\n\r\n",
      };
      await sendMail(system.smtpPort, mail);
    }
    await waitFor(() => peers.every(({ domain }) => attemptsFor(system, domain).length > 0), {
      describe: () => system.logs,
    });
    assert.deepEqual(attemptsFor(system, "new.example"), ["sent 2.0.0"]);
    assert.deepEqual(attemptsFor(system, "old.example"), ["sent 2.0.0"]);
    assert.deepEqual(attemptsFor(system, "bad.example"), ["deferred 4.7.5"]);
    assert.equal(good.messages.length, 1);
    assert.equal(old.messages.length, 1);
    assert.equal(bad.messages.length, 0);
    const established =
      /Verified TLS connection established to good\.openssl\.example\[127\.0\.0\.1\]:\d+: TLSv1/;
    assert.match(system.logs, new RegExp(`${established.source}\\.3`));
    assert.match(system.logs, new RegExp(`${established.source}\\.2`));
  });
});
