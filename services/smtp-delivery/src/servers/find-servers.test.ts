import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { DnsZone } from "@postmq/testing";
import { panic } from "@postmq/vocabulary";

import { findServers } from "./find-servers.ts";
import { parseNexthopList } from "./nexthop.ts";
import { startZone } from "./servers.test-support.ts";

type Env = Readonly<Record<string, string>>;

/** @returns what was found, and what DNS was asked for it */
async function find(nexthop: string, zone: DnsZone, env: Env = {}) {
  await using test = await startZone(zone, env);
  const [item] = parseNexthopList(nexthop) ?? panic(nexthop);
  const found = await findServers(item ?? panic(nexthop), test.options);
  const asked = test.dns.questions.map(({ type, name }) => `${type} ${name}`);
  return { found, asked };
}

/** `host[address]:port` of each, or `kind status reason`. */
async function shown(nexthop: string, zone: DnsZone, env: Env = {}): Promise<string> {
  const { found } = await find(nexthop, zone, env);
  return found.kind === "servers"
    ? found.servers.map(({ host, address, port }) => `${host}[${address}]:${port}`).join(" ")
    : `${found.kind} ${found.status} ${found.reason}`;
}

const notFound = "Host or domain name not found. Name service error for";

describe("D2: which servers", () => {
  it("D2 lists the addresses of all MX hosts by preference", async () => {
    const zone: DnsZone = {
      "example.com": ["MX 20 b.example.net", "MX 10 a.example.net"],
      "a.example.net": ["A 192.0.2.1", "AAAA 2001:db8::1"],
      "b.example.net": ["A 192.0.2.2"],
    };
    assert.equal(
      await shown("Example.com.", zone),
      "a.example.net[192.0.2.1]:25 a.example.net[2001:db8::1]:25 b.example.net[192.0.2.2]:25",
    );
  });

  it("D2 tries MX hosts that have an address when others have none or can't be looked up", async () => {
    const zone: DnsZone = {
      "example.com": ["MX 10 a.example.net", "MX 20 b.example.net", "MX 30 c.example.net"],
      "a.example.net": "SERVFAIL",
      "c.example.net": ["A 192.0.2.3"],
    };
    assert.equal(await shown("example.com", zone), "c.example.net[192.0.2.3]:25");
  });

  it("D2 looks for the addresses of the best MX hosts only, where there are very many", async () => {
    const hosts = Array.from({ length: 60 }, (_, at) => `h${at}.example`);
    const zone: DnsZone = {
      "example.com": hosts.map((host, at) => `MX ${60 - at} ${host}`),
      "h59.example": ["A 192.0.2.59"],
      "h0.example": ["A 192.0.2.1"],
    };
    assert.equal(await shown("example.com", zone), "h59.example[192.0.2.59]:25");
    const { asked } = await find("example.com", zone);
    assert.equal(asked.filter((question) => question.startsWith("A ")).length, 20);
  });

  it("D2 takes the domain's own addresses when there is no MX", async () => {
    assert.equal(
      await shown("example.com:2526", { "example.com": ["A 192.0.2.9"] }),
      "example.com[192.0.2.9]:2526",
    );
  });

  it("D2 follows an alias of the domain and of an MX host", async () => {
    const zone: DnsZone = {
      "alias.example": ["CNAME example.com"],
      "example.com": ["MX 10 mail.example.com"],
      "mail.example.com": ["CNAME a.example.net"],
      "a.example.net": ["A 192.0.2.1"],
    };
    assert.equal(await shown("alias.example", zone), "mail.example.com[192.0.2.1]:25");
  });

  it("D1 looks up no MX for a host in brackets, nor where MX hosts are not looked for", async () => {
    const zone: DnsZone = { "mail.example.com": ["A 192.0.2.9", "MX 10 other.example"] };
    const { asked } = await find("[mail.example.com]", zone);
    assert.deepEqual(asked.toSorted(), ["A mail.example.com", "AAAA mail.example.com"]);
    await using test = await startZone(zone);
    const [item] = parseNexthopList("mail.example.com") ?? [];
    const options = { ...test.options, looksUpMx: false };
    const found = await findServers(item ?? panic("no item"), options);
    assert.equal(found.kind, "servers");
    assert.equal(test.dns.count("mail.example.com", "MX"), 0);
  });

  it("D1 asks DNS nothing for an address", async () => {
    for (const nexthop of ["[192.0.2.7]:2526", "[ipv6:2001:db8::1]", "192.0.2.7"]) {
      const { asked, found } = await find(nexthop, {});
      assert.deepEqual(asked, [], nexthop);
      assert.equal(found.kind, "servers", nexthop);
    }
  });

  it("D2 inet_protocols: neither asks for nor takes addresses of another family", async () => {
    const zone: DnsZone = { "example.com": ["A 192.0.2.1", "AAAA 2001:db8::1"] };
    const onlyFour = { POSTMQ_INET_PROTOCOLS: "ipv4" };
    const { asked } = await find("example.com", zone, onlyFour);
    assert.deepEqual(asked, ["MX example.com", "A example.com"]);
    assert.equal(await shown("example.com", zone, onlyFour), "example.com[192.0.2.1]:25");
    assert.equal(
      await shown("example.com", zone, { POSTMQ_INET_PROTOCOLS: "ipv6" }),
      "example.com[2001:db8::1]:25",
    );
    assert.equal(
      await shown("[2001:db8::1]", zone, onlyFour),
      "bounced 5.4.4 Name service error for 2001:db8::1: invalid host or domain name",
    );
  });

  it("RFC 5890: asks DNS for the ASCII form of a domain", async () => {
    const zone: DnsZone = { "xn--bcher-kva.example": ["A 192.0.2.1"] };
    assert.equal(await shown("bücher.example", zone), "xn--bcher-kva.example[192.0.2.1]:25");
  });
});

