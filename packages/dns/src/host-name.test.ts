import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isHostName, isLocalhost } from "./host-name.ts";

describe("isHostName", () => {
  it("takes letters, digits, hyphens and underscores", () => {
    const names = [
      "example.com",
      "EXAMPLE",
      "_mta-sts.a-b.test",
      "1.a",
      "x".repeat(63),
      "3com.com",
    ];
    assert.deepEqual(names.filter(isHostName), names);
  });

  it("refuses what DNS can't be asked for, and what is an address", () => {
    const names = [
      "",
      ".",
      "a.",
      ".a",
      "a..b",
      "a b",
      "a\r\nb",
      "-a.test",
      "a-.test",
      "bücher.example",
      "192.0.2.1",
      "12.34",
      "::1",
      "x".repeat(64),
      `${"x".repeat(63)}.${"x".repeat(63)}.${"x".repeat(63)}.${"x".repeat(63)}`,
    ];
    assert.deepEqual(names.filter(isHostName), []);
  });
});

describe("isLocalhost", () => {
  it("RFC 6761: knows localhost and all below it", () => {
    const names = ["localhost", "LOCALHOST.", "a.localhost", "localhost.example", "xlocalhost"];
    assert.deepEqual(names.filter(isLocalhost), ["localhost", "LOCALHOST.", "a.localhost"]);
  });
});
