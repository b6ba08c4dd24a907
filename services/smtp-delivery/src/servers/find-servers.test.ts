import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { findServers } from "./find-servers.ts";
import type { FindOptions } from "./find-servers.ts";
import { parseNexthopList } from "./nexthop.ts";
import type { DnsAnswer, MailResolver, MxRecord } from "@postmq/dns";

type Zone = {
  readonly mx?: Readonly<Record<string, DnsAnswer<MxRecord>>>;
  readonly four?: Readonly<Record<string, DnsAnswer<string>>>;
  readonly six?: Readonly<Record<string, DnsAnswer<string>>>;
  readonly others?: DnsAnswer<string>;
};

const found = <T>(...records: T[]): DnsAnswer<T> => ({ kind: "found", records });
const noData = { kind: "noData" } as const;

function find(nexthop: string, zone: Zone, changes: Partial<FindOptions> = {}) {
  const asked: string[] = [];
  const resolver: MailResolver = {
    mx: async (domain) => {
      asked.push(`MX ${domain}`);
      return zone.mx?.[domain] ?? { kind: "notFound" };
    },
    addresses: async (host, family) => {
      asked.push(`${family === 4 ? "A" : "AAAA"} ${host}`);
      return (family === 4 ? zone.four : zone.six)?.[host] ?? zone.others ?? noData;
    },
    txt: async () => noData,
  };
  const [item] = parseNexthopList(nexthop) ?? [];
  assert.ok(item !== undefined);
  const options: FindOptions = {
    resolver,
    allowsPrivate: false,
    families: [4, 6],
    looksUpMx: true,
    defersWithoutAddress: false,
    ignoresMxErrors: false,
    isOwn: () => false,
    balances: true,
    randomizes: false,
    prefers: "any",
    addressLimit: 5,
    random: () => 0,
    ...changes,
  };
  return findServers(item, options).then((result) => ({ result, asked }));
}

async function servers(nexthop: string, zone: Zone, changes: Partial<FindOptions> = {}) {
  const { result } = await find(nexthop, zone, changes);
  assert.equal(result.kind, "servers");
  return result.servers.map(({ host, address, port }) => `${host}[${address}]:${port}`);
}

async function reason(nexthop: string, zone: Zone) {
  const { result } = await find(nexthop, zone);
  assert.notEqual(result.kind, "servers");
  return result.kind === "servers" ? "" : `${result.kind} ${result.status} ${result.reason}`;
}

const twoMx = found(
  { host: "b.example.net", preference: 20 },
  { host: "a.example.net", preference: 10 },
);

describe("findServers", () => {
  it("D2 lists the addresses of all MX hosts by preference", async () => {
    const zone: Zone = {
      mx: { "example.com": twoMx },
      four: { "a.example.net": found("192.0.2.1"), "b.example.net": found("192.0.2.2") },
      six: { "a.example.net": found("2001:db8::1") },
    };
    assert.deepEqual(await servers("Example.com.", { ...zone, mx: { "example.com": twoMx } }), [
      "a.example.net[192.0.2.1]:25",
      "a.example.net[2001:db8::1]:25",
      "b.example.net[192.0.2.2]:25",
    ]);
  });

  it("D2 falls back to the domain's own addresses when there is no MX", async () => {
    const zone: Zone = {
      mx: { "example.com": noData },
      four: { "example.com": found("192.0.2.9") },
    };
    assert.deepEqual(await servers("example.com:2526", zone), ["example.com[192.0.2.9]:2526"]);
  });

  it("D1 looks up no MX for a host in brackets", async () => {
    const { asked } = await find("[mail.example.com]", {
      four: { "mail.example.com": found("192.0.2.9") },
    });
    assert.deepEqual(asked, ["A mail.example.com", "AAAA mail.example.com"]);
  });

  it("D1 asks DNS nothing for an address in brackets", async () => {
    const { asked, result } = await find("[192.0.2.7]:2526", {});
    assert.deepEqual(asked, []);
    assert.equal(result.kind, "servers");
  });

  it("D2 bounces a null MX with 5.1.10", async () => {
    const zone: Zone = { mx: { "example.com": found({ host: "", preference: 0 }) } };
    assert.equal(
      await reason("example.com", zone),
      "bounced 5.1.10 Domain example.com does not accept mail (nullMX)",
    );
  });

  it("D2 bounces a name that does not exist with 5.4.4", async () => {
    assert.equal(
      await reason("nowhere.example", { others: { kind: "notFound" } }),
      "bounced 5.4.4 Host or domain name not found. Name service error for name=nowhere.example " +
        "type=AAAA: Host not found",
    );
  });

  it("D2 defers with 4.4.3 when DNS has trouble", async () => {
    const zone: Zone = { mx: { "example.com": { kind: "tryAgain" } } };
    assert.match(
      await reason("example.com", zone),
      /^deferred 4\.4\.3 .*Host not found, try again$/,
    );
  });

  it("D2 bounces with 5.4.3 when DNS refuses for good", async () => {
    const zone: Zone = { mx: { "example.com": { kind: "failed" } } };
    assert.match(await reason("example.com", zone), /^bounced 5\.4\.3 /);
  });

  it("D2 bounces with 5.4.4 when no MX host has an address", async () => {
    assert.match(
      await reason("example.com", { mx: { "example.com": twoMx } }),
      /^bounced 5\.4\.4 .*type=AAAA: Host found but no data record of requested type$/,
    );
  });

  it("D2 defers with 4.4.3 when one of the MX hosts could not be looked up", async () => {
    const zone: Zone = {
      mx: { "example.com": twoMx },
      four: { "a.example.net": { kind: "tryAgain" } },
    };
    assert.match(
      await reason("example.com", zone),
      /^deferred 4\.4\.3 .*name=a\.example\.net type=A:/,
    );
  });

  it("security 10: leaves out private addresses that DNS gave, and waits when no other is left", async () => {
    const zone: Zone = {
      mx: { "example.com": twoMx },
      four: {
        "a.example.net": found("127.0.0.1", "10.0.0.1"),
        "b.example.net": found("192.0.2.2"),
      },
    };
    assert.deepEqual(await servers("example.com", zone), ["b.example.net[192.0.2.2]:25"]);
    const inner: Zone = {
      mx: { "example.com": noData },
      four: { "example.com": found("127.0.0.1") },
    };
    assert.match(
      await reason("example.com", inner),
      /^deferred 4\.4\.4 .*private address 127\.0\.0\.1$/,
    );
    assert.deepEqual(await servers("example.com", inner, { allowsPrivate: true }), [
      "example.com[127.0.0.1]:25",
    ]);
  });

  it("security 10: takes no address for the name of an MX host", async () => {
    const zone: Zone = { mx: { "example.com": found({ host: "127.0.0.1", preference: 1 }) } };
    assert.match(await reason("example.com", zone), /^bounced 5\.4\.4/);
  });

  it("RFC 5890: asks DNS for the ASCII form of a domain", async () => {
    const { asked } = await find("bücher.example", {});
    assert.equal(asked[0], "MX xn--bcher-kva.example");
  });
});
