import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { queueName } from "./queue-name.ts";

const rules = { recipientLimit: () => 50, recipientDelimiter: "+" };

describe("queueName", () => {
  it("S16 is the transport and the next hop in lower case", () => {
    const destination = { transport: "smtp", nexthop: "[GW.Example]:26" };
    assert.equal(queueName("Joe+a@Far.Example", destination, rules), "smtp:[gw.example]:26");
  });

  it("S16 is the transport and the site where the next hop counts at one", () => {
    const destination = { transport: "smtp", nexthop: "far.example", site: "mx:mx.example" };
    assert.equal(queueName("joe@far.example", destination, rules), "smtp:mx:mx.example");
    const single = { ...rules, recipientLimit: () => 1 };
    assert.equal(queueName("joe@far.example", destination, single), "smtp:joe@far.example");
  });

  it("S16 has the recipient without its extension where a request carries one recipient", () => {
    const single = { ...rules, recipientLimit: (name: string) => (name === "slow" ? 1 : 50) };
    assert.equal(
      queueName("Joe+a@Far.Example", { transport: "slow", nexthop: "Far.Example" }, single),
      "slow:joe@far.example",
    );
    assert.equal(
      queueName("Joe+a@Far.Example", { transport: "smtp", nexthop: "Far.Example" }, single),
      "smtp:far.example",
    );
  });
});
