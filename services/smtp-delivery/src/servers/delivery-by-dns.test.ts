import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";
import { openResolver } from "@postmq/dns";
import { FakeDnsServer, FakeSmtpServer, freePort } from "@postmq/testing";
import type { DnsZone } from "@postmq/testing";

import { request, startWorker } from "../delivery.test-support.ts";

/** What one delivery to a next hop comes to, with DNS of the test's own. */
async function deliver(
  nexthop: string,
  zone: DnsZone,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly outcome: string; readonly reason: string; readonly feedback: string }> {
  await using dns = await FakeDnsServer.start({ zone });
  const all = { POSTMQ_DNS_SERVERS: dns.address, ...env };
  const resolver = openResolver(loadParameters({ env: all, service: "smtp-delivery" }));
  await using test = await startWorker(all, { resolver });
  await test.serve(request(1, nexthop));
  const { kind, status, reason } = test.delivering.onlyOutcome;
  const feedback = test.delivering.onlyEnd.feedback.kind;
  return { outcome: `${kind} ${status}`, reason, feedback };
}

const mayBePrivate = { POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes" };

describe("delivery by DNS", () => {
  it("D2 goes to the second MX host when nobody listens at the first one", async () => {
    await using server = await FakeSmtpServer.start();
    const zone: DnsZone = {
      "example.net": ["MX 10 down.example.net", "MX 20 up.example.net"],
      "down.example.net": ["A 127.0.0.2"],
      "up.example.net": ["A 127.0.0.1"],
    };
    const { outcome } = await deliver(`example.net:${server.port}`, zone, mayBePrivate);
    assert.equal(outcome, "sent 2.0.0");
    assert.equal(server.messages.length, 1);
  });

  it("36 defers with 4.4.3 and slows the destination while DNS is in trouble", async () => {
    const found = await deliver("example.net", { "example.net": "SERVFAIL" });
    assert.equal(found.outcome, "deferred 4.4.3");
    assert.match(found.reason, /name=example\.net type=MX: Host not found, try again$/);
    assert.equal(found.feedback, "trouble");
  });

  it("37 bounces at once for a null MX and for a name that does not exist", async () => {
    const none = await deliver("example.net", { "example.net": ["MX 0 ."] });
    assert.deepEqual([none.outcome, none.feedback], ["failed 5.1.10", "good"]);
    assert.equal(none.reason, "Domain example.net does not accept mail (nullMX)");
    const nowhere = await deliver("nowhere.example", {});
    assert.deepEqual([nowhere.outcome, nowhere.feedback], ["failed 5.4.4", "good"]);
  });

  it("38 bounces with 5.4.6 when the MX host is this machine", async () => {
    const zone: DnsZone = { "example.net": ["MX 10 me.example"], "me.example": ["A 127.0.0.1"] };
    const { outcome, reason } = await deliver("example.net", zone);
    assert.equal(outcome, "failed 5.4.6");
    assert.equal(reason, "mail for example.net loops back to myself");
  });

  it("D1 goes to the fallback relay when the domain is nowhere, or its server is down", async () => {
    await using server = await FakeSmtpServer.start();
    const env = { POSTMQ_SMTP_FALLBACK_RELAY: server.relayhost };
    assert.equal((await deliver("nowhere.example", {}, env)).outcome, "sent 2.0.0");
    const down = `[127.0.0.1]:${await freePort()}`;
    assert.equal((await deliver(down, {}, env)).outcome, "sent 2.0.0");
    assert.equal(server.messages.length, 2);
  });

  it("D5 defers with 4.3.5 when the fallback relay is nowhere too", async () => {
    const env = { POSTMQ_SMTP_FALLBACK_RELAY: "nowhere-either.example" };
    assert.equal((await deliver("nowhere.example", {}, env)).outcome, "deferred 4.3.5");
  });
});
