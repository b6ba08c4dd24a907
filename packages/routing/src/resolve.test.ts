import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openResolver } from "./resolve.ts";
import type { Routing } from "./resolve.ts";

function table(entries: Readonly<Record<string, string>>) {
  return { isEmpty: Object.keys(entries).length === 0, lookup: (key: string) => entries[key] };
}

const plain: Routing = {
  mydestination: ["here.example"],
  relayDomains: ["relayed.example"],
  localTransport: "error:5.1.1 no local mailboxes here",
  relayTransport: "relay",
  defaultTransport: "smtp",
  relayhost: "",
  recipientDelimiter: "+",
  myorigin: "here.example",
  transportMaps: table({}),
  senderRelayhosts: table({}),
  senderTransports: table({}),
  transports: new Set(["smtp", "relay", "slow"]),
};

function resolve(address: string, changes: Partial<Routing> = {}, sender = ""): string {
  const resolver = openResolver({ ...plain, ...changes }, () => undefined);
  const { transport, nexthop } = resolver(address, sender);
  return `${transport}:${nexthop}`;
}

describe("resolve", () => {
  it("sends mail for elsewhere to its own domain by default_transport", () => {
    assert.equal(resolve("Joe@Far.Example"), "smtp:far.example");
  });

  it("sends relay and default mail to relayhost, as it is written", () => {
    assert.equal(
      resolve("a@far.example", { relayhost: "[127.0.0.1]:2526" }),
      "smtp:[127.0.0.1]:2526",
    );
    assert.equal(resolve("a@relayed.example", { relayhost: "[10.0.0.1]" }), "relay:[10.0.0.1]");
  });

  it("lets an explicit nexthop in default_transport beat relayhost", () => {
    const changes = { defaultTransport: "slow:[gw.example]", relayhost: "[other.example]" };
    assert.equal(resolve("a@far.example", changes), "slow:[gw.example]");
  });

  it("counts subdomains of relay_domains as relayed, and local domains only exactly", () => {
    assert.equal(resolve("a@sub.relayed.example"), "relay:sub.relayed.example");
    assert.equal(resolve("a@notrelayed.example"), "smtp:notrelayed.example");
    assert.equal(resolve("a@here.example"), "error:5.1.1 no local mailboxes here");
    assert.equal(resolve("a@sub.here.example"), "smtp:sub.here.example");
  });

  it("takes an address without a domain as one of myorigin", () => {
    assert.equal(resolve("root"), "error:5.1.1 no local mailboxes here");
  });

  it("R20 tries user+ext@domain, user@domain, domain, .parent nearest first, then *", () => {
    const all: Record<string, string> = {
      "joe+list@a.b.example": "smtp:one",
      "joe@a.b.example": "smtp:two",
      "a.b.example": "smtp:three",
      ".b.example": "smtp:four",
      ".example": "smtp:five",
      "*": "smtp:six",
    };
    const seen: string[] = [];
    for (const key of Object.keys(all)) {
      seen.push(resolve("Joe+List@A.B.Example", { transportMaps: table(all) }));
      delete all[key];
      if (Object.keys(all).length === 0) break;
    }
    assert.deepEqual(seen, [
      "smtp:one",
      "smtp:two",
      "smtp:three",
      "smtp:four",
      "smtp:five",
      "smtp:six",
    ]);
  });

  it("R20 matches a parent domain only by its dotted form", () => {
    const transportMaps = table({ "b.example": "slow:" });
    assert.equal(resolve("a@b.example", { transportMaps }), "slow:b.example");
    assert.equal(resolve("a@a.b.example", { transportMaps }), "smtp:a.b.example");
  });

  it("reads the four forms of a transport_maps result", () => {
    const relayhost = "[gw.example]";
    const by = (result: string) =>
      resolve("a@far.example", { relayhost, transportMaps: table({ "far.example": result }) });
    assert.equal(by("slow:[x]:26"), "slow:[x]:26");
    assert.equal(by("slow:"), "slow:far.example");
    assert.equal(by(":[x]"), "smtp:[x]");
    assert.equal(by(":"), "smtp:[gw.example]");
    assert.equal(by("error:"), "error:Address is undeliverable");
  });

  it("lets transport_maps beat the local class", () => {
    const transportMaps = table({ "here.example": "smtp:[mbox.example]" });
    assert.equal(resolve("a@here.example", { transportMaps }), "smtp:[mbox.example]");
  });

  it("S15 fails the null address and bad syntax with 5.1.3", () => {
    assert.equal(resolve(""), "error:5.1.3 null recipient address");
    const bad = "error:5.1.3 bad address syntax";
    assert.equal(resolve("a@"), bad);
    assert.equal(resolve("a@b..example"), bad);
    assert.equal(resolve("a@192.0.2.1"), bad);
    assert.equal(resolve("a@[nonsense]"), bad);
    assert.equal(resolve("-oQ/tmp@far.example"), bad);
    assert.equal(resolve("a@b c.example"), bad);
  });

  it("takes address literals and international domains", () => {
    assert.equal(resolve("a@[192.0.2.1]"), "smtp:[192.0.2.1]");
    assert.equal(resolve("a@[IPv6:2001:db8::1]"), "smtp:[ipv6:2001:db8::1]");
    assert.equal(resolve("a@bücher.example"), "smtp:bücher.example");
  });

  it("S15 defers what a table that can't be read would have routed, and says so", () => {
    const troubles: string[] = [];
    const failing = {
      isEmpty: false,
      lookup: () => {
        throw new Error("no such file");
      },
    };
    for (const name of ["transportMaps", "senderRelayhosts", "senderTransports"]) {
      const resolver = openResolver({ ...plain, [name]: failing }, (text) => troubles.push(text));
      assert.deepEqual(resolver("a@far.example", "b@x.example"), {
        transport: "retry",
        nexthop: "4.3.0 address resolver failure",
      });
    }
    assert.deepEqual(troubles, ["no such file", "no such file", "no such file"]);
  });

  it("R22 lets the sender choose the relay host of what leaves, over relayhost", () => {
    const senderRelayhosts = table({ "@shop.example": "[gw.example]:26", "<>": "[null.example]" });
    const changes = { senderRelayhosts, relayhost: "[other.example]" };
    const by = (sender: string, address = "a@far.example") => resolve(address, changes, sender);
    assert.equal(by("b@shop.example"), "smtp:[gw.example]:26");
    assert.equal(by(""), "smtp:[null.example]");
    assert.equal(by("b@x.example"), "smtp:[other.example]");
    assert.equal(by("b@shop.example", "a@relayed.example"), "relay:[gw.example]:26");
    assert.equal(by("b@shop.example", "a@here.example"), "error:5.1.1 no local mailboxes here");
  });

  it("R22 goes on with relayhost where the sender's result is DUNNO", () => {
    const senderRelayhosts = table({ "b@shop.example": "DUNNO", "@shop.example": "[gw.example]" });
    const relayhost = "[other.example]";
    assert.equal(
      resolve("a@far.example", { senderRelayhosts, relayhost }, "b@shop.example"),
      "smtp:[other.example]",
    );
  });

  it("R22 lets the sender choose the transport of the default class only", () => {
    const senderTransports = table({ "@shop.example": "slow", "c@shop.example": "slow:[gw]" });
    const by = (sender: string, address: string, relayhost = "") =>
      resolve(address, { senderTransports, relayhost }, sender);
    assert.equal(by("b@shop.example", "a@far.example"), "slow:far.example");
    assert.equal(by("b@shop.example", "a@far.example", "[other]"), "slow:[other]");
    assert.equal(by("c@shop.example", "a@far.example", "[other]"), "slow:[gw]");
    assert.equal(by("b@shop.example", "a@relayed.example"), "relay:relayed.example");
    assert.equal(by("b@x.example", "a@far.example"), "smtp:far.example");
  });

  it("lets transport_maps beat what the sender chooses", () => {
    const senderRelayhosts = table({ "@shop.example": "[gw]" });
    const by = (result: string) =>
      resolve(
        "a@far.example",
        { senderRelayhosts, transportMaps: table({ "far.example": result }) },
        "b@shop.example",
      );
    assert.equal(by("slow:"), "slow:far.example");
    assert.equal(by("slow:[x]"), "slow:[x]");
    assert.equal(by(":"), "smtp:[gw]");
  });

  it("S18 knows error, retry and discard whatever transports says", () => {
    const by = (result: string) =>
      resolve("a@far.example", { transportMaps: table({ "far.example": result }) });
    assert.equal(by("discard:"), "discard:far.example");
    assert.equal(by("discard:not wanted"), "discard:not wanted");
    assert.equal(by("retry:4.2.2 full"), "retry:4.2.2 full");
  });

  it("defers mail for a transport that nobody serves", () => {
    assert.equal(
      resolve("a@far.example", { defaultTransport: "uucp" }),
      "retry:4.3.0 mail transport unavailable",
    );
  });
});
