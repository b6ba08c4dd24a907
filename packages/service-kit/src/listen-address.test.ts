import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddress, isLoopback, parseListenAddress } from "./listen-address.ts";

describe("listen addresses", () => {
  it("parses host:port and writes it again, IPv6 in brackets", () => {
    assert.deepEqual(parseListenAddress("127.0.0.1:25"), { host: "127.0.0.1", port: 25 });
    assert.deepEqual(parseListenAddress("[::1]:0"), { host: "::1", port: 0 });
    assert.equal(formatAddress("::1", 25), "[::1]:25");
    assert.throws(() => parseListenAddress("::1:25"), RangeError);
  });

  it("P11 knows loopback by address, and no other name than localhost", () => {
    for (const host of ["127.0.0.1", "127.8.9.1", "::1", "localhost", "::ffff:127.0.0.1"]) {
      assert.equal(isLoopback(host), true, host);
    }
    for (const host of [
      "0.0.0.0",
      "::",
      "10.0.0.1",
      "localhost.example.com",
      "127.0.0.1.nip.io",
      "",
    ]) {
      assert.equal(isLoopback(host), false, host);
    }
  });
});
