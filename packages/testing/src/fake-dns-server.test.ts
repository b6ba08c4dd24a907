import assert from "node:assert/strict";
import { Resolver } from "node:dns/promises";
import { describe, it } from "node:test";

import { FakeDnsServer } from "./fake-dns-server.ts";

/** The system's own client: it shares no code with the server. */
function client(server: FakeDnsServer): Resolver {
  const resolver = new Resolver({ timeout: 300, tries: 1 });
  resolver.setServers([server.address]);
  return resolver;
}

const code = (expected: string) => (error: unknown) =>
  error instanceof Error && "code" in error && error.code === expected;

describe("FakeDnsServer", () => {
  it("answers from its zone, times to live included", async () => {
    await using server = await FakeDnsServer.start({
      zone: {
        "example.com": ["MX 10 a.example.com", "MX 20 b.example.com", "TXT v=STSv1; id=1"],
        "a.example.com": ["300 A 192.0.2.1", "AAAA 2001:db8::1"],
        "www.example.com": ["CNAME a.example.com"],
      },
    });
    const dns = client(server);
    const mx = await dns.resolveMx("example.com");
    assert.deepEqual(mx.map(({ exchange, priority }) => `${priority} ${exchange}`).toSorted(), [
      "10 a.example.com",
      "20 b.example.com",
    ]);
    assert.deepEqual(await dns.resolveTxt("example.com"), [["v=STSv1; id=1"]]);
    assert.deepEqual(await dns.resolve4("a.example.com", { ttl: true }), [
      { address: "192.0.2.1", ttl: 300 },
    ]);
    assert.deepEqual(await dns.resolve6("www.example.com"), ["2001:db8::1"]);
    assert.equal(server.count("A.example.com", "A"), 1);
  });

  it("tells a name that does not exist from one without such records", async () => {
    await using server = await FakeDnsServer.start({ zone: { "example.com": ["A 192.0.2.1"] } });
    const dns = client(server);
    await assert.rejects(dns.resolveMx("example.com"), code("ENODATA"));
    await assert.rejects(dns.resolveMx("other.example"), code("ENOTFOUND"));
  });

  it("has every kind of trouble", async () => {
    await using server = await FakeDnsServer.start({
      zone: { "a.test": "SERVFAIL", "b.test": "REFUSED", "c.test": "silence" },
    });
    const dns = client(server);
    await assert.rejects(dns.resolve4("a.test"), code("ESERVFAIL"));
    await assert.rejects(dns.resolve4("b.test"), code("EREFUSED"));
    await assert.rejects(dns.resolve4("c.test"), code("ETIMEOUT"));
  });

  it("cuts off what is too large for UDP, and gives it whole over TCP", async () => {
    const hosts = Array.from({ length: 60 }, (_, at) => `A 192.0.2.${at + 1}`);
    await using server = await FakeDnsServer.start({
      zone: { "many.test": hosts },
      decide: ({ transport }) => (transport === "udp" ? { isTruncated: true } : undefined),
    });
    const found = await client(server).resolve4("many.test");
    assert.equal(found.length, 60);
    assert.equal(server.questions.at(-1)?.transport, "tcp");
  });

  it("asks the test's function first", async () => {
    await using server = await FakeDnsServer.start({
      zone: { "a.test": ["A 192.0.2.1"] },
      decide: ({ name }) => (name === "b.test" ? { code: "NXDOMAIN" } : undefined),
    });
    assert.deepEqual(await client(server).resolve4("a.test"), ["192.0.2.1"]);
    await assert.rejects(client(server).resolve4("b.test"), code("ENOTFOUND"));
  });
});
