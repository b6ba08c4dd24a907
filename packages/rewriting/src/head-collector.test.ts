import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { HeadCollector } from "./head-collector.ts";

/** The front that comes out, or undefined if the end came first. */
function collect(chunks: readonly string[]): string | undefined {
  const collector = new HeadCollector();
  for (const chunk of chunks) {
    const front = collector.write(Buffer.from(chunk));
    if (front !== undefined) return "kind" in front ? front.text : front.toString();
  }
  return undefined;
}

describe("HeadCollector", () => {
  it("hands out everything so far once the headers are whole, wherever the chunks are cut", () => {
    assert.equal(collect(["A: b\r\n\r\nbody"]), "A: b\r\n\r\nbody");
    assert.equal(collect("A: b\r\n\r\n".split("")), "A: b\r\n\r\n");
    assert.equal(collect(["A: b\r\n\r", "\nbo", "dy"]), "A: b\r\n\r\nbo");
  });

  it("knows a message without headers", () => {
    assert.equal(collect(["\r", "\nbody"]), "\r\nbody");
  });

  it("keeps all when the message ends first", () => {
    const collector = new HeadCollector();
    assert.equal(collector.write(Buffer.from("A: b\r\n")), undefined);
    assert.equal(collector.write(Buffer.from("C: d\r\n")), undefined);
    assert.equal(collector.end().toString(), "A: b\r\nC: d\r\n");
    assert.equal(new HeadCollector().end().length, 0);
  });

  it("does not touch the chunk it was given", () => {
    const chunk = Buffer.from("A: b\r\n");
    const collector = new HeadCollector();
    collector.write(chunk.subarray(0, 3));
    collector.write(Buffer.from("zzz"));
    assert.equal(chunk.toString(), "A: b\r\n");
  });

  it("takes body text that no empty line parts from the headers", () => {
    const lines = `A: b\r\n${"no header here\r\n".repeat(100_000)}`;
    assert.ok(collect([lines.slice(0, 500_000), lines.slice(500_000)])?.startsWith("A: b\r\nno"));
  });

  it("refuses headers without end, in bounded memory (security 5)", () => {
    const endless = Array.from({ length: 5000 }, () => `A: ${"b".repeat(400)}\r\n`);
    assert.equal(collect(endless), "message headers too large");
  });
});
