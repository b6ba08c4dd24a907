import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { enhancedStatus } from "@postmq/vocabulary";
import {
  countDomains,
  outcomeArguments,
  packDomains,
  packNumbers,
  packRecipient,
  packStateText,
  unpackNumbers,
  unpackRecipient,
  unpackState,
} from "./packing.ts";

const seed = 20_261_121;
const noRounds = { failures: 0, successes: 0 };

describe("packing", () => {
  it("gives a recipient back as it was", () => {
    const recipient = {
      address: '"a b"@Example.COM',
      original: "ab@example.com",
      orcpt: "rfc822;ab@example.com",
      notify: ["SUCCESS", "DELAY"],
    } as const;
    const { number, state, ...back } = unpackRecipient(7, packRecipient(recipient), "", noRounds);
    assert.deepEqual(back, recipient);
    assert.equal(number, 7);
    assert.deepEqual(state, { kind: "todo" });
  });

  it("writes the counted domain only where Lua could not find it", () => {
    assert.equal(packRecipient({ address: "a@Example.com" }), "a@Example.com");
    assert.equal(packRecipient({ address: "a@example.com." }), "a@example.com.\nexample.com");
    assert.equal(packRecipient({ address: "a@ÄÖ.example" }), "a@ÄÖ.example\näö.example");
  });

  it("lets no remote reply forge a field", () => {
    const text = packStateText({ status: enhancedStatus("5.1.1"), reason: "no\nd\r\nf9\u0000" });
    const state = unpackState(`f0\n${text}`, noRounds);
    assert.equal(state.kind, "failed");
    assert.equal(state.kind === "failed" && state.reason, "no?d??f9?");
  });

  it("takes a failed recipient as done once its round is reported", () => {
    const text = packStateText({ status: enhancedStatus("5.1.1"), reason: "no" });
    assert.equal(unpackState(`f1\n${text}`, { failures: 1, successes: 9 }).kind, "failed");
    assert.equal(unpackState(`f1\n${text}`, { failures: 2, successes: 0 }).kind, "done");
  });

  it("packs any set of recipient numbers and gives it back", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(500)), (numbers) => {
        const sorted = numbers.toSorted((a, b) => a - b);
        assert.deepEqual(sorted.length === 0 ? [] : unpackNumbers(packNumbers(sorted)), sorted);
      }),
      { seed },
    );
    assert.equal(packNumbers([0, 1, 2, 3, 4, 7]), "0-4,7");
  });

  it("counts undone recipients by domain, refused ones not", () => {
    const failed = { status: enhancedStatus("5.1.1"), reason: "no" };
    const counts = countDomains([
      { address: "a@x.example" },
      { address: "b@X.example" },
      { address: "c@y.example", failed },
    ]);
    assert.equal(packDomains(counts), "x.example\n2");
  });

  it("tells the scripts sent, deferred and failed apart, and the timeline where and with what words", () => {
    const status = enhancedStatus("4.2.0");
    const remote = { host: "mx.example.com", address: "192.0.2.1", port: 25 };
    assert.deepEqual(
      outcomeArguments({ recipient: 3, kind: "sent", status, reason: "250 Ok\r\nx", remote }),
      ["3", "s", "", "4.2.0\tmx.example.com[192.0.2.1]:25\t250 Ok??x"],
    );
    assert.deepEqual(outcomeArguments({ recipient: 3, kind: "deferred", status, reason: "x" }), [
      "3",
      "t",
      "4.2.0\nx\n",
      "",
    ]);
  });
});
