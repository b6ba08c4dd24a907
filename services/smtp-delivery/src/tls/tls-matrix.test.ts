/**
 * Every level of TLS against every kind of server, with real sessions: what becomes of the mail.
 *
 * Mail for example.com goes to its MX host mx.other.example, so that levels verify (the MX host's name) and secure (the
 * domain's name) part ways.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import type { MailResolver } from "@postmq/dns";
import { FakeSmtpServer, testCertificates } from "@postmq/testing";
import type { FakeSmtpOptions } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

const domain = "example.com";
const mxHost = "mx.other.example";

const resolver: MailResolver = {
  mx: async () => ({ kind: "found", records: [{ host: mxHost, preference: 10 }] }),
  addresses: async (_host, family) =>
    family === 4 ? { kind: "found", records: ["127.0.0.1"] } : { kind: "noData" },
  txt: async () => ({ kind: "notFound" }),
};

let directory = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "postmq-tls-"));
  writeFileSync(join(directory, "authority.pem"), testCertificates().authority);
});
after(() => rmSync(directory, { recursive: true }));

const servers = {
  "no TLS offered": () => ({}),
  "refuses STARTTLS": () => ({
    tls: testCertificates().make({ names: [mxHost, domain] }),
    decide: ({ stage }) => (stage === "starttls" ? { reply: "454 4.7.0 not now" } : undefined),
  }),
  "self-signed": () => ({
    tls: testCertificates().make({ names: [mxHost, domain], issuer: "self" }),
  }),
  "wrong name": () => ({ tls: testCertificates().make({ names: ["mx.evil.example"] }) }),
  "MX host's name": () => ({ tls: testCertificates().make({ names: [mxHost] }) }),
  good: () => ({ tls: testCertificates().make({ names: [mxHost, domain] }) }),
  "failing handshake": () => ({
    tls: testCertificates().make(),
    decide: ({ stage }) => (stage === "tls" ? { reply: "500 what is this?" } : undefined),
  }),
  "hanging up at the handshake": () => ({
    tls: testCertificates().make(),
    decide: ({ stage }) => (stage === "tls" ? { cut: "before" } : undefined),
  }),
} as const satisfies Readonly<Record<string, () => FakeSmtpOptions>>;
type ServerName = keyof typeof servers;
const serverNames = [
  "no TLS offered",
  "refuses STARTTLS",
  "self-signed",
  "wrong name",
  "MX host's name",
  "good",
  "failing handshake",
  "hanging up at the handshake",
] as const satisfies readonly ServerName[];

type Mail = {
  readonly level: string;
  readonly server: ServerName;
  /** Has waited longer than minimal_backoff_time before this attempt (D23). */
  readonly isOld?: boolean;
};

/** `TLS` or `plain` for mail that arrived, else `deferred 4.7.5`. */
async function outcomeOf({ level, server, isOld = false }: Mail): Promise<string> {
  await using peer = await FakeSmtpServer.start(servers[server]());
  await using test = await startWorker(
    {
      POSTMQ_SMTP_TLS_SECURITY_LEVEL: level,
      POSTMQ_SMTP_TLS_CAFILE: join(directory, "authority.pem"),
      POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes",
      POSTMQ_MINIMAL_BACKOFF_TIME: "300s",
    },
    { resolver },
  );
  const waited = { arrivalMs: 1_000, activeMs: isOld ? 400_000 : 2_000 };
  await test.serve(request(1, `${domain}:${peer.port}`, waited));
  const { kind, status } = test.delivering.onlyOutcome;
  const [received] = peer.messages;
  assert.equal(received !== undefined, kind === "sent");
  if (received === undefined) return `${kind} ${status}`;
  return received.tls === undefined ? "plain" : "TLS";
}

/** What becomes of mail at each kind of server. */
async function outcomesAt(level: string, isOld = false): Promise<Readonly<Record<string, string>>> {
  const outcomes: Record<string, string> = {};
  for (const server of serverNames) outcomes[server] = await outcomeOf({ level, server, isOld });
  return outcomes;
}

const noTls = "deferred 4.7.4";
const unverified = "deferred 4.7.5";
/** The server's own words are "454 4.7.0". */
const refused = "deferred 4.7.0";