describe("D2: why there are none", () => {
  it("37 D2 bounces a null MX with 5.1.10", async () => {
    assert.equal(
      await shown("example.com", { "example.com": ["MX 0 ."] }),
      "bounced 5.1.10 Domain example.com does not accept mail (nullMX)",
    );
  });

  it("37 D2 bounces a name that does not exist with 5.4.4", async () => {
    assert.equal(
      await shown("nowhere.example", {}),
      `bounced 5.4.4 ${notFound} name=nowhere.example type=AAAA: Host not found`,
    );
  });

  it("37 D2 bounces a name without MX and addresses with 5.4.4", async () => {
    assert.equal(
      await shown("example.com", { "example.com": ["TXT hello"] }),
      `bounced 5.4.4 ${notFound} name=example.com type=AAAA: Host found but no data record of requested type`,
    );
  });

  it("36 D2 defers with 4.4.3 when DNS is in trouble", async () => {
    for (const trouble of ["SERVFAIL", "REFUSED", "NOTIMP"] as const) {
      assert.equal(
        await shown("example.com", { "example.com": trouble }),
        `deferred 4.4.3 ${notFound} name=example.com type=MX: Host not found, try again`,
        trouble,
      );
    }
  });

  it("D2 bounces with 5.4.3 when the question itself is refused for good", async () => {
    assert.equal(
      await shown("example.com", { "example.com": "FORMERR" }),
      `bounced 5.4.3 ${notFound} name=example.com type=MX: Non-recoverable error`,
    );
  });

  it("D2 tells what says most about a host: trouble with one family before absence in the other", async () => {
    await using test = await startZone({ "example.com": ["MX 10 a.example.net"] });
    test.dns.decide = ({ type }) =>
      type === "A" ? { code: "FORMERR" } : type === "AAAA" ? { answers: [] } : undefined;
    const [item] = parseNexthopList("example.com") ?? [];
    const found = await findServers(item ?? panic("no item"), test.options);
    assert.equal(found.kind === "servers" ? "" : found.status, "5.4.3");
  });

  it("D2 bounces with 5.4.4 an answer of which nothing can be used, and a name that is none", async () => {
    assert.equal(
      await shown("example.com", { "example.com": ["MX 10 bad!name"] }),
      "bounced 5.4.4 Name service error for name=example.com type=MX: " +
        "Malformed or unexpected name server reply",
    );
    assert.equal(
      await shown("-a.example", {}),
      "bounced 5.4.4 Name service error for -a.example: invalid host or domain name",
    );
    // What a URL would take for 127.0.0.1.
    assert.match(await shown("0x7f.1", {}), /^bounced 5\.4\.4 .*0x7f\.1: invalid host/);
  });

  it("D2 bounces with 5.4.4 when no MX host has an address", async () => {
    const zone: DnsZone = {
      "example.com": ["MX 10 a.example.net", "MX 20 b.example.net"],
      "a.example.net": ["TXT hello"],
    };
    assert.equal(
      await shown("example.com", zone),
      `bounced 5.4.4 ${notFound} name=b.example.net type=AAAA: Host not found`,
    );
  });

  it("D2 smtp_defer_if_no_mx_address_found: defers that, and nothing else, with the same words", async () => {
    const env = { POSTMQ_SMTP_DEFER_IF_NO_MX_ADDRESS_FOUND: "yes" };
    const zone: DnsZone = {
      "example.com": ["MX 10 a.example.net"],
      "broken.example": ["MX 10 b.example.net"],
      "b.example.net": "FORMERR",
    };
    assert.equal(
      await shown("example.com", zone, env),
      `deferred 4.4.4 ${notFound} name=a.example.net type=AAAA: Host not found`,
    );
    assert.match(await shown("broken.example", zone, env), /^deferred 4\.4\.3 .*Non-recoverable/);
    assert.match(await shown("nowhere.example", zone, env), /^bounced 5\.4\.4/);
  });

  it("D2 defers with 4.4.3 when one of the MX hosts could not be looked up, and others have no address", async () => {
    const zone: DnsZone = {
      "example.com": ["MX 10 a.example.net", "MX 20 b.example.net"],
      "a.example.net": "SERVFAIL",
    };
    assert.equal(
      await shown("example.com", zone),
      `deferred 4.4.3 ${notFound} name=a.example.net type=A: Host not found, try again`,
    );
  });

  it("D2 smtp_ignore_mx_lookup_error: takes the domain's own addresses instead", async () => {
    await using test = await startZone({}, { POSTMQ_SMTP_IGNORE_MX_LOOKUP_ERROR: "yes" });
    test.dns.decide = ({ type }) => (type === "MX" ? { code: "SERVFAIL" } : undefined);
    test.dns.zone = { "example.com": ["A 192.0.2.9"] };
    const [item] = parseNexthopList("example.com") ?? [];
    const found = await findServers(item ?? panic("no item"), test.options);
    assert.equal(found.kind, "servers");
  });
});

