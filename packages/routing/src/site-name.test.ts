import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { mxDomain, siteName, siteOfHosts } from "./site-name.ts";

describe("siteName", () => {
  it("S16 is the host where there is one", () => {
    assert.equal(siteName(["MX.Example.Net."]), "mx:mx.example.net");
  });

  it("S16 is the shortest host and a digest of the set where there are more", () => {
    const name = siteName(["alt1.aspmx.l.google.com", "aspmx.l.google.com"]);
    assert.match(name ?? "", /^mx:aspmx\.l\.google\.com~[0-9a-f]{32}$/);
  });

  it("S16 is the same for the same hosts in another order, case, or with a dot at the end", () => {
    const name = siteName(["mx1.example", "mx2.example", "backup.example"]);
    assert.equal(siteName(["BACKUP.example.", "mx2.example", "MX1.example"]), name);
    assert.equal(siteName(["mx2.example", "mx1.example", "mx1.example", "backup.example"]), name);
  });

  it("S16 differs when a host is missing or added", () => {
    const name = siteName(["mx1.example", "mx2.example"]);
    assert.notEqual(siteName(["mx1.example"]), name);
    assert.notEqual(siteName(["mx1.example", "mx2.example", "mx3.example"]), name);
  });

  it("is the same for an international name and its form in DNS", () => {
    assert.equal(siteName(["mx.bücher.example"]), siteName(["mx.xn--bcher-kva.example"]));
  });

  it("is undefined without hosts, and for a null MX", () => {
    assert.equal(siteName([]), undefined);
    assert.equal(siteName([""]), undefined);
  });
});

describe("siteOfHosts", () => {
  it("S16 tells ports apart", () => {
    assert.equal(siteOfHosts("a.example", ["mx.example"]), "mx:mx.example");
    assert.equal(siteOfHosts("a.example:25", ["mx.example"]), "mx:mx.example");
    assert.equal(siteOfHosts("a.example:2525", ["mx.example"]), "mx:mx.example:2525");
  });

  it("is undefined where MX does not decide", () => {
    assert.equal(siteOfHosts("[a.example]", ["a.example"]), undefined);
  });
});

describe("mxDomain", () => {
  it("is the domain of a next hop that goes by MX", () => {
    assert.deepEqual(mxDomain("Example.COM"), { domain: "example.com", port: "" });
    assert.deepEqual(mxDomain("example.com:25"), { domain: "example.com", port: "" });
    assert.deepEqual(mxDomain("example.com:smtp"), { domain: "example.com", port: "" });
    assert.deepEqual(mxDomain("example.com:2525"), { domain: "example.com", port: "2525" });
    assert.deepEqual(mxDomain("bücher.example"), { domain: "xn--bcher-kva.example", port: "" });
  });

  it("is undefined where no MX is asked for", () => {
    for (const nexthop of [
      "[example.com]",
      "[192.0.2.1]:26",
      "192.0.2.1",
      "a.example, b.example",
      "a.example b.example",
      "unix:/run/lmtp",
      "",
    ]) {
      assert.equal(mxDomain(nexthop), undefined, nexthop);
    }
  });
});
