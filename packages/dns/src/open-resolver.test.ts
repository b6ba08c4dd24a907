import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";
import { FakeDnsServer } from "@postmq/testing";

import { dnsServers } from "./dns-servers.ts";
import { openResolver, usesDns } from "./open-resolver.ts";

describe("openResolver", () => {
  it("D1 smtp_dns_support_level = disabled: hosts are looked up as the system does", async () => {
    await using dns = await FakeDnsServer.start();
    const parameters = loadParameters({
      env: { POSTMQ_DNS_SERVERS: dns.address, POSTMQ_SMTP_DNS_SUPPORT_LEVEL: "disabled" },
    });
    assert.equal(usesDns(parameters), false);
    // Only getaddrinfo(3) reads 0x7f.1 as an address: it stands for a host of /etc/hosts.
    assert.deepEqual(await openResolver(parameters).addresses("0x7f.1", 4), {
      kind: "found",
      records: ["127.0.0.1"],
    });
    assert.deepEqual(dns.questions, []);
  });

  it("asks the servers of dns_servers", async () => {
    await using dns = await FakeDnsServer.start({ zone: { "example.com": ["MX 10 a.example"] } });
    const parameters = loadParameters({ env: { POSTMQ_DNS_SERVERS: dns.address } });
    assert.equal((await openResolver(parameters).mx("example.com")).kind, "found");
  });
});

describe("dnsServers", () => {
  it("reads addresses of both families, with and without a port", () => {
    assert.deepEqual(dnsServers(["192.0.2.1", "192.0.2.1:54", "2001:db8::1", "[2001:db8::1]:54"]), [
      { address: "192.0.2.1", port: 53 },
      { address: "192.0.2.1", port: 54 },
      { address: "2001:db8::1", port: 53 },
      { address: "2001:db8::1", port: 54 },
    ]);
  });

  it("takes the system's servers when none are listed", () => {
    assert.ok(dnsServers([]).length > 0);
  });
});
