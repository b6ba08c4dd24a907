import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { mapAddress } from "./address-map.ts";
import type { AddressMapSettings } from "./address-map.ts";

function mapper(
  entries: Readonly<Record<string, string>>,
  changes: Partial<AddressMapSettings> = {},
) {
  const lookup = (key: string) => entries[key];
  const settings: AddressMapSettings = {
    tables: { lookup, lookupPart: lookup },
    myorigin: "my.example",
    ownDomains: ["my.example", "Host.example"],
    recipientDelimiter: "+",
    propagatesExtension: false,
    ...changes,
  };
  return (address: string) => mapAddress(address, settings);
}

describe("mapAddress", () => {
  it("R9 tries the more specific key first", () => {
    const map = mapper({ "a+x@d.example": "1@r", "a@d.example": "2@r", "@d.example": "3@r" });
    assert.deepEqual(["a+x@d.example", "a+y@d.example", "b@d.example", "b@e.example"].map(map), [
      "1@r",
      "2@r",
      "3@r",
      "b@e.example",
    ]);
  });

  it("looks a local part up alone where the domain is ours", () => {
    const map = mapper({ root: "admin@r" });
    assert.deepEqual(
      ["root@my.example", "root+x@HOST.example", "root", "root@d.example"].map(map),
      ["admin@r", "admin@r", "admin@r", "root@d.example"],
    );
  });

  it("R10 keeps the local part when the result is @domain, and adds myorigin to a bare one", () => {
    const map = mapper({ "@d.example": "@out.example", "b@e.example": "c" });
    assert.equal(map("a+x@d.example"), "a+x@out.example");
    assert.equal(map("b@e.example"), "c@my.example");
  });

  it("R11 puts an extension back only when asked to", () => {
    const entries = { "a@d.example": "b@r" };
    assert.equal(mapper(entries)("a+x@d.example"), "b@r");
    assert.equal(mapper(entries, { propagatesExtension: true })("a+x@d.example"), "b+x@r");
  });

  it("leaves an address alone when the result is none, and the null sender always", () => {
    const map = mapper({ "a@d.example": "two words@x y" });
    assert.equal(map("a@d.example"), "a@d.example");
    assert.equal(mapper({ "@my.example": "@x", "": "y@z" })(""), "");
  });

  it("asks pattern tables for whole addresses only", () => {
    const asked: string[] = [];
    mapper(
      {},
      { tables: { lookup: (key) => void asked.push(key), lookupPart: () => undefined } },
    )("a+x@my.example");
    assert.deepEqual(asked, ["a+x@my.example"]);
  });
});
