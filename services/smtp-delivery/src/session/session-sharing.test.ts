/** Which session carries whose mail: what one message was allowed is not for another (D23, D27). */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import { FakeSmtpServer, testCertificates, waitFor } from "@postmq/testing";
import type { StageEvent } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

const sasl = (server: FakeSmtpServer, env: Readonly<Record<string, string>> = {}) => ({
  POSTMQ_SMTP_SASL_AUTH_ENABLE: "yes",
  POSTMQ_SMTP_SASL_SECURITY_OPTIONS: "noanonymous",
  POSTMQ_SMTP_SASL_PASSWORD_MAPS: `inline:{{${server.relayhost} = all:secret}, a@x.example=ann:1, b@x.example=bob:2}`,
  POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s",
  ...env,
});

const from = (sender: string) => ({ envelope: { sender, origin: "smtp" } as const });

describe("a session that is kept", () => {
  it("D27 serves only those who log in alike, where that depends on the sender", async () => {
    const users: string[] = [];
    await using server = await FakeSmtpServer.start({
      keywords: ["PIPELINING", "AUTH PLAIN"],
      decide: ({ stage, credentials }) => {
        if (stage === "auth") users.push(credentials?.user ?? "");
        return undefined;
      },
    });
    const env = sasl(server, { POSTMQ_SMTP_SENDER_DEPENDENT_AUTHENTICATION: "yes" });
    await using test = await startWorker(env);
    const senders = ["a@x.example", "b@x.example", "b@x.example", "c@x.example", "", "a@x.example"];
    for (const [number, sender] of senders.entries()) {
      await test.serve(request(number, server.relayhost, from(sender)));
    }
    assert.deepEqual(users, ["ann", "bob", "all", "ann"]);
    assert.equal(server.messages.length, senders.length);
    assert.equal(server.totalConnections, users.length);
  });

  it("serves all who log in alike", async () => {
    await using server = await FakeSmtpServer.start({ keywords: ["AUTH PLAIN"] });
    await using test = await startWorker(sasl(server));
    for (const [number, sender] of ["a@x.example", "b@x.example"].entries()) {
      await test.serve(request(number, server.relayhost, from(sender)));
    }
    assert.equal(server.totalConnections, 1);
  });

  it("security 14: neither log nor outcome tells the secret of a login that fails", async () => {
    await using server = await FakeSmtpServer.start({
      keywords: ["AUTH PLAIN"],
      decide: ({ stage, line }) =>
        stage === "auth" ? { reply: `535 5.7.8 you said ${line}` } : undefined,
    });
    await using test = await startWorker(sasl(server));
    await test.serve(request(1, server.relayhost));
    assert.deepEqual(test.delivering.shownOutcomes, ["0 deferred 4.7.8"]);
    const said = JSON.stringify([test.log, test.delivering.ends]);
    const encoded = Buffer.from("\0all\0secret").toString("base64");
    assert.match(said, /you said AUTH PLAIN \[secret\]/);
    assert.ok(!said.includes(encoded));
    assert.ok(!said.includes("all:secret"));
  });

  it("D23 is under TLS again for the next message, where one went without", async () => {
    let hasFailed = false;
    const decide = ({ stage }: StageEvent) => {
      if (stage !== "tls" || hasFailed) return undefined;
      hasFailed = true;
      return { reply: "no handshake" };
    };
    await using server = await FakeSmtpServer.start({
      tls: testCertificates().make({ names: ["mx.test.example"] }),
      decide,
    });
    await using test = await startWorker({
      POSTMQ_SMTP_TLS_SECURITY_LEVEL: "may",
      POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s",
    });
    const waited = { arrivalMs: 0, activeMs: 1_000_000_000 };
    await test.serve(request(1, server.relayhost, waited), request(2, server.relayhost));
    const protocols = server.messages.map(({ tls }) => tls?.protocol);
    assert.deepEqual(protocols, [undefined, "TLSv1.3"]);
  });

  it("D27 serves nobody after the policy of its next hop has changed", async () => {
    const directory = await mkdtemp(join(tmpdir(), "postmq-policy-"));
    const table = join(directory, "policy");
    await using server = await FakeSmtpServer.start({ keywords: ["PIPELINING", "STARTTLS"] });
    const write = (level: string) => writeFile(table, `${server.relayhost} ${level}\n`);
    await write("none");
    try {
      await using test = await startWorker({
        POSTMQ_SMTP_TLS_POLICY_MAPS: `texthash:${table}`,
        POSTMQ_SMTP_CONNECTION_CACHE_TIME_LIMIT: "100s",
      });
      await test.serve(request(1, server.relayhost));
      await test.serve(request(2, server.relayhost));
      assert.equal(server.totalConnections, 1);
      await write("encrypt");
      let number = 3;
      // A table is looked at again once a second.
      await waitFor(async () => {
        await test.serve(request((number += 1), server.relayhost));
        return server.totalConnections > 1;
      });
      assert.equal(test.delivering.ends.at(-1)?.outcomes[0]?.kind, "deferred");
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
