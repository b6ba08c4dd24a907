import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { seededRandom } from "@postmq/testing";

import { orderAddresses } from "./order-addresses.ts";
import type { OrderOptions, ServerAddress } from "./order-addresses.ts";

const server = (address: string, preference: number): ServerAddress => ({
  host: `mx${preference}.example.com`,
  address,
  port: 25,
  preference,
});

const options: OrderOptions = {
  randomizes: false,
  prefers: "any",
  addressLimit: 5,
  balances: true,
  random: () => 0.5,
};
const addresses = (servers: readonly ServerAddress[]) => servers.map(({ address }) => address);

describe("orderAddresses", () => {
  it("D2 tries lower preference first", () => {
    const ordered = orderAddresses([server("192.0.2.2", 20), server("192.0.2.1", 10)], options);
    assert.deepEqual(addresses(ordered), ["192.0.2.1", "192.0.2.2"]);
  });

  it("D2 shuffles servers of equal preference, and never across preferences", () => {
    const servers = [1, 2, 3, 4].map((n) => server(`192.0.2.${n}`, n <= 3 ? 10 : 20));
    const random = seededRandom(7);
    const seen = new Set<string>();
    for (let run = 0; run < 60; run++) {
      const ordered = orderAddresses(servers, {
        ...options,
        randomizes: true,
        random: () => random.next(),
      });
      assert.equal(addresses(ordered)[3], "192.0.2.4");
      seen.add(addresses(ordered).join());
    }
    assert.equal(seen.size, 6);
  });

  it("D2 puts the preferred family first within a preference", () => {
    const servers = [server("192.0.2.1", 10), server("2001:db8::1", 10), server("192.0.2.2", 20)];
    assert.deepEqual(addresses(orderAddresses(servers, { ...options, prefers: "ipv6" })), [
      "2001:db8::1",
      "192.0.2.1",
      "192.0.2.2",
    ]);
    assert.equal(
      addresses(orderAddresses(servers, { ...options, prefers: "ipv4" }))[1],
      "2001:db8::1",
    );
  });

  it("D4 keeps to smtp_mx_address_limit, 0 meaning all", () => {
    const servers = [1, 2, 3, 4, 5, 6, 7].map((n) => server(`192.0.2.${n}`, n));
    assert.equal(orderAddresses(servers, options).length, 5);
    assert.equal(orderAddresses(servers, { ...options, addressLimit: 0 }).length, 7);
  });

  it("D2 leaves room for the other family when the list is cut", () => {
    const six = [1, 2, 3, 4, 5, 6].map((n) => server(`2001:db8::${n}`, 10));
    const four = [1, 2, 3].map((n) => server(`192.0.2.${n}`, 20));
    const kept = addresses(orderAddresses([...six, ...four], options));
    assert.deepEqual(kept, ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"]);
  });
});
