import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { loadParameters } from "@postmq/config";

import { connectionRules } from "./connection-rules.ts";
import { request } from "../delivery.test-support.ts";

function rules(env: Readonly<Record<string, string>> = {}) {
  return connectionRules(
    loadParameters({
      env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_DATA_DIRECTORY: "", ...env },
      service: "smtp-delivery",
    }),
  );
}

describe("where a connection counts", () => {
  it("S16: at transport and next hop", () => {
    assert.equal(rules().nameOf(request(1, "[MX.example.com]:26")), "smtp:[mx.example.com]:26");
  });

  it("S16: at the site of its next hop, if it has one", () => {
    const destination = { transport: "smtp", nexthop: "far.example", site: "mx:mx.example.com" };
    assert.equal(rules().nameOf(request(1, "", { destination })), "smtp:mx:mx.example.com");
  });

  it("S16: at the recipient where the recipient limit is 1", () => {
    const { nameOf } = rules({
      POSTMQ_DEFAULT_DESTINATION_RECIPIENT_LIMIT: "1",
      POSTMQ_RECIPIENT_DELIMITER: "+",
    });
    const one = request(1, "example.com", { to: ["User+news@example.com"] });
    assert.equal(nameOf(one), "smtp:user@example.com");
  });
});

describe("how many connections there may be", () => {
  it("S23: the destination concurrency limit of the transport", () => {
    const { limitOf } = rules({
      POSTMQ_DEFAULT_DESTINATION_CONCURRENCY_LIMIT: "7",
      POSTMQ_RELAY_DESTINATION_CONCURRENCY_LIMIT: "3",
    });
    assert.deepEqual([limitOf("smtp"), limitOf("relay")], [7, 3]);
  });

  it("S30: one where a destination rests after each delivery", () => {
    const { limitOf } = rules({ POSTMQ_DEFAULT_DESTINATION_RATE_DELAY: "1s" });
    assert.equal(limitOf("smtp"), 1);
  });
});

describe("which connections are kept", () => {
  it("S32: those that the scheduler asks for", () => {
    const { keeps } = rules();
    assert.deepEqual([keeps("example.com", true), keeps("example.com", false)], [true, false]);
  });

  it("S32: none, though asked for, without smtp_connection_cache_on_demand", () => {
    const { keeps } = rules({ POSTMQ_SMTP_CONNECTION_CACHE_ON_DEMAND: "no" });
    assert.equal(keeps("example.com", true), false);
  });

  it("D25: those to smtp_connection_cache_destinations, named without brackets and port", () => {
    const { keeps } = rules({
      POSTMQ_SMTP_CONNECTION_CACHE_ON_DEMAND: "no",
      POSTMQ_SMTP_CONNECTION_CACHE_DESTINATIONS: "Example.com, 192.0.2.1",
    });
    assert.equal(keeps("EXAMPLE.com", false), true);
    assert.equal(keeps("[192.0.2.1]:26", false), true);
    assert.equal(keeps("example.net", false), false);
  });
});
