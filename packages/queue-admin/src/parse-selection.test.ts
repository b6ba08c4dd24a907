import assert from "node:assert/strict";
import { describe, it } from "node:test";

import fc from "fast-check";
import { isPostmqError, messageQueues, parseQueueId } from "@postmq/vocabulary";

import { formatSelection, isEmptySelection, selectionPairs } from "./format-selection.ts";
import { parseSelection } from "./parse-selection.ts";
import type { Selection } from "./selection.ts";

const nowMs = Date.parse("2026-11-22T12:00:00Z");
const day = 86_400_000;

const parse = (...pairs: readonly (readonly [string, string])[]) =>
  parseSelection(pairs, { nowMs });

function refusal(...pairs: readonly (readonly [string, string])[]): string {
  try {
    parse(...pairs);
  } catch (error) {
    assert.ok(isPostmqError(error, "PMQ_USAGE"), String(error));
    return error.message;
  }
  assert.fail(`${JSON.stringify(pairs)} was taken`);
}

describe("the grammar of selections", () => {
  it("takes queues and ids, several of each", () => {
    assert.deepEqual(parse(["queue", "deferred,hold"], ["queue", "hold"], ["id", "A1,B2"]), {
      queues: ["deferred", "hold"],
      ids: ["A1", "B2"],
    });
  });

  it("folds senders, recipients and domains as the indexes do", () => {
    const named = parse(
      ["sender", "<Joe@Example.COM>"],
      ["recipient", "Ann@Example.NET"],
      ["domain", "@Example..NET."],
      ["sender_domain", "Example.COM"],
    );
    assert.deepEqual(named, {
      sender: "Joe@example.com",
      recipient: "Ann@example.net",
      domain: "example.net",
      senderDomain: "example.com",
    });
    assert.deepEqual(parse(["client", "[192.0.2.1]"]), { client: "192.0.2.1" });
  });

  it("writes the null sender <> or, as mailq shows it, MAILER-DAEMON", () => {
    assert.deepEqual(parse(["sender", "<>"]), { sender: "" });
    assert.deepEqual(parse(["sender", "MAILER-DAEMON"]), { sender: "" });
    assert.deepEqual(parse(["sender_domain", "<>"]), { senderDomain: "MAILER-DAEMON" });
    assert.equal(refusal(["sender", ""]), 'sender: "" is empty');
  });

  it("counts ages from now; two bounds on one side narrow each other", () => {
    assert.deepEqual(parse(["older_than", "5d"]), { arrivedToMs: nowMs - 5 * day });
    assert.deepEqual(parse(["newer_than", "1h30m"]), { arrivedFromMs: nowMs - 5_400_000 });
    assert.deepEqual(parse(["older_than", "5d"], ["arrived_to", "2026-01-01T00:00:00Z"]), {
      arrivedToMs: Date.parse("2026-01-01T00:00:00Z"),
    });
    assert.match(refusal(["older_than", "5d"], ["newer_than", "1d"]), /^newer_than: .* nothing/);
    assert.match(refusal(["older_than", "5"]), /^older_than: "5" is no age: .*units/);
  });

  it("takes ranges of attempts and sizes", () => {
    const range = (text: string) => parse(["attempts", text]).attempts;
    assert.deepEqual(range("3"), { least: 3, most: 3 });
    assert.deepEqual(range(">=3"), { least: 3 });
    assert.deepEqual(range(">3"), { least: 4 });
    assert.deepEqual(range("<5"), { most: 4 });
    assert.deepEqual(range("3..7"), { least: 3, most: 7 });
    assert.deepEqual(parse(["size", ">1M"]), { sizeBytes: { least: 1024 ** 2 + 1 } });
    for (const text of ["", "-1", "3K", "x", "7..3", "<0", "3..", ">=", "1e3"])
      assert.match(refusal(["attempts", text]), /^attempts: /, text);
  });

  it("takes RE2 patterns for reasons, and says where another one breaks", () => {
    assert.deepEqual(parse(["reason~", "(?i)timed out$"]), { reason: "(?i)timed out$" });
    assert.match(refusal(["reason", "x(?=y)"]), /`\(\?=` at character 2$/);
    assert.match(refusal(["reason", "(a"]), /missing closing \)/);
    assert.match(refusal(["reason", "x".repeat(2000)]), /^reason: "x{100}\.\.\." is longer than/);
    const behindEscape = String.raw`\\{999}`;
    for (const many of ["x{101}", "x{0,999}", "x{500,}", "(x{2}){1000}", behindEscape])
      assert.match(refusal(["reason", many]), /repeats something more than 100 times$/);
    const few = String.raw`x{0,100}y{2}\{999\}`;
    assert.deepEqual(parse(["reason", few]), { reason: few });
  });

  it("refuses what it does not know, what comes twice, and shows nothing that moves a cursor", () => {
    assert.equal(refusal(["tenant", "x"]), 'tenant: "x" is no part of a selection');
    assert.equal(refusal(["__proto__", "x"]), '__proto__: "x" is no part of a selection');
    assert.match(refusal(["sender", "a@b.c"], ["sender", "d@e.f"]), /is given twice/);
    assert.match(refusal(["queue", "deffered"]), /names no queue; the queues are maildrop/);
    assert.equal(refusal(["id", "A\u001B[2J"]), 'id: "A?[2J" is no queue id');
    for (const text of ["a b@c.d", "@", "a@b@c", "a\u0000@b.c"])
      assert.match(refusal(["recipient", text]), /is no address$/);
    const options = { nowMs, shownName: (name: string) => `--${name.replaceAll("_", "-")}` };
    assert.throws(() => parseSelection([["older_than", "x"]], options), {
      message: /^--older-than: "x"/,
    });
  });

  it("formats to one line, and what is parsed from its pairs is the same selection", () => {
    const tricky = parse(["reason", 'a "b"\tc'], ["sender", "<>"], ["sender_contains", "!x"]);
    assert.equal(formatSelection(tricky), 'sender=<> reason="a \\"b\\"\\tc" sender_contains=!x');
    assert.equal(formatSelection({}), "all");
    assert.ok(isEmptySelection({}) && !isEmptySelection(tricky));
    fc.assert(
      fc.property(selections, (selection) => {
        assert.deepEqual(parse(...selectionPairs(selection)), selection);
        assert.doesNotMatch(formatSelection(selection), /[\p{Cc}\u2028\u2029]/u);
      }),
    );
  });
});

