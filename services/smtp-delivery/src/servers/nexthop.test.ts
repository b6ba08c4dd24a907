import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseNexthopList } from "./nexthop.ts";

const one = (text: string) => parseNexthopList(text)?.[0];

describe("parseNexthopList", () => {
  it("D1 takes port 25 for a domain without one", () => {
    assert.deepEqual(one("example.com"), {
      text: "example.com",
      host: "example.com",
      port: 25,
      isLiteral: false,
      hasPort: false,
    });
  });

  it("D1 knows brackets and ports: no MX lookup for those", () => {
    assert.deepEqual(one("[mail.example.com]:2526"), {
      text: "[mail.example.com]:2526",
      host: "mail.example.com",
      port: 2526,
      isLiteral: true,
      hasPort: true,
    });
    assert.deepEqual(one("example.com:submission")?.port, 587);
  });

  it("D1 knows address literals of both families", () => {
    assert.equal(one("[127.0.0.1]:25")?.host, "127.0.0.1");
    assert.equal(one("[ipv6:2001:db8::1]:26")?.host, "2001:db8::1");
    assert.equal(one("[IPv6:2001:db8::1]")?.host, "2001:db8::1");
    assert.equal(one("[2001:db8::1]")?.host, "2001:db8::1");
  });

  it("D1 LMTP takes port 24, and inet: before a host", () => {
    const [plain, inet] = parseNexthopList("mda.example, inet:mda.example:2400", "lmtp") ?? [];
    assert.equal(plain?.port, 24);
    assert.deepEqual([inet?.host, inet?.port], ["mda.example", 2400]);
    assert.equal(parseNexthopList("inet:mda.example"), undefined);
  });

  it("D1 keeps the order of a list", () => {
    const list = parseNexthopList("a.example, [b.example]:26  c.example");
    assert.deepEqual(
      list?.map(({ host }) => host),
      ["a.example", "b.example", "c.example"],
    );
  });

  it("refuses what is no next hop instead of guessing", () => {
    for (const text of ["", " ", "a b:x:y", "[a", "a]", "host:0", "host:70000", "host:ssh", "a@b"])
      assert.equal(parseNexthopList(text), undefined, text);
    assert.equal(parseNexthopList("good.example, evil\r\nhost:0"), undefined);
  });
});