describe("mail at each level of TLS", () => {
  it("D22 D23 level may: goes whatever the server can, but not in plain text at once where TLS fails", async () => {
    assert.deepEqual(await outcomesAt("may"), {
      "no TLS offered": "plain",
      "refuses STARTTLS": "plain",
      "self-signed": "TLS",
      "wrong name": "TLS",
      "MX host's name": "TLS",
      good: "TLS",
      "failing handshake": unverified,
      "hanging up at the handshake": unverified,
    });
  });

  it("D23 level may: goes in plain text to a server whose TLS fails once it has waited", async () => {
    const outcomes = await outcomesAt("may", true);
    assert.equal(outcomes["failing handshake"], "plain");
    assert.equal(outcomes["hanging up at the handshake"], "plain");
    assert.equal(outcomes["good"], "TLS");
  });

  it("D22 level encrypt: goes under TLS or waits, however long it has waited", async () => {
    const expected = {
      "no TLS offered": noTls,
      "refuses STARTTLS": refused,
      "self-signed": "TLS",
      "wrong name": "TLS",
      "MX host's name": "TLS",
      good: "TLS",
      "failing handshake": unverified,
      "hanging up at the handshake": unverified,
    };
    assert.deepEqual(await outcomesAt("encrypt"), expected);
    assert.deepEqual(await outcomesAt("encrypt", true), expected);
  });

  it("D22 level verify: goes to a server that proves the MX host's name", async () => {
    assert.deepEqual(await outcomesAt("verify", true), {
      "no TLS offered": noTls,
      "refuses STARTTLS": refused,
      "self-signed": unverified,
      "wrong name": unverified,
      "MX host's name": "TLS",
      good: "TLS",
      "failing handshake": unverified,
      "hanging up at the handshake": unverified,
    });
  });

  it("D22 level secure: goes to a server that proves the domain's name", async () => {
    assert.deepEqual(await outcomesAt("secure", true), {
      "no TLS offered": noTls,
      "refuses STARTTLS": refused,
      "self-signed": unverified,
      "wrong name": unverified,
      "MX host's name": unverified,
      good: "TLS",
      "failing handshake": unverified,
      "hanging up at the handshake": unverified,
    });
  });

  it("D22 mail whose policy can't be understood is sent nowhere", async () => {
    await using peer = await FakeSmtpServer.start(servers.good());
    await using test = await startWorker(
      {
        POSTMQ_SMTP_TLS_POLICY_MAPS: `inline:{{${domain}:${peer.port} = secure match=}}`,
        POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes",
      },
      { resolver },
    );
    await test.serve(request(1, `${domain}:${peer.port}`));
    const { kind, status, reason } = test.delivering.onlyOutcome;
    assert.equal(`${kind} ${status} ${reason}`, "deferred 4.7.5 client TLS configuration problem");
    assert.equal(peer.totalConnections, 0);
  });

  it("D24 each session is logged at smtp_tls_loglevel 1, and why a certificate was refused", async () => {
    const host = `${mxHost}[127.0.0.1]`;
    const logOf = async (server: ServerName) => {
      await using peer = await FakeSmtpServer.start(servers[server]());
      await using test = await startWorker(
        {
          POSTMQ_SMTP_TLS_SECURITY_LEVEL: "secure",
          POSTMQ_SMTP_TLS_LOGLEVEL: "1",
          POSTMQ_SMTP_TLS_CAFILE: join(directory, "authority.pem"),
          POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes",
        },
        { resolver },
      );
      await test.serve(request(1, `${domain}:${peer.port}`));
      return test.log.join("\n").replaceAll(`:${peer.port}`, ":PORT");
    };
    assert.ok(
      (await logOf("good")).includes(
        `Verified TLS connection established to ${host}:PORT: ` +
          "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)",
      ),
    );
    assert.ok(
      (await logOf("self-signed")).includes(
        `certificate verification failed for ${host}:PORT: self-signed certificate`,
      ),
    );
  });

  it("notes an offer that is not taken, where smtp_tls_note_starttls_offer wants it", async () => {
    const noted = async (env: Readonly<Record<string, string>>) => {
      await using peer = await FakeSmtpServer.start(servers.good());
      await using test = await startWorker(env);
      await test.serve(request(1, peer.relayhost));
      return test.log.filter((line) => line.includes("STARTTLS"));
    };
    const note = { POSTMQ_SMTP_TLS_NOTE_STARTTLS_OFFER: "yes" };
    assert.deepEqual(await noted(note), ["Host offered STARTTLS: [127.0.0.1]"]);
    assert.deepEqual(await noted({ ...note, POSTMQ_SMTP_TLS_SECURITY_LEVEL: "may" }), []);
    assert.deepEqual(await noted({}), []);
  });
});
