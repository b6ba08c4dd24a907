import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseAddressHeader } from "./address-header.ts";

describe("parseAddressHeader", () => {
  it("leaves out names and comments, and opens groups", () => {
    assert.deepEqual(parseAddressHeader('Bob (home) <bob@x.org>, c@d (C), Team: e@f, "g h"@i;'), [
      "bob@x.org",
      "c@d",
      "e@f",
      '"g h"@i',
    ]);
    assert.deepEqual(parseAddressHeader("undisclosed-recipients:;"), []);
  });

  it("reads addresses without a domain", () => {
    assert.deepEqual(parseAddressHeader("root, Alice <alice>"), ["root", "alice"]);
  });

  it("cuts only at commas that part two addresses", () => {
    const value = String.raw`"Doe, "J", John" <j@d> (a, (b), c), <@r,@s:x@y>, <"a>b"@c>, z@[IPv6:::1]`;
    assert.deepEqual(parseAddressHeader(value), ["j@d", "x@y", '"a>b"@c', "z@[IPv6:::1]"]);
  });

  it("loses no address, whatever stands beside it", () => {
    const address = fc.constantFrom("root", "a@b.c", '"x, y"@b.c', "z@[192.0.2.1]");
    const dress = fc.constantFrom(
      (text: string) => text,
      (text: string) => `<${text}>`,
      (text: string) => `Some Body <${text}>`,
      (text: string) => `"Body, Some" <${text}> (c, d)`,
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(address, dress)), fc.boolean(), (list, inGroup) => {
        const joined = list.map(([text, wrap]) => wrap(text)).join(", ");
        const value = inGroup ? `some group: ${joined};` : joined;
        assert.deepEqual(
          parseAddressHeader(value),
          list.map(([text]) => text),
        );
      }),
    );
  });

  it("gives a malformed address as it was written", () => {
    assert.deepEqual(parseAddressHeader("a@b@c, d@e"), ["a@b@c", "d@e"]);
  });
});
