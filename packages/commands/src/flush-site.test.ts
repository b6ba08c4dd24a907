import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isFlushable, isSite } from "./flush-site.ts";

describe("sites to flush", () => {
  it("are domains and address literals, as Postfix 3.7 takes them", () => {
    const domains = ["relay.example", "RELAY.example", "localhost", "under_score", "1a.2"];
    for (const text of [...domains, "[127.0.0.1]", "[ipv6:::1]", "[IPv6:2001:db8::1]"])
      assert.equal(isSite(text), true, text);
  });

  it("are nothing else", () => {
    const names = [
      "",
      "a b",
      "bad..name",
      "relay.example.",
      ".example",
      "-x.example",
      "x-.example",
    ];
    const numbers = ["127.0.0.1", "[::1]", "[127.0.0.1", "[]", "[localhost]", "12"];
    const long = [`${"x".repeat(64)}.example`, `${"x.".repeat(150)}example`, "\u00FCber.example"];
    for (const text of [...names, ...numbers, ...long]) assert.equal(isSite(text), false, text);
  });

  it("may be flushed when fast_flush_domains has them, or a domain above them", () => {
    const domains = ["!closed.relay.example", "Relay.example", ".dot.example", "[127.0.0.1]"];
    for (const site of ["relay.example", "Sub.Relay.EXAMPLE", "a.b.relay.example", "[127.0.0.1]"])
      assert.equal(isFlushable(site, domains), true, site);
    const others = ["other.example", "norelay.example", "closed.relay.example", "a.dot.example"];
    for (const site of [...others, "dot.example", "[127.0.0.2]"])
      assert.equal(isFlushable(site, domains), false, site);
    assert.equal(isFlushable("any.example", ["static:all"]), true);
    assert.equal(isFlushable("any.example", []), false);
    assert.throws(() => isFlushable("any.example", ["hash:/etc/x"]), /fast_flush_domains: hash:/);
  });
});
