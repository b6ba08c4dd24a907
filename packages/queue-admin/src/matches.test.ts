import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { ListedMessage } from "@postmq/queue-store";

import { matches, selectionMatcher } from "./matches.ts";
import { parseSelection } from "./parse-selection.ts";
import { listedMessage } from "./samples.test-support.ts";

const nowMs = Date.parse("2026-11-22T12:00:00Z");
const message: ListedMessage = {
  ...listedMessage({
    id: "4jX2VT6vBZzM14C",
    queue: "deferred",
    arrivalMs: nowMs - 3_600_000,
    sizeBytes: 2048,
    sender: "Joe@Example.com",
    recipients: [
      { address: "Ann@Far.example", reason: "connect to mx.far.example: Connection timed out" },
      { address: "bob@near.example" },
    ],
  }),
  envelope: {
    sender: "Joe@Example.com",
    origin: "smtp",
    client: { name: "Host.Example", address: "192.0.2.1", protocol: "ESMTP" },
  },
  attempts: 3,
};

function isMeant(...pairs: readonly (readonly [string, string])[]): boolean {
  return matches(parseSelection(pairs, { nowMs }), message);
}

describe("what a selection means", () => {
  it("everything, when it is empty; else what holds in every part", () => {
    assert.ok(isMeant());
    assert.ok(isMeant(["queue", "hold,deferred"], ["sender", "Joe@EXAMPLE.com"]));
    assert.ok(!isMeant(["queue", "hold"], ["sender", "Joe@example.com"]));
    assert.ok(!isMeant(["sender", "joe@example.com"]), "local parts differ by case");
    assert.ok(isMeant(["id", "X1,4jX2VT6vBZzM14C"]) && !isMeant(["id", "4jX2VT6vBZzM14D"]));
  });

  it("senders' and recipients' domains and addresses, the domain in any case", () => {
    assert.ok(isMeant(["sender_domain", "example.COM"]) && !isMeant(["sender_domain", "com"]));
    assert.ok(
      isMeant(["recipient", "Ann@far.example"]) && !isMeant(["recipient", "ann@far.example"]),
    );
    assert.ok(isMeant(["domain", "NEAR.example"]) && !isMeant(["domain", "example"]));
    assert.ok(isMeant(["client", "host.example"]) && isMeant(["client", "[192.0.2.1]"]));
    assert.ok(!isMeant(["client", "192.0.2.10"]));
  });

  it("ages, attempts and sizes, their ends included", () => {
    assert.ok(isMeant(["older_than", "1h"]) && isMeant(["newer_than", "60m"]));
    assert.ok(!isMeant(["older_than", "61m"]) && !isMeant(["newer_than", "59m"]));
    assert.ok(isMeant(["attempts", "3"]) && isMeant(["attempts", "3..4"]));
    assert.ok(!isMeant(["attempts", ">3"]) && !isMeant(["attempts", "<3"]));
    assert.ok(isMeant(["size", "2K"]) && isMeant(["size", ">=2K"]) && !isMeant(["size", "<2K"]));
  });

  it("reasons of deferral, and the reason of what is in corrupt", () => {
    assert.ok(isMeant(["reason", "mx\\.far\\.example: .* timed out$"]));
    assert.ok(!isMeant(["reason", "^timed out"]) && !isMeant(["reason", "near"]));
    const corrupt = { ...message, queue: "corrupt", corruptReason: "no content" } as const;
    assert.ok(matches(parseSelection([["reason", "^no c"]], { nowMs }), corrupt));
  });

  it("looks at reasons one by one, so that others can have their turn between two of them", () => {
    const { recipients } = listedMessage({
      id: "4jX2VT6vBZzM14C",
      queue: "deferred",
      arrivalMs: nowMs,
      sizeBytes: 2048,
      sender: "",
      recipients: ["refused", "refused", "refused", "timed out", "refused"].map((reason) => ({
        address: "a@b.example",
        reason,
      })),
    });
    const { matchesReasons } = selectionMatcher(parseSelection([["reason", "time"]], { nowMs }));
    const steps = matchesReasons(message, recipients);
    const taken = Array.from({ length: 5 }, () => steps.next().value);
    assert.deepEqual(taken, [undefined, undefined, undefined, true, undefined]);
  });

  it("sendmail's substrings in any case: one of a kind, every kind, and not with !", () => {
    assert.ok(isMeant(["sender_contains", "JOE@"], ["recipient_contains", "FAR"]));
    assert.ok(isMeant(["sender_contains", "nobody"], ["sender_contains", "joe"]));
    assert.ok(!isMeant(["sender_contains", "joe"], ["recipient_contains", "nowhere"]));
    assert.ok(isMeant(["id_contains", "vbzzm"]) && !isMeant(["id_contains", "!vbzzm"]));
    assert.ok(isMeant(["sender_contains", "!ann"]));
    assert.ok(!isMeant(["recipient_contains", "!far"]), "one of its recipients has it");
    assert.ok(isMeant(["recipient_contains", "!elsewhere"]));
  });

  it("nothing of a record that can't be read but its id, queue, age and reason", () => {
    const rubbish = {
      ...message,
      generation: 0,
      attempts: 0,
      sizeBytes: 0,
      recipients: [],
      envelope: { sender: "", origin: "smtp" },
    } as const;
    for (const pairs of [
      ["attempts", "<5"],
      ["size", "<1M"],
      ["sender_contains", "!x"],
      ["recipient_contains", "!x"],
    ] as const) {
      const selection = parseSelection([pairs], { nowMs });
      assert.ok(!matches(selection, rubbish), pairs[0]);
      assert.ok(matches(selection, { ...rubbish, generation: 1 }), pairs[0]);
    }
    for (const pairs of [
      ["id_contains", "!qq"],
      ["queue", "deferred"],
      ["older_than", "1m"],
    ] as const) {
      assert.ok(matches(parseSelection([pairs], { nowMs }), rubbish), pairs[0]);
    }
    assert.ok(!matches({ sender: "" }, rubbish));
    assert.ok(!matches({ senderDomain: "MAILER-DAEMON" }, rubbish));
    assert.ok(matches({ sender: "" }, { ...rubbish, generation: 1 }));
  });
});
