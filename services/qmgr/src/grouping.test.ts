import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Destination, StoredRecipient } from "@postmq/vocabulary";
import { groupRecipients } from "./grouping.ts";

const toDomain = (address: string): Destination => ({
  transport: "smtp",
  nexthop: address.slice(address.indexOf("@") + 1),
});

const rules = {
  resolve: toDomain,
  recipientLimit: () => 50,
  recipientDelimiter: "+",
  softBounce: false,
};

function recipients(...addresses: readonly string[]): readonly StoredRecipient[] {
  return addresses.map((address, number) => ({ address, number, state: { kind: "todo" } }));
}

describe("groupRecipients", () => {
  it("S17 cuts 120 recipients of one destination into 50, 50 and 20", () => {
    const many = recipients(...Array.from({ length: 120 }, (_, n) => `u${n}@x.example`));
    const { groups } = groupRecipients(many, rules);
    assert.deepEqual(
      groups.map((group) => group.recipients.length),
      [50, 50, 20],
    );
    assert.equal(new Set(groups.flatMap((group) => group.recipients)).size, 120);
  });

  it("S17 makes one request without a recipient limit", () => {
    const many = recipients(...Array.from({ length: 120 }, (_, n) => `u${n}@x.example`));
    assert.equal(groupRecipients(many, { ...rules, recipientLimit: () => 0 }).groups.length, 1);
  });

  it("S14 puts one destination together, whatever the order and the letter case", () => {
    const { groups } = groupRecipients(
      recipients("c@Y.example", "b@x.example", "a@y.example"),
      rules,
    );
    assert.deepEqual(
      groups.map((group) => [group.queueName, group.recipients]),
      [
        ["smtp:x.example", [1]],
        ["smtp:y.example", [2, 0]],
      ],
    );
  });

  it("S14 keeps one domain contiguous behind a common relay", () => {
    const resolve = (): Destination => ({ transport: "smtp", nexthop: "[gw]" });
    const { groups } = groupRecipients(recipients("z@a.example", "a@b.example", "a@A.example"), {
      ...rules,
      resolve,
    });
    assert.deepEqual(
      groups.map((group) => group.recipients),
      [[2, 0, 1]],
    );
  });

  it("S16 counts limits per recipient, without its extension, when the recipient limit is 1", () => {
    const { groups } = groupRecipients(
      recipients("joe+a@x.example", "Joe+b@x.example", "al@x.example"),
      {
        ...rules,
        recipientLimit: () => 1,
      },
    );
    assert.deepEqual(
      groups.map((group) => group.queueName),
      ["smtp:al@x.example", "smtp:joe@x.example", "smtp:joe@x.example"],
    );
  });

  it("S18 decides recipients of error and retry without a request", () => {
    const resolve = (address: string): Destination =>
      address.startsWith("bad") ? { transport: "error", nexthop: "5.1.1 no" } : toDomain(address);
    const { groups, decided } = groupRecipients(recipients("bad@x.example", "a@x.example"), {
      ...rules,
      resolve,
    });
    assert.deepEqual(
      groups.map((group) => group.recipients),
      [[1]],
    );
    assert.deepEqual(decided, [
      {
        kind: "failed",
        status: "5.1.1",
        reason: "no",
        recipient: 0,
        address: "bad@x.example",
        original: undefined,
        isSoftBounce: false,
      },
    ]);
  });
});
