import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isPrivateAddress } from "./private-address.ts";

describe("isPrivateAddress", () => {
  it("security 10: knows loopback, private, link-local and multicast addresses", () => {
    const inside = [
      "127.0.0.1",
      "127.255.255.254",
      "0.0.0.0",
      "10.1.2.3",
      "172.31.0.1",
      "192.168.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "0.255.255.255",
      "100.127.255.255",
      "169.254.0.1",
      "192.0.0.8",
      "198.19.255.255",
      "224.0.0.1",
      "239.255.255.255",
      "240.0.0.1",
      "255.255.255.255",
      "::1",
      "::",
      "fe80::1",
      "fc00::1",
      "fdff::1",
      "ff02::1",
      "febf::1",
      "fec0::1",
      "fd00:ec2::254",
      "64:ff9b:1::1",
      "100::1",
      "::ffff:0:0:1",
      "::ffff:0:169.254.169.254",
      "::ffff:0:192.0.2.1",
    ];
    assert.deepEqual(
      inside.filter((address) => !isPrivateAddress(address)),
      [],
    );
  });

  it("security 10: knows an IPv4 address that hides in an IPv6 one", () => {
    const hidden = [
      "::ffff:127.0.0.1",
      "::ffff:7f00:1",
      "::127.0.0.1",
      "::ffff:169.254.169.254",
      "0:0:0:0:0:ffff:a9fe:a9fe",
      "64:ff9b::a9fe:a9fe",
      "2002:7f00:1::",
      "64:ff9b::10.0.0.1",
      "2002:c0a8:101::1",
    ];
    assert.deepEqual(
      hidden.filter((address) => !isPrivateAddress(address)),
      [],
    );
    assert.equal(isPrivateAddress("::ffff:192.0.2.1"), false);
    assert.equal(isPrivateAddress("64:ff9b::192.0.2.1"), false);
  });

  it("lets public addresses pass", () => {
    for (const address of [
      "192.0.2.1",
      "172.32.0.1",
      "100.128.0.1",
      "8.8.8.8",
      "2001:db8::1",
      "::fffe:0:0:1",
    ])
      assert.equal(isPrivateAddress(address), false, address);
  });
});
