import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { DnsAnswer, MxRecord } from "@postmq/dns";
import { Sites } from "./sites.ts";
import type { SitesOptions } from "./sites.ts";

type MxAnswer = DnsAnswer<MxRecord>;

type Asked = { readonly domain: string; readonly answer: (answer: MxAnswer) => void };

/** DNS that answers when the test says so. */
function openSites(options: Partial<SitesOptions> = {}) {
  const asked: Asked[] = [];
  const time = { nowMs: 0 };
  const sites = new Sites({
    mx: (domain) => new Promise((resolve) => asked.push({ domain, answer: resolve })),
    goesByMx: (transport) => transport !== "lmtp",
    nowMs: () => time.nowMs,
    waitMs: 60_000,
    ...options,
  });
  return { sites, asked, time };
}

const to = (nexthop: string) => ({ transport: "smtp", nexthop });
const found = (...hosts: readonly string[]): MxAnswer => ({
  kind: "found",
  records: hosts.map((host) => ({ host, preference: 10 })),
});

describe("Sites", () => {
  it("S16 gives domains with the same MX hosts one site", async () => {
    const { sites } = openSites({ mx: () => Promise.resolve(found("mx.example.net")) });
    await sites.prepare([to("a.example"), to("b.example")]);
    assert.equal(sites.siteOf(to("a.example")), "mx:mx.example.net");
    assert.equal(sites.siteOf(to("b.example")), "mx:mx.example.net");
    assert.equal(sites.prepare([to("a.example"), to("b.example")]), undefined);
  });

  it("S16 keeps ports apart", async () => {
    const { sites } = openSites({ mx: () => Promise.resolve(found("mx.example.net")) });
    await sites.prepare([to("a.example:2525")]);
    assert.equal(sites.siteOf(to("a.example:2525")), "mx:mx.example.net:2525");
  });

  it("RFC 5321 §5.1 takes a domain without MX records as its own host", async () => {
    const { sites } = openSites({
      mx: (domain) =>
        Promise.resolve(domain === "a.example" ? { kind: "noData" } : found("a.example")),
    });
    await sites.prepare([to("a.example"), to("b.example")]);
    assert.equal(sites.siteOf(to("a.example")), "mx:a.example");
    assert.equal(sites.siteOf(to("b.example")), "mx:a.example");
  });

  it("asks nothing for what does not go by MX", () => {
    const { sites, asked } = openSites();
    assert.equal(sites.prepare([to("[gw.example]"), to("[192.0.2.1]:26")]), undefined);
    assert.equal(sites.prepare([{ transport: "lmtp", nexthop: "a.example" }]), undefined);
    assert.equal(asked.length, 0);
  });

  it("asks once for many who want to know", async () => {
    const { sites, asked } = openSites();
    const first = sites.prepare([to("a.example")]);
    const second = sites.prepare([to("a.example")]);
    assert.deepEqual(
      asked.map(({ domain }) => domain),
      ["a.example"],
    );
    asked[0]?.answer(found("mx.example.net"));
    await Promise.all([first, second]);
    assert.equal(sites.siteOf(to("a.example")), "mx:mx.example.net");
  });

  it("lets nobody wait longer than the wait, and takes an answer that comes late", async () => {
    const { sites, asked } = openSites({ waitMs: 1 });
    await sites.prepare([to("a.example")]);
    assert.equal(sites.siteOf(to("a.example")), undefined);
    assert.equal(sites.prepare([to("a.example")]), undefined, "it is not asked again at once");
    asked[0]?.answer(found("mx.example.net"));
    await new Promise(setImmediate);
    assert.equal(sites.siteOf(to("a.example")), "mx:mx.example.net");
  });

  it("asks again soon for what could not be found out, and late for what is known", async () => {
    const answers: MxAnswer[] = [
      { kind: "tryAgain" },
      found("mx.example.net"),
      found("mx2.example"),
    ];
    const { sites, time } = openSites({
      mx: () => Promise.resolve(answers.shift() ?? { kind: "failed" }),
    });
    await sites.prepare([to("a.example")]);
    assert.equal(sites.siteOf(to("a.example")), undefined);
    time.nowMs = 30_000;
    assert.equal(sites.prepare([to("a.example")]), undefined, "nobody waits a second time");
    await new Promise(setImmediate);
    assert.equal(sites.siteOf(to("a.example")), "mx:mx.example.net");
    time.nowMs += 299_999;
    assert.equal(sites.prepare([to("a.example")]), undefined);
    assert.equal(answers.length, 1);
    time.nowMs += 1;
    assert.equal(sites.prepare([to("a.example")]), undefined);
    assert.equal(
      sites.siteOf(to("a.example")),
      "mx:mx.example.net",
      "the old one counts meanwhile",
    );
    await new Promise(setImmediate);
    assert.equal(sites.siteOf(to("a.example")), "mx:mx2.example");
  });

  it("keeps a site while DNS is in trouble", async () => {
    const answers: MxAnswer[] = [found("mx.example.net"), { kind: "tryAgain" }];
    const { sites, time } = openSites({
      mx: () => Promise.resolve(answers.shift() ?? { kind: "failed" }),
    });
    await sites.prepare([to("a.example")]);
    time.nowMs = 300_000;
    assert.equal(sites.prepare([to("a.example")]), undefined);
    await new Promise(setImmediate);
    assert.equal(answers.length, 0);
    assert.equal(sites.siteOf(to("a.example")), "mx:mx.example.net");
  });

  it("has few lookups under way at once, and drops those nobody waits for any more", async () => {
    const { sites, asked } = openSites({ lookupsAtOnce: 2, waitMs: 5 });
    const all = sites.prepare(["a", "b", "c", "d"].map((name) => to(`${name}.example`)));
    assert.equal(asked.length, 2);
    await all;
    for (const { answer } of asked) answer(found("mx.example.net"));
    await new Promise(setImmediate);
    assert.equal(asked.length, 2);
  });

  it("remembers so many and no more", async () => {
    const mx = () => Promise.resolve(found("mx.example.net"));
    const { sites } = openSites({ mx, mostEntries: 2 });
    for (const name of ["a.example", "b.example", "c.example"]) await sites.prepare([to(name)]);
    assert.equal(sites.siteOf(to("a.example")), undefined);
    assert.equal(sites.siteOf(to("c.example")), "mx:mx.example.net");
  });

  it("counts a next hop by itself when its lookup throws", async () => {
    const { sites } = openSites({ mx: () => Promise.reject(new Error("no socket")) });
    await sites.prepare([to("a.example")]);
    assert.equal(sites.siteOf(to("a.example")), undefined);
  });
});
