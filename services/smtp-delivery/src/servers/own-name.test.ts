import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { isOwnName, ownNameRefusal } from "./own-name.ts";

describe("isOwnName", () => {
  it("D3 takes the first word, in any case", () => {
    assert.equal(isOwnName("MX.example.com ESMTP", "mx.example.com"), true);
    assert.equal(isOwnName("mx.example.com", "mx.example.com"), true);
    assert.equal(
      isOwnName("mx2.example.com says hello to mx.example.com", "mx.example.com"),
      false,
    );
    assert.equal(isOwnName("", "mx.example.com"), false);
  });
});

describe("ownNameRefusal", () => {
  it("D3 bounces at the best server and waits at another", () => {
    const shown = (isBest: boolean) => {
      const { kind, status, reason } = ownNameRefusal("example.com", isBest);
      return `${kind} ${status} ${reason}`;
    };
    assert.equal(shown(true), "bounced 5.4.6 mail for example.com loops back to myself");
    assert.equal(shown(false), "deferred 4.4.6 mail for example.com loops back to myself");
  });
});
