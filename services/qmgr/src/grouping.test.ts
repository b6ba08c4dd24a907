import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { enhancedStatus } from "@postmq/vocabulary";
import type { Destination, Envelope, StoredRecipient } from "@postmq/vocabulary";
import { groupRecipients as groupAll } from "./grouping.ts";
import type { GroupingRules } from "./grouping.ts";
import { message as activeMessage } from "./scheduler/scheduling.test-support.ts";

const toDomain = (address: string): Destination => ({
  transport: "smtp",
  nexthop: address.slice(address.indexOf("@") + 1),
});

const rules = {
  resolve: toDomain,
  recipientLimit: () => 50,
  recipientDelimiter: "+",
  softBounce: false,
  deferTransports: new Set<string>(),
  isDoubleBounce: (address: string) => address === "double-bounce@here.example",
};

const plain = {
  sender: "s@here.example",
  contentFilter: "",
  isForceExpired: false,
  isFlushed: false,
  isSingleRecipient: false,
};

function groupRecipients(of: readonly StoredRecipient[], by: GroupingRules, message = plain) {
  return groupAll(of, message, by, () => undefined);
}

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
    assert.equal(
      new Set(groups.flatMap((group) => group.recipients.map(({ number }) => number))).size,
      120,
    );
  });

  it("S17 makes one request without a recipient limit", () => {
    const many = recipients(...Array.from({ length: 120 }, (_, n) => `u${n}@x.example`));
    assert.equal(groupRecipients(many, { ...rules, recipientLimit: () => 0 }).groups.length, 1);
  });

  it("S17 makes a request for each recipient when the sender is to name it, whatever the limit", () => {
    const verp = { ...plain, isSingleRecipient: true };
    const three = recipients("a@x.example", "b@x.example", "c@x.example");
    for (const limit of [50, 0]) {
      const { groups } = groupRecipients(three, { ...rules, recipientLimit: () => limit }, verp);
      assert.deepEqual(
        groups.map((group) => [group.queueName, group.recipients.length]),
        three.map(() => ["smtp:x.example", 1]),
      );
    }
  });

  it("S17 is told so by a message that asks for VERP, unless its sender is the null address", () => {
    const asked = (sender: string, verp: Pick<Envelope, "verpDelimiters">) =>
      activeMessage({}, { envelope: { sender, origin: "smtp", ...verp } }).isSingleRecipient;
    assert.equal(asked("list@here.example", { verpDelimiters: "+=" }), true);
    assert.equal(asked("list@here.example", {}), false);
    assert.equal(asked("", { verpDelimiters: "+=" }), false);
  });

  it("S14 puts one destination together, whatever the order and the letter case", () => {
    const { groups } = groupRecipients(
      recipients("c@Y.example", "b@x.example", "a@y.example"),
      rules,
    );
    assert.deepEqual(
      groups.map((group) => [group.queueName, group.recipients.map(({ number }) => number)]),
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
      groups.map((group) => group.recipients.map(({ number }) => number)),
      [[2, 0, 1]],
    );
  });

  it("S16 counts next hops of one site as one destination, with a request for each", () => {
    const siteOf = ({ nexthop }: Destination) =>
      nexthop === "z.example" ? undefined : "mx:mx.example";
    const { groups } = groupRecipients(
      recipients("a@y.example", "b@x.example", "c@Y.example", "d@z.example", "e@x.example"),
      { ...rules, siteOf },
    );
    assert.deepEqual(
      groups.map((group) => [
        group.queueName,
        group.destination.nexthop,
        group.recipients.map(({ number }) => number),
      ]),
      [
        ["smtp:mx:mx.example", "x.example", [1, 4]],
        ["smtp:mx:mx.example", "y.example", [0, 2]],
        ["smtp:z.example", "z.example", [3]],
      ],
    );
    assert.deepEqual(
      groups.map(({ destination: { site } }) => site),
      ["mx:mx.example", "mx:mx.example", undefined],
    );
  });

  it("S16 knows no sites where limits are kept per recipient", () => {
    const { groups } = groupRecipients(recipients("a@x.example"), {
      ...rules,
      recipientLimit: () => 1,
      siteOf: () => "mx:mx.example",
    });
    assert.equal(groups[0]?.queueName, "smtp:a@x.example");
    assert.equal(groups[0]?.destination.site, undefined);
  });

  it("R22 resolves for the sender of the message", () => {
    const senders: string[] = [];
    const resolve = (address: string, sender: string): Destination => {
      senders.push(sender);
      return toDomain(address);
    };
    groupRecipients(recipients("a@x.example"), { ...rules, resolve });
    assert.deepEqual(senders, ["s@here.example"]);
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
      groups.map((group) => group.recipients.map(({ number }) => number)),
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

  it("S15 sends everything to the message's content filter, whoever it is for", () => {
    const message = { ...plain, contentFilter: "scan:[127.0.0.1]:10025" };
    const { groups } = groupRecipients(recipients("a@x.example", "b@y.example"), rules, message);
    assert.deepEqual(
      groups.map(({ destination, recipients: of }) => [destination, of.length]),
      [[{ transport: "scan", nexthop: "[127.0.0.1]:10025" }, 2]],
    );
  });

  it("S15 tries nobody of a message that an operator wants returned", () => {
    const message = { ...plain, isForceExpired: true };
    const { groups, decided } = groupRecipients(recipients("a@x.example"), rules, message);
    assert.deepEqual(groups, []);
    assert.equal(decided[0]?.kind, "deferred");
    assert.equal(decided[0].status, "4.7.0");
    assert.equal(decided[0].reason, "message is administratively expired");
  });

  it("S15 drops our own undeliverable notices and says that they were sent", () => {
    const { groups, decided } = groupRecipients(recipients("Double-Bounce@here.example"), rules);
    assert.deepEqual(groups, []);
    assert.equal(decided[0]?.kind, "sent");
    assert.equal(decided[0].status, "2.0.0");
  });

  it("S18 D31 owes a report of what is discarded, to who asked for one", () => {
    const resolve = (): Destination => ({ transport: "discard", nexthop: "not wanted" });
    const [plainOne, asking] = recipients("a@x.example", "b@x.example");
    assert(plainOne !== undefined && asking !== undefined);
    const { groups, decided } = groupRecipients(
      [plainOne, { ...asking, notify: ["SUCCESS", "FAILURE"] }],
      { ...rules, resolve },
    );
    assert.deepEqual(groups, []);
    assert.deepEqual(
      decided.map(({ kind, reason, owesReport }) => [kind, reason, owesReport]),
      [
        ["sent", "not wanted", undefined],
        ["sent", "not wanted", "delivered"],
      ],
    );
  });

  it("S36 defers transports of defer_transports, but not in a flush", () => {
    const deferring = { ...rules, deferTransports: new Set(["smtp"]) };
    const { groups, decided } = groupRecipients(recipients("a@x.example"), deferring);
    assert.deepEqual(groups, []);
    assert.equal(`${decided[0]?.status} ${decided[0]?.reason}`, "4.3.2 deferred transport");
    const flushed = { ...plain, isFlushed: true };
    assert.equal(groupRecipients(recipients("a@x.example"), deferring, flushed).groups.length, 1);
  });

  it("S15 defers what is for a suspended site, with the stored reason", () => {
    const suspension = {
      status: enhancedStatus("4.4.1"),
      reason: "delivery temporarily suspended: x",
    };
    const { groups, decided } = groupAll(
      recipients("a@dead.example", "b@x.example"),
      plain,
      rules,
      (_, name) => (name === "smtp:dead.example" ? suspension : undefined),
    );
    assert.deepEqual(
      groups.map((group) => group.queueName),
      ["smtp:x.example"],
    );
    assert.deepEqual(
      decided.map(({ kind, status, reason }) => ({ kind, status, reason })),
      [{ kind: "deferred", ...suspension }],
    );
  });
});
