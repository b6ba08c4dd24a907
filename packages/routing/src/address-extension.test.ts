import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { withoutExtension } from "./address-extension.ts";

describe("withoutExtension", () => {
  it("cuts at the first delimiter, but never to nothing and never an owner- name", () => {
    assert.equal(withoutExtension("joe+a+b", "+"), "joe");
    assert.equal(withoutExtension("joe-a", "+-"), "joe");
    assert.equal(withoutExtension("+joe", "+"), "+joe");
    assert.equal(withoutExtension("owner-list", "-"), "owner-list");
    assert.equal(withoutExtension("joe+a", ""), "joe+a");
  });
});
