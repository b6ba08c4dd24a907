import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseEntry } from "./import-entry.ts";

function line(changed: { readonly address?: string; readonly reason?: string }): string {
  const { address = "a@b.example", reason = "refused" } = changed;
  return JSON.stringify({
    id: "x",
    queue: "deferred",
    arrival_ms: 1,
    created_ms: 1,
    size_bytes: 0,
    attempts: 1,
    envelope: { sender: "", origin: "smtp" },
    recipients: [{ address, state: "deferred", status: "4.0.0", reason }],
  });
}

describe("parseEntry", () => {
  it("takes what intake and delivery can make at most, and nothing that is longer", () => {
    assert.equal(parseEntry(line({ address: "a".repeat(4096) })).kind, "message");
    assert.throws(() => parseEntry(line({ address: "a".repeat(4097) })), {
      message: "address is too long",
    });
    assert.equal(parseEntry(line({ reason: "a".repeat(16_384) })).kind, "message");
    assert.throws(() => parseEntry(line({ reason: "a".repeat(16_385) })), {
      message: "reason is too long",
    });
  });

  it("takes brackets however many, but not deep in each other, which would take memory", () => {
    const reason = String.raw`"\" ${"[{".repeat(1000)}`;
    assert.equal(parseEntry(line({ reason })).kind, "message");
    const deep = (count: number) => `{"end":{"messages":1},"later":${"[".repeat(count)}`;
    assert.throws(() => parseEntry(deep(99)), { message: "is no JSON" });
    assert.throws(() => parseEntry(deep(100)), { message: "is nested too deep" });
    assert.equal(parseEntry(`${deep(1)}${"[],".repeat(1000)}1]}`).kind, "end");
  });

  it("knows the lines between messages by what they say, not by a name alone", () => {
    assert.equal(parseEntry('{"checkpoint":4}').kind, "checkpoint");
    const counts = '{"messages":1,"busy":0,"unreadable":0}';
    assert.equal(parseEntry(`{"end":${counts}}`).kind, "end");
    assert.throws(() => parseEntry('{"checkpoint":"x"}'), { name: "LineDamage" });
    assert.throws(() => parseEntry('{"end":1}'), { name: "LineDamage" });
  });
});
