import assert from "node:assert/strict";
import { isIPv6 } from "node:net";
import { describe, it } from "node:test";

import { seededRandom } from "@postmq/testing";
import fc from "fast-check";

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

  it("D2 smtp_balance_inet_protocols = no: the first ones, whatever their family", () => {
    const six = [1, 2, 3, 4, 5].map((n) => server(`2001:db8::${n}`, 10));
    const kept = orderAddresses([...six, server("192.0.2.1", 20)], { ...options, balances: false });
    assert.deepEqual(addresses(kept), addresses(six));
  });

  it("D2 gives the odd place to the family that comes first, when both have many", () => {
    const mixed = [1, 2, 3, 4].flatMap((n) => [
      server(`192.0.2.${n}`, n),
      server(`2001:db8::${n}`, n),
    ]);
    const count = (prefers: "ipv4" | "ipv6") =>
      orderAddresses(mixed, { ...options, prefers }).filter(({ address }) => isIPv6(address))
        .length;
    assert.deepEqual([count("ipv4"), count("ipv6")], [2, 3]);
  });
});

describe("orderAddresses, for any list", () => {
  const anyServer: fc.Arbitrary<ServerAddress> = fc.record({
    host: fc.constantFrom("a.example", "b.example"),
    address: fc.oneof(
      fc.integer({ min: 1, max: 250 }).map((n) => `192.0.2.${n}`),
      fc.integer({ min: 1, max: 250 }).map((n) => `2001:db8::${n}`),
    ),
    port: fc.constant(25),
    preference: fc.integer({ min: 0, max: 3 }),
  });
  const anyOptions = fc.record({
    randomizes: fc.boolean(),
    prefers: fc.constantFrom("any", "ipv4", "ipv6"),
    addressLimit: fc.integer({ min: 0, max: 8 }),
    balances: fc.boolean(),
    random: fc.integer({ min: 1, max: 1_000 }).map((seed) => {
      const random = seededRandom(seed);
      return () => random.next();
    }),
  });
  const anyCase = fc.tuple(fc.array(anyServer, { maxLength: 20 }), anyOptions);
  const isSix = ({ address }: ServerAddress) => isIPv6(address);

  it("D2 never puts a worse preference first, nor, within one, the family that is not preferred", () => {
    fc.assert(
      fc.property(anyCase, ([servers, options]) => {
        const ordered = orderAddresses(servers, options);
        ordered.slice(1).forEach((next, at) => {
          const before = ordered[at] ?? next;
          assert.ok(before.preference <= next.preference);
          if (before.preference !== next.preference || options.prefers === "any") return;
          const isPreferred = (one: ServerAddress) => isSix(one) === (options.prefers === "ipv6");
          assert.ok(isPreferred(before) || !isPreferred(next));
        });
      }),
    );
  });

  it("D4 keeps exactly as many as it may, each of them once", () => {
    fc.assert(
      fc.property(anyCase, ([servers, options]) => {
        const ordered = orderAddresses(servers, options);
        const { addressLimit } = options;
        const most = addressLimit === 0 ? servers.length : Math.min(addressLimit, servers.length);
        assert.equal(ordered.length, most);
        assert.equal(new Set(ordered).size, most);
        assert.ok(ordered.every((one) => servers.includes(one)));
      }),
    );
  });

  it("D2 never lets one family use up the limit when it is balanced", () => {
    fc.assert(
      fc.property(anyCase, ([servers, options]) => {
        const { addressLimit } = options;
        if (!options.balances || addressLimit === 0) return;
        const ordered = orderAddresses(servers, options);
        for (const isOf of [isSix, (one: ServerAddress) => !isSix(one)]) {
          const all = servers.filter(isOf).length;
          const kept = ordered.filter(isOf).length;
          assert.ok(kept >= Math.min(all, Math.floor(addressLimit / 2)));
        }
      }),
    );
  });
});