const someText = fc
  .string({ minLength: 1, maxLength: 20, unit: "grapheme" })
  .filter((text) => !/[\p{Cc}\uFFFD\u2028\u2029]/u.test(text) && text.isWellFormed());
const ids = fc.stringMatching(/^[A-Za-z0-9_]{1,20}$/).map((text) => {
  const id = parseQueueId(text);
  assert.ok(id);
  return id;
});
const ranges = fc.oneof(
  fc.nat().map((least) => ({ least })),
  fc.nat().map((most) => ({ most })),
  fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => ({ least: Math.min(a, b), most: Math.max(a, b) })),
);
const moments = fc.integer({ min: 0, max: nowMs });
const addresses = fc
  .tuple(fc.stringMatching(/^[A-Za-z0-9]{1,9}$/), fc.domain())
  .map(([local, domain]) => `${local}@${domain.toLowerCase()}`);
const selections: fc.Arbitrary<Selection> = fc.record(
  {
    queues: fc.uniqueArray(fc.constantFrom(...messageQueues), { minLength: 1 }),
    ids: fc.uniqueArray(ids, { minLength: 1 }),
    sender: fc.oneof(fc.constant(""), addresses),
    senderDomain: fc.domain().map((domain) => domain.toLowerCase()),
    recipient: addresses,
    domain: fc.domain().map((domain) => domain.toLowerCase()),
    client: fc.ipV4(),
    arrivedFromMs: moments.map((ms) => Math.floor(ms / 2)),
    arrivedToMs: moments.map((ms) => Math.ceil((nowMs + ms) / 2)),
    attempts: ranges,
    sizeBytes: ranges,
    reason: fc.constantFrom("timed out", '"', "[a-z ]+\\.", "(?i)x|y"),
    contains: fc.array(
      fc.record(
        {
          of: fc.constantFrom("id", "sender", "recipient"),
          text: someText,
          isNot: fc.boolean(),
        },
        { noNullPrototype: true },
      ),
      { minLength: 1, maxLength: 3 },
    ),
  },
  { requiredKeys: [], noNullPrototype: true },
);
