import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SmtpClient } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { say } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";
import { makeRelayGuard } from "./relay-guard.ts";

const noErrorLimits = { smtpd_hard_error_limit: "10000", smtpd_soft_error_limit: "10000" };

/** The classic ways to talk a server into relaying to victim@example.net through our.example. */
const relayForms = [
  "<victim@example.net>",
  "victim@example.net",
  "<VICTIM@EXAMPLE.NET>",
  "<victim@example.net.>",
  "<victim%example.net@our.example>",
  "<victim%example.net@sub.our.example>",
  "<victim%example.net>",
  '<"victim@example.net">',
  '<"victim%example.net">',
  '<"victim@example.net"@our.example>',
  '<"victim%example.net"@our.example>',
  "<victim@example.net@our.example>",
  "<example.net!victim@our.example>",
  "<our.example!example.net!victim>",
  "<example.net!victim>",
  '<"example.net!victim"@our.example>',
  "<@our.example:victim@example.net>",
  "<@our.example,@other.example:victim@example.net>",
  "<victim@[127.0.0.1]>",
  "<victim@[192.0.2.1]>",
  "<victim@[IPv6:::1]>",
  "<victim%example.net@[127.0.0.1]>",
  "<victim@our.example.example.net>",
  "<victim@notour.example>",
  "<victim@example.net our.example>",
  "<victim@our.example\u0000.example.net>",
  "<victim>",
  "<postmaster%example.net@our.example>",
];

describe("relaying (V22, security.md 4)", () => {
  it("is refused to strangers in every form, from every kind of sender", async () => {
    const intake = new MemoryIntake();
    const parameters = { ...noErrorLimits, relay_domains: "our.example" };
    await using server = await startListener({ intake, parameters, isTrusted: false });
    for (const sender of ["<spammer@example.org>", "<user@our.example>", "<>"]) {
      using client = await SmtpClient.open(server.port);
      await say(client, [[`MAIL FROM:${sender}`, "250 2.1.0 Ok"]]);
      for (const form of relayForms) {
        const reply = await client.command(`RCPT TO:${form}`);
        assert.match(reply.text, /^454 4\.7\.1 <[^>]*>: Relay access denied$|^501 5\.1\.3 /, form);
      }
      await say(client, [["DATA", "554 5.5.1 Error: no valid recipients"]]);
      assert.match((await client.command("VRFY <victim@example.net>")).text, /^454 4\.7\.1 /);
    }
  });

  it("is logged with client, sender, recipient and HELO name", async () => {
    await using server = await startListener({ intake: new MemoryIntake(), isTrusted: false });
    using client = await SmtpClient.open(server.port, "spam.example");
    await say(client, [
      ["MAIL FROM:<spammer@example.org>", "250 2.1.0 Ok"],
      ["RCPT TO:<victim@example.net>", "454 4.7.1 <victim@example.net>: Relay access denied"],
    ]);
    assert.ok(
      server.lines.includes(
        "NOQUEUE: reject: RCPT from localhost[127.0.0.1]: 454 4.7.1 <victim@example.net>: Relay access denied; " +
          "from=<spammer@example.org> to=<victim@example.net> proto=ESMTP helo=<spam.example>",
      ),
      server.lines.join("\n"),
    );
  });

  it("is open to mynetworks", async () => {
    await using server = await startListener({ intake: new MemoryIntake(), isTrusted: true });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<anybody@example.net>", "250 2.1.5 Ok"],
    ]);
  });

  it("is open to everybody for relay_domains, what is below them, and mydestination", async () => {
    await using server = await startListener({
      intake: new MemoryIntake(),
      parameters: { relay_domains: "our.example", mydestination: "local.example" },
      isTrusted: false,
    });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.org>", "250 2.1.0 Ok"],
      ["RCPT TO:<b@Our.Example>", "250 2.1.5 Ok"],
      ["RCPT TO:<b@sub.our.example>", "250 2.1.5 Ok"],
      ["RCPT TO:<b@local.example>", "250 2.1.5 Ok"],
      ["RCPT TO:<b@sub.local.example>", "454 4.7.1 <b@sub.local.example>: Relay access denied"],
    ]);
  });
});

describe("smtpd_relay_restrictions", () => {
  const policy = { relayDomains: ["our.example"], mydestination: [], myorigin: "mail.example" };
  const guard = (...restrictions: string[]) => makeRelayGuard({ ...policy, restrictions });

  it("decides by the first restriction that applies", () => {
    const stranger = "a@other.example";
    assert.equal(
      guard("permit_mynetworks", "reject_unauth_destination").refuse(stranger, false),
      "554 5.7.1 <a@other.example>: Relay access denied",
    );
    assert.equal(guard("permit_mynetworks", "reject").refuse(stranger, true), undefined);
    assert.match(guard("reject", "permit_mynetworks").refuse(stranger, true) ?? "", /^554 /);
    assert.match(guard("permit_mynetworks", "defer").refuse(stranger, false) ?? "", /^450 /);
    assert.equal(
      guard("permit_auth_destination", "reject").refuse("a@our.example", false),
      undefined,
    );
  });

  it("takes an address without domain for one at myorigin", () => {
    const own = makeRelayGuard({
      ...policy,
      relayDomains: ["mail.example"],
      restrictions: ["defer_unauth_destination"],
    });
    assert.equal(own.refuse("postmaster", false), undefined);
    assert.match(guard("defer_unauth_destination").refuse("postmaster", false) ?? "", /^454 /);
  });
});