describe("D3: loops", () => {
  const zone: DnsZone = {
    "example.com": ["MX 10 a.example.net", "MX 20 us.example.net", "MX 20 c.example.net"],
    "a.example.net": ["A 192.0.2.1"],
    "us.example.net": ["A 192.0.2.2"],
    "c.example.net": ["A 192.0.2.3"],
  };
  const weAre = (interfaces: string) => ({ POSTMQ_INET_INTERFACES: interfaces });

  it("D3 drops our own address and all that are not better", async () => {
    const { found } = await find("example.com", zone, weAre("192.0.2.2"));
    assert.equal(found.isOurs, true);
    assert.equal(
      await shown("example.com", zone, weAre("192.0.2.2")),
      "a.example.net[192.0.2.1]:25",
    );
  });

  it("38 D3 bounces with 5.4.6 when we are the best MX host", async () => {
    assert.equal(
      await shown("example.com", zone, weAre("192.0.2.1")),
      "bounced 5.4.6 mail for example.com loops back to myself",
    );
    const { found } = await find("example.com", zone, weAre("192.0.2.1"));
    assert.equal(found.isOurs, true);
  });

  it("38 D3 knows our loopback address before it is called private", async () => {
    const inner: DnsZone = {
      "example.com": ["MX 10 me.example.com"],
      "me.example.com": ["A 127.0.0.1"],
    };
    assert.equal(
      await shown("example.com", inner, weAre("loopback-only")),
      "bounced 5.4.6 mail for example.com loops back to myself",
    );
  });

  it("D3 defers with 4.4.4 when a better MX host is known and has no address", async () => {
    assert.equal(
      await shown("example.com", { ...zone, "a.example.net": ["TXT moving"] }, weAre("192.0.2.2")),
      "deferred 4.4.4 unable to find primary relay for example.com",
    );
  });

  it("D3 knows us at a host without MX, in brackets, by address and behind a proxy", async () => {
    for (const nexthop of ["a.example.net", "[a.example.net]", "[192.0.2.1]"]) {
      for (const env of [weAre("192.0.2.1"), { POSTMQ_PROXY_INTERFACES: "192.0.2.1" }]) {
        assert.equal(
          await shown(nexthop, zone, env),
          `bounced 5.4.6 mail for ${nexthop.replace(/[[\]]/g, "")} loops back to myself`,
        );
      }
    }
  });

  it("D3 looks for us at port 25 only", async () => {
    assert.equal(
      await shown("[192.0.2.1]:2525", zone, weAre("192.0.2.1")),
      "192.0.2.1[192.0.2.1]:2525",
    );
  });
});

describe("security 10: private addresses", () => {
  const zone: DnsZone = {
    "example.com": ["MX 10 a.example.net", "MX 20 b.example.net"],
    "a.example.net": ["A 127.0.0.1", "A 10.0.0.1", "AAAA ::ffff:10.0.0.1"],
    "b.example.net": ["A 192.0.2.2"],
    "inner.example": ["A 169.254.169.254"],
  };

  it("leaves out those that DNS gave, and waits when no other is left", async () => {
    assert.equal(await shown("example.com", zone), "b.example.net[192.0.2.2]:25");
    assert.equal(
      await shown("inner.example", zone),
      "deferred 4.4.4 mail for inner.example would go to the private address 169.254.169.254",
    );
  });

  it("takes them where smtp_allow_private_addresses is set", async () => {
    assert.equal(
      await shown("inner.example", zone, { POSTMQ_SMTP_ALLOW_PRIVATE_ADDRESSES: "yes" }),
      "inner.example[169.254.169.254]:25",
    );
  });

  it("dials what it judged: an answer that changes at once changes nothing", async () => {
    await using test = await startZone({ "example.com": ["0 A 192.0.2.1"] });
    const [item] = parseNexthopList("example.com") ?? [];
    const found = await findServers(item ?? panic("no item"), test.options);
    test.dns.zone = { "example.com": ["0 A 127.0.0.1"] };
    assert.deepEqual(found.kind === "servers" ? found.servers.map(({ address }) => address) : [], [
      "192.0.2.1",
    ]);
    assert.equal(test.dns.count("example.com", "A"), 1);
  });

  it("takes no address for the name of an MX host", async () => {
    assert.match(
      await shown("example.com", { "example.com": ["MX 10 127.0.0.1"] }),
      /^bounced 5\.4\.4/,
    );
  });
});
