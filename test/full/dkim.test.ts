/**
 * Mail signed by the running daemons, read by a verifier that is not ours: python3-dkim.
 *
 * Source: RFC 6376, RFC 8463; spec D17, D19.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

import { FakeSmtpServer, sendMail, startPostmq, waitFor } from "@postmq/testing";

const lines = (...all: readonly string[]) => `${all.join("\r\n")}\r\n`;

/** Verifies each signature of each message; JSON in (records, messages), JSON out (lists of true and false). */
const verifier = `
import sys, json, base64, dkim
told = json.load(sys.stdin)
def dns(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    record = told["records"].get(name.rstrip("."))
    return record.encode() if record else None
def verify(message):
    one = dkim.DKIM(message)
    count = sum(1 for name, _ in one.headers if name.lower() == b"dkim-signature")
    results = []
    for at in range(count):
        try: results.append(dkim.DKIM(message).verify(idx=at, dnsfunc=dns))
        except dkim.DKIMException: results.append(False)
    return results
json.dump([verify(base64.b64decode(m)) for m in told["messages"]], sys.stdout)
`;

function verdicts(records: Readonly<Record<string, string>>, messages: readonly Buffer[]): unknown {
  const input = JSON.stringify({
    records,
    messages: messages.map((message) => message.toString("base64")),
  });
  // The system's own Python: packages of the distribution are not there for another one.
  const { status, stdout, stderr } = spawnSync("/usr/bin/python3", ["-c", verifier], {
    input,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  assert.equal(status, 0, `the system's package python3-dkim is needed: ${stderr}`);
  return JSON.parse(stdout);
}

describe("DKIM, as python3-dkim verifies it", () => {
  let directory = "";
  const records: Record<string, string> = {};
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "postmq-dkim-"));
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const ed = generateKeyPairSync("ed25519");
    const save = (name: string, key: typeof rsa.privateKey) =>
      writeFileSync(join(directory, name), key.export({ type: "pkcs8", format: "pem" }), {
        mode: 0o600,
      });
    save("rsa.pem", rsa.privateKey);
    save("ed.pem", ed.privateKey);
    const der = rsa.publicKey.export({ type: "spki", format: "der" });
    const raw = ed.publicKey.export({ type: "spki", format: "der" }).subarray(-32);
    records["r._domainkey.example.com"] = `v=DKIM1; k=rsa; p=${der.toString("base64")}`;
    records["e._domainkey.example.com"] = `v=DKIM1; k=ed25519; p=${raw.toString("base64")}`;
  });
  after(() => rmSync(directory, { recursive: true }));

  const head = (subject: string) => [
    "From: Alice <alice@example.com>",
    "To: bob@example.net",
    `Subject: ${subject}`,
    "Date: Sun, 22 Nov 2026 07:00:00 +0000",
    `Message-ID: <${subject}@example.com>`,
  ];
  const mails: readonly string[] = [
    lines(...head("plain"), "", "hello  ", ".", "..", "", ""),
    lines(...head("eight"), "Content-Transfer-Encoding: 8bit", "", "caf\u00e9 ".repeat(30), "."),
    lines(...head("long"), "", "x".repeat(5_000), ""),
    lines(...head("large"), "", lines("y".repeat(70), "", " z ").repeat(4_000)),
    lines(...head("empty"), "").slice(0, -2),
  ];

  it("passes for every kind of content sent to a server that takes 8 bits", () =>
    passesThrough(["PIPELINING", "8BITMIME"]));

  it("passes for every kind of content sent to a server that takes 7 bits", () =>
    passesThrough(["PIPELINING"]));

  async function passesThrough(keywords: readonly string[]): Promise<void> {
    await using server = await FakeSmtpServer.start({ keywords });
    const keys = `selector=r key=${directory}/rsa.pem selector=e key=${directory}/ed.pem`;
    await using system = await startPostmq({
      parameters: {
        relayhost: server.relayhost,
        dkim_keys: `inline:{ {example.com = ${keys}} }`,
      },
    });
    for (const content of mails) {
      const mail = {
        from: "alice@example.com",
        to: ["bob@example.net"],
        content: Buffer.from(content, "latin1"),
      };
      assert.equal((await sendMail(system.smtpPort, mail)).code, 250);
    }
    await waitFor(() => server.messages.length === mails.length, {
      describe: () => `${server.messages.length} of ${mails.length}\n${system.lastLines()}`,
    });
    const received = server.messages.map(({ content }) => content);
    assert.deepEqual(
      verdicts(records, received),
      mails.map(() => [true, true]),
    );
    const forged = received.map((content) =>
      Buffer.concat([Buffer.from("From: eve@example.org\r\n"), content]),
    );
    assert.deepEqual(
      verdicts(records, forged),
      mails.map(() => [false, false]),
    );
    assert.deepEqual(await system.stop(), []);
  }
});
