import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parsePolicyEntry } from "./policy-entry.ts";

describe("parsePolicyEntry", () => {
  it("reads a level and what overrides the parameters", () => {
    assert.deepEqual(
      parsePolicyEntry(
        "secure match=a.example:.b.example match=hostname, ciphers=high protocols=>=TLSv1.3 " +
          "exclude=MD5:aNULL servername=mx.example tafile=/ta.pem tafile=/tb.pem connection_reuse=yes",
      ),
      {
        level: "secure",
        match: ["a.example", ".b.example", "hostname"],
        ciphers: "high",
        protocols: ">=TLSv1.3",
        exclude: ["MD5", "aNULL"],
        servername: "mx.example",
        trustFiles: ["/ta.pem", "/tb.pem"],
        mayReuse: true,
      },
    );
    assert.deepEqual(parsePolicyEntry("MAY"), { level: "may" });
  });

  it("splits fingerprints at bars, since they have colons", () => {
    assert.deepEqual(parsePolicyEntry("fingerprint match=AA:BB|cc:dd match=eeff"), {
      level: "fingerprint",
      match: ["AA:BB", "cc:dd", "eeff"],
    });
  });

  it("lets level none have attributes, which mean nothing", () => {
    assert.deepEqual(parsePolicyEntry("none whatever=1"), { level: "none" });
  });

  it("refuses what could be weaker than it was meant", () => {
    const bad = [
      "",
      "dane",
      "always",
      "may match=x",
      "encrypt match=x",
      "encrypt tafile=/x",
      "secure match=",
      "secure ciphers=best",
      "secure ciphers=high ciphers=high",
      "secure protocols=a protocols=b",
      "secure servername=a..b",
      "secure connection_reuse=maybe",
      "secure novalue",
      "secure =x",
      "secure color=red",
    ];
    for (const text of bad) assert.ok("problem" in parsePolicyEntry(text), text);
  });
});
