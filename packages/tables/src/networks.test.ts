import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { inNetworks, parseNetworks } from "./networks.ts";

describe("networks", () => {
  const isIn = (address: string, ...list: readonly string[]) =>
    inNetworks(address, parseNetworks(list));

  it("V23 takes addresses and nets, IPv4 and IPv6", () => {
    assert.equal(isIn("192.0.2.1", "192.0.2.1"), true);
    assert.equal(isIn("192.0.2.2", "192.0.2.1"), false);
    assert.equal(isIn("10.200.3.4", "10.0.0.0/8"), true);
    assert.equal(isIn("11.0.0.1", "10.0.0.0/8"), false);
    assert.equal(isIn("192.0.2.127", "192.0.2.64/26"), true);
    assert.equal(isIn("192.0.2.128", "192.0.2.64/26"), false);
    assert.equal(isIn("2001:db8::9", "2001:db8::/64"), true);
    assert.equal(isIn("2001:db8:0:1::9", "2001:db8::/64"), false);
    assert.equal(isIn("203.0.113.9", "0.0.0.0/0"), true);
  });

  it("V23 takes IPv6 in brackets, with the length behind or within", () => {
    assert.equal(isIn("::1", "[::1]/128"), true);
    assert.equal(isIn("::1", "[::1/128]"), true);
    assert.equal(isIn("::1", "[::1]"), true);
    assert.equal(isIn("::2", "[::1]/128"), false);
    assert.equal(isIn("fe80::1%eth0", "[fe80::]/10"), true);
  });

  it("V23 sees the IPv4 address in an IPv4-mapped one", () => {
    assert.equal(isIn("::ffff:127.0.0.1", "127.0.0.0/8"), true);
    assert.equal(isIn("::ffff:7f00:1", "127.0.0.0/8"), true);
    assert.equal(isIn("127.0.0.1", "::ffff:127.0.0.1"), true);
  });

  it("V23 does not let a net of one family match the other", () => {
    assert.equal(isIn("::1", "0.0.0.0/0"), false);
    assert.equal(isIn("127.0.0.1", "::/0"), false);
  });

  it("V23 lets the first item that matches decide, ! excluding", () => {
    assert.equal(isIn("10.0.0.1", "!10.0.0.1", "10.0.0.0/8"), false);
    assert.equal(isIn("10.0.0.2", "!10.0.0.1", "10.0.0.0/8"), true);
    assert.equal(isIn("10.0.0.1", "10.0.0.0/8", "!10.0.0.1"), true);
  });

  it("V23 refuses a net with host bits, naming it", () => {
    assert.throws(
      () => parseNetworks(["192.0.2.1/24"]),
      /mynetworks: "192\.0\.2\.1\/24": .*first 24/,
    );
    assert.throws(() => parseNetworks(["[2001:db8::1]/64"]), /first 64/);
  });

  it("V23 refuses what is no network", () => {
    const wrong = [
      "10.0.0.0/33",
      "10.0.0",
      "example.com",
      "[::1",
      "::1]",
      "10.0.0.0/-1",
      "hash:/x",
      "",
      "[::1/64]/64",
    ];
    for (const item of wrong) assert.throws(() => parseNetworks([item]), /mynetworks/, item);
  });

  it("V23 reads files of networks, and excludes them whole", () => {
    const directory = mkdtempSync(join(tmpdir(), "postmq-networks-"));
    try {
      const file = join(directory, "clients");
      writeFileSync(
        file,
        "# office\n192.0.2.0/24, 198.51.100.7\n  # more\n!203.0.113.5 203.0.113.0/24\n",
      );
      assert.equal(isIn("198.51.100.7", file), true);
      assert.equal(isIn("203.0.113.5", file), false);
      assert.equal(isIn("203.0.113.6", file), true);
      assert.equal(isIn("192.0.2.3", `!${file}`, "192.0.2.0/24"), false);
      writeFileSync(file, `${file}\n`);
      assert.throws(() => parseNetworks([file]), /too deeply/);
    } finally {
      rmSync(directory, { recursive: true });
    }
    assert.throws(() => parseNetworks(["/nowhere/clients"]), /\/nowhere\/clients.*can't be read/);
  });

  it("is in no network, what is no address", () => {
    assert.equal(isIn("unknown", "0.0.0.0/0", "::/0"), false);
    assert.equal(isIn("", "0.0.0.0/0", "::/0"), false);
  });
});
