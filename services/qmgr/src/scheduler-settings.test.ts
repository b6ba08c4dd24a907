import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadParameters } from "@postmq/config";
import {
  oddSettings,
  poolRules,
  recipientLimit,
  schedulerOptions,
  shareKey,
  transportRules,
} from "./scheduler-settings.ts";

function load(changes: Readonly<Record<string, string>> = {}) {
  const env = Object.fromEntries(
    Object.entries(changes).map(([name, value]) => [`POSTMQ_${name.toUpperCase()}`, value]),
  );
  return loadParameters({
    env: { POSTMQ_MYHOSTNAME: "mx.example.com", POSTMQ_DATA_DIRECTORY: "", ...env },
    service: "qmgr",
  });
}

const told = { onClogged: () => undefined };

describe("odd settings", () => {
  it("S8 warns unless queue_run_delay <= minimal_backoff_time <= maximal_backoff_time", () => {
    assert.deepEqual(oddSettings(load()), []);
    assert.match(oddSettings(load({ queue_run_delay: "301s" })).join(), /^queue_run_delay is/);
    assert.deepEqual(oddSettings(load({ queue_run_delay: "300s" })), []);
    assert.match(
      oddSettings(load({ minimal_backoff_time: "4001s" })).join(),
      /^minimal_backoff_time is larger than maximal_backoff_time/,
    );
    assert.deepEqual(oddSettings(load({ minimal_backoff_time: "4000s" })), []);
  });

  it("S10 warns when bounce_queue_lifetime is larger, and does not when it is equal", () => {
    const [warning] = oddSettings(load({ bounce_queue_lifetime: "6d" }));
    assert.match(warning ?? "", /^bounce_queue_lifetime/);
    assert.deepEqual(oddSettings(load({ bounce_queue_lifetime: "5d" })), []);
  });

  it("raises the recipient limit to the message limit, and warns", () => {
    const low = load({ qmgr_message_recipient_limit: "19999" });
    assert.equal(recipientLimit(low), 20_000);
    assert.match(oddSettings(low).join(), /^qmgr_message_recipient_limit is smaller/);
    assert.equal(recipientLimit(load({ qmgr_message_recipient_limit: "30000" })), 30_000);
  });
});

describe("the scheduler's settings", () => {
  it("are Postfix's defaults, and those of a transport where it has its own", () => {
    const parameters = load({
      relay_destination_concurrency_limit: "7",
      relay_delivery_slot_cost: "3",
      relay_recipient_refill_delay: "9s",
    });
    const smtp = transportRules(parameters, "smtp");
    assert.equal(smtp.destination.concurrencyLimit, 20);
    assert.equal(smtp.destination.initialConcurrency, 5);
    assert.deepEqual([smtp.slotCost, smtp.slotLoan, smtp.slotDiscount], [5, 3, 50]);
    const relay = transportRules(parameters, "relay");
    assert.deepEqual([relay.destination.concurrencyLimit, relay.slotCost], [7, 3]);
    assert.equal(poolRules(parameters, "relay").refillDelayMs, 9000);
    assert.equal(poolRules(parameters, "smtp").refillDelayMs, 5000);
  });

  it("S30 a rate delay forces the concurrency limit to one", () => {
    const parameters = load({ relay_destination_rate_delay: "2s" });
    assert.equal(transportRules(parameters, "relay").destination.concurrencyLimit, 1);
    assert.equal(transportRules(parameters, "relay").destination.rateDelayMs, 2000);
    assert.equal(transportRules(parameters, "smtp").destination.concurrencyLimit, 20);
    const unlimited = load({
      default_destination_rate_delay: "1s",
      default_destination_concurrency_limit: "0",
    });
    assert.equal(transportRules(unlimited, "smtp").destination.concurrencyLimit, 1);
  });

  it("S28 a destination is dead for minimal_backoff_time; records are kept up to twice the recipient limit", () => {
    const parameters = load({ minimal_backoff_time: "600s" });
    assert.equal(transportRules(parameters, "smtp").destination.deadMs, 600_000);
    assert.equal(schedulerOptions(parameters, told).mostDestinations, 40_000);
  });

  it("share turns by what fair_share_key names, with its weights, or not at all", () => {
    const envelope = {
      sender: "a@News.Example",
      origin: "smtp",
      client: { name: "c.example", address: "192.0.2.1", protocol: "ESMTPA", saslUsername: "bob" },
    } as const;
    const keyOf = (key: string) => shareKey(load({ fair_share_key: key }), envelope);
    assert.deepEqual(["none", "sender_domain", "sasl_username", "client"].map(keyOf), [
      "",
      "news.example",
      "bob",
      "192.0.2.1",
    ]);
    const weighted = load({ fair_share_key: "client", fair_share_weights: "192.0.2.1=4" });
    const { weightOf } = schedulerOptions(weighted, told);
    assert.deepEqual([weightOf?.("192.0.2.1"), weightOf?.("192.0.2.2")], [4, 1]);
    assert.equal(schedulerOptions(load(), told).weightOf, undefined);
  });
});
