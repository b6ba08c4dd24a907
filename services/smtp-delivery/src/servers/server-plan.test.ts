import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { DnsZone } from "@postmq/testing";

import { ServerPlan } from "./server-plan.ts";
import type { PlannedHop, PlanOptions } from "./server-plan.ts";
import { startZone } from "./servers.test-support.ts";

type Walk = {
  readonly hops: readonly PlannedHop[];
  readonly addresses: readonly string[];
  readonly noServer: string;
  readonly warnings: readonly string[];
};

const zone: DnsZone = {
  "one.example": ["A 192.0.2.1"],
  "two.example": ["A 192.0.2.2"],
  "fallback.example": ["A 192.0.2.9"],
  "down.example": "SERVFAIL",
  "inner.example": ["A 10.0.0.1"],
};

/** Walks the whole plan. */
async function walk(
  nexthop: string,
  changes: Partial<PlanOptions> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<Walk> {
  await using test = await startZone(zone, env);
  const warnings: string[] = [];
  const plan = ServerPlan.of(nexthop, {
    find: test.options,
    fallbackRelay: "",
    protocol: "smtp",
    relayhosts: [],
    recipients: ["user@example.com"],
    onWarning: (text) => warnings.push(text),
    ...changes,
  });
  const hops: PlannedHop[] = [];
  if (plan instanceof ServerPlan) {
    for (let hop = await plan.next(); hop !== undefined; hop = await plan.next()) hops.push(hop);
  }
  const none = plan instanceof ServerPlan ? plan.noServer : plan;
  return {
    hops,
    addresses: hops.flatMap(({ servers }) => servers.map(({ address }) => address)),
    noServer: none === undefined ? "" : `${none.kind} ${none.status} ${none.reason}`,
    warnings,
  };
}

describe("D1: the order of next hops", () => {
  it("D1 walks the items in order, then the fallback relays", async () => {
    const { addresses, hops, noServer } = await walk("one.example, two.example", {
      fallbackRelay: "[fallback.example]:2525",
    });
    assert.deepEqual(addresses, ["192.0.2.1", "192.0.2.2", "192.0.2.9"]);
    assert.deepEqual(
      hops.map(({ isLast, chosenBy }) => `${isLast} ${chosenBy ?? "routing"}`),
      ["false routing", "false routing", "true smtp_fallback_relay"],
    );
    assert.equal(noServer, "");
  });

  it("D2 tries the fallback relays before it bounces for a name that does not exist", async () => {
    const found = await walk("nowhere.example", { fallbackRelay: "fallback.example" });
    assert.deepEqual(found.addresses, ["192.0.2.9"]);
    assert.match(found.noServer, /^bounced 5\.4\.4/);
  });

  it("D2 asks DNS about a next hop when its turn comes, not before", async () => {
    await using test = await startZone(zone);
    const plan = ServerPlan.of("one.example, two.example", {
      find: test.options,
      fallbackRelay: "",
      protocol: "smtp",
      relayhosts: [],
      recipients: [],
      onWarning: () => {},
    });
    assert.ok(plan instanceof ServerPlan);
    await plan.next();
    assert.equal(test.dns.count("two.example"), 0);
  });

  it("a reason to wait weighs more than one to bounce", async () => {
    const waits = /^deferred 4\.4\.3/;
    assert.match((await walk("down.example, nowhere.example")).noServer, waits);
    assert.match((await walk("nowhere.example, down.example")).noServer, waits);
  });

  it("a next hop that can't be read waits for whoever wrote it", async () => {
    const { noServer } = await walk("[192.0.2.1]:ssh");
    assert.equal(noServer, "deferred 4.3.5 malformed next hop: [192.0.2.1]:ssh");
  });

  it("LMTP: hosts without MX, port 24, no loops", async () => {
    const env = { POSTMQ_INET_INTERFACES: "192.0.2.1" };
    const { hops } = await walk("inet:one.example, one.example:25", { protocol: "lmtp" }, env);
    assert.deepEqual(
      hops.map(({ servers, detectsLoops }) => `${servers[0]?.port} ${detectsLoops}`),
      ["24 false", "25 false"],
    );
  });
});

describe("D3: loops end the search", () => {
  it("D3 goes to no fallback relay, and to no other next hop, when mail loops back to us", async () => {
    const env = { POSTMQ_INET_INTERFACES: "192.0.2.1" };
    const found = await walk(
      "one.example, two.example",
      { fallbackRelay: "fallback.example" },
      env,
    );
    assert.deepEqual(found.addresses, []);
    assert.equal(found.noServer, "bounced 5.4.6 mail for one.example loops back to myself");
  });

  it("D3 goes to no fallback relay when we are one of the MX hosts", async () => {
    await using test = await startZone(
      {
        "example.com": ["MX 10 a.example", "MX 20 us.example"],
        "a.example": ["A 192.0.2.1"],
        "us.example": ["A 192.0.2.2"],
      },
      { POSTMQ_INET_INTERFACES: "192.0.2.2" },
    );
    const plan = ServerPlan.of("example.com", {
      find: test.options,
      fallbackRelay: "[192.0.2.9]",
      protocol: "smtp",
      relayhosts: [],
      recipients: [],
      onWarning: () => {},
    });
    assert.ok(plan instanceof ServerPlan);
    const hop = await plan.next();
    assert.deepEqual(
      hop?.servers.map(({ address }) => address),
      ["192.0.2.1"],
    );
    assert.equal(hop?.isLast, true);
    assert.equal(hop?.bestPreference, 10);
    assert.equal(await plan.next(), undefined);
  });
});

describe("D5: our own mistakes bounce nothing", () => {
  it("D5 waits with 4.3.5 when a relayhost does not exist or is we", async () => {
    const relayhosts = ["", "Nowhere.example"];
    const found = await walk("nowhere.example", { relayhosts });
    assert.match(found.noServer, /^deferred 4\.3\.5 Host or domain name not found/);
    assert.match(found.warnings.join(), /^relayhost configuration problem: /);
    const env = { POSTMQ_INET_INTERFACES: "192.0.2.1" };
    const looping = await walk("one.example", { relayhosts: ["one.example"] }, env);
    assert.equal(looping.noServer, "deferred 4.3.5 mail for one.example loops back to myself");
  });

  it("D5 waits with 4.3.5 when a fallback relay does not exist", async () => {
    const found = await walk("nowhere.example", { fallbackRelay: "nowhere-either.example" });
    assert.match(found.noServer, /^deferred 4\.3\.5 .*name=nowhere-either\.example/);
    assert.match(found.warnings.join(), /^smtp_fallback_relay configuration problem: /);
  });

  it("D5 leaves a reason to wait as it is, and other next hops to bounce", async () => {
    const down = await walk("down.example", { relayhosts: ["down.example"] });
    assert.match(down.noServer, /^deferred 4\.4\.3/);
    assert.deepEqual(down.warnings, []);
    const other = await walk("nowhere.example", { relayhosts: ["", "relay.example"] });
    assert.match(other.noServer, /^bounced 5\.4\.4/);
  });
});

describe("security 10: who may name a private address", () => {
  const literal = (address: string) => ({ recipients: [`user@${address}`] });

  it("security 10: the operator in brackets, a recipient's literal never", async () => {
    assert.deepEqual((await walk("[10.0.0.1]")).addresses, ["10.0.0.1"]);
    assert.deepEqual((await walk("[inner.example]")).addresses, ["10.0.0.1"]);
    assert.match(
      (await walk("[10.0.0.1]", literal("[10.0.0.1]"))).noServer,
      /^deferred 4\.4\.4 .*private address 10\.0\.0\.1$/,
    );
    assert.match((await walk("[IPv6:::1]", literal("[ipv6:::1]"))).noServer, /^deferred 4\.4\.4/);
  });

  it("security 10: a relayhost, a port and a fallback relay are the operator's words", async () => {
    const own = { ...literal("[10.0.0.1]") };
    assert.deepEqual((await walk("[10.0.0.1]", { ...own, relayhosts: ["[10.0.0.1]"] })).addresses, [
      "10.0.0.1",
    ]);
    assert.deepEqual((await walk("[10.0.0.1]:2525", own)).addresses, ["10.0.0.1"]);
    assert.deepEqual(
      (await walk("[10.0.0.1]", { ...own, fallbackRelay: "[10.0.0.2]" })).addresses,
      ["10.0.0.2"],
    );
  });

  it("security 10: a name without brackets leads nowhere private", async () => {
    assert.match((await walk("inner.example")).noServer, /^deferred 4\.4\.4/);
  });
});
