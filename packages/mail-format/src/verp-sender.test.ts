import assert from "node:assert/strict";
import { describe, it } from "node:test";

import fc from "fast-check";

import { parseAddress } from "./smtp-path.ts";
import { verpSender } from "./verp-sender.ts";

describe("VERP senders", () => {
  it("D33 name the recipient between the delimiters", () => {
    // VERP_README(5): owner-listname+user=domain@origin
    assert.equal(
      verpSender("+=", "owner-list@origin.example", "user@domain.example"),
      "owner-list+user=domain.example@origin.example",
    );
    assert.equal(verpSender("-=", "a@x.example", "b@y.example"), "a-b=y.example@x.example");
  });

  it("D33 leave out the domain of an address that has none", () => {
    assert.equal(verpSender("+=", "list", "user@y.example"), "list+user=y.example");
    assert.equal(verpSender("+=", "list@x.example", "user"), "list+user@x.example");
  });

  it("D33 have quotes where a local part needs them, and there only", () => {
    const to = (recipient: string) => verpSender("+=", "list@x.example", recipient);
    assert.equal(to('"a b"@y.example'), '"list+a b=y.example"@x.example');
    assert.equal(to('"a\\"b"@y.example'), '"list+a\\"b=y.example"@x.example');
    assert.equal(to("u@[192.0.2.1]"), '"list+u=[192.0.2.1]"@x.example');
    assert.equal(verpSender("+=", '"a b"@x.example', "u@y.example"), '"a b+u=y.example"@x.example');
    assert.equal(to("jürgen@y.example"), "list+jürgen=y.example@x.example");
  });

  it("D33 are addresses in the form we keep, of whatever addresses they are made", () => {
    const domain = fc.constantFrom("x.example", "[192.0.2.1]", undefined);
    const quoted = fc
      .string({ minLength: 1, maxLength: 12 })
      .map((local) => `"${local.replaceAll(/["\\]/g, "\\$&")}"`);
    const local = fc.oneof(quoted, fc.constantFrom("a", "a.b", "a+b=c", "jürgen"));
    const address = fc
      .tuple(local, domain)
      .map(([name, host]) => parseAddress(host === undefined ? name : `${name}@${host}`))
      .filter((parsed) => parsed !== undefined);
    fc.assert(
      fc.property(address, address, (sender, recipient) => {
        const made = verpSender("+=", sender, recipient);
        assert.equal(parseAddress(made), made);
      }),
    );
  });
});
