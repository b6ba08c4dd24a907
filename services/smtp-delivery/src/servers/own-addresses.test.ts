import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isPostmqError } from "@postmq/vocabulary";

import { findOwnAddresses } from "./own-addresses.ts";

const local = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"];

/** Which of a few addresses are our own. */
async function own(interfaces: readonly string[], proxies: readonly string[] = []) {
  const settings = { inet_interfaces: interfaces, proxy_interfaces: proxies };
  const isOwn = await findOwnAddresses(settings, local);
  return [...local, "192.0.2.2"].filter(isOwn);
}

describe("findOwnAddresses", () => {
  it("D3 all: every address of this machine", async () => {
    assert.deepEqual(await own(["all"]), local);
  });

  it("D3 loopback-only: those of the loopback interface", async () => {
    assert.deepEqual(await own(["loopback-only"]), ["127.0.0.1", "::1"]);
  });

  it("D3 addresses and host names, with or without brackets", async () => {
    assert.deepEqual(await own(["192.0.2.1", "[2001:0DB8::1]"]), ["192.0.2.1", "2001:db8::1"]);
    assert.ok((await own(["localhost"])).includes("127.0.0.1"));
  });

  it("D3 proxy_interfaces adds to them; empty lists are none", async () => {
    assert.deepEqual(await own(["loopback-only"], ["192.0.2.2"]), [
      "127.0.0.1",
      "::1",
      "192.0.2.2",
    ]);
    assert.deepEqual(await own([]), []);
  });

  it("D3 an address is the same in its IPv6 form", async () => {
    const settings = { inet_interfaces: ["192.0.2.1"], proxy_interfaces: [] };
    const isOwn = await findOwnAddresses(settings, local);
    assert.equal(isOwn("::ffff:192.0.2.1"), true);
    assert.equal(isOwn("::ffff:192.0.2.2"), false);
  });

  it("refuses a name that is not found, naming the parameter", async () => {
    await assert.rejects(
      own(["loopback-only"], ["bad name"]),
      (error) =>
        isPostmqError(error, "PMQ_CONFIG_INVALID") &&
        error.message === "proxy_interfaces: host not found: bad name",
    );
  });
});
