import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  addressDomain,
  isMailAddress,
  parseAddress,
  parseSmtpPath,
  quoteAddress,
} from "./smtp-path.ts";

describe("parseSmtpPath", () => {
  it("reads the null path as the empty address", () => {
    assert.equal(parseSmtpPath("<>"), "");
  });

  it("reads a path with or without angle brackets (V6)", () => {
    assert.equal(parseSmtpPath("<alice@example.com>"), "alice@example.com");
    assert.equal(parseSmtpPath("alice@example.com"), "alice@example.com");
  });

  it("takes off a source route", () => {
    assert.equal(parseSmtpPath("<@a.example,@b.example:c@d.example>"), "c@d.example");
  });

  it("lets an address without a domain pass (V5)", () => {
    assert.equal(parseSmtpPath("<postmaster>"), "postmaster");
  });

  it("keeps quotes where they are needed, and only there", () => {
    assert.equal(parseSmtpPath('<"john doe"@example.com>'), '"john doe"@example.com');
    assert.equal(parseSmtpPath('<"bob"@example.com>'), "bob@example.com");
    assert.equal(
      parseSmtpPath(String.raw`<"a\b\"c"@example.com>`),
      String.raw`"ab\"c"@example.com`,
    );
    assert.equal(parseSmtpPath("<a..b@example.com>"), '"a..b"@example.com');
    assert.equal(parseSmtpPath('<"a@b"@example.com>'), '"a@b"@example.com');
    assert.equal(parseSmtpPath('<"a>b"@example.com>'), '"a>b"@example.com');
  });

  it("reads address literals, and cuts a dot after the domain", () => {
    assert.equal(parseSmtpPath("<a@[192.0.2.1]>"), "a@[192.0.2.1]");
    assert.equal(parseSmtpPath("<a@[IPv6:2001:db8::1]>"), "a@[IPv6:2001:db8::1]");
    assert.equal(parseSmtpPath("<a@example.com.>"), "a@example.com");
  });

  it("reads UTF-8 (RFC 6531)", () => {
    assert.equal(parseSmtpPath("<j\u00F6rg@b\u00FCcher.example>"), "j\u00F6rg@b\u00FCcher.example");
  });

  it("refuses what is malformed", () => {
    for (const text of [
      "",
      "<",
      ">",
      "<<a@b>>",
      "<a@b",
      "a@b>",
      "<@b>",
      "<a@>",
      "<a@b@c>",
      "<a b@c>",
      '<"a@b>',
      '<"a"b@c>',
      "<a@-b>",
      "<a@b-.c>",
      "<a@b..c>",
      "<a@.b>",
      "<a@[1.2.3]>",
      "<a@[IPv6:x]>",
      "<a@[fe80::1%eth0]>",
      "<a,b@c>",
      "<a@b,c@d>",
      `<a@${"b".repeat(64)}.c>`,
      `<a@${"b.".repeat(200)}c>`,
      `<${"a".repeat(1001)}@b>`,
      "<\uD800@b>",
    ]) {
      assert.equal(parseSmtpPath(text), undefined, JSON.stringify(text));
    }
  });

  it("never accepts CR, LF, NUL or any other control character, in quotes neither (security 3)", () => {
    const control = fc.oneof(
      fc.constantFrom("\r", "\n", "\0", "\r\n", "\u007F", "\u0085", "\u2028"),
      fc.integer({ min: 0, max: 31 }).map((code) => String.fromCharCode(code)),
    );
    const shell = fc.constantFrom(
      ["<a", "b@c.d>"],
      ['<"a', 'b"@c.d>'],
      ['<"a\\', 'b"@c.d>'],
      ["<a@b", ".c>"],
      ["", "<a@b>"],
      ["<a@b>", ""],
    );
    fc.assert(
      fc.property(shell, control, ([front, back], bad) => {
        assert.equal(parseSmtpPath(`${front}${bad}${back}`), undefined);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const address = parseSmtpPath(text);
        assert.ok(address === undefined || /^[ -~\u0080-\uffff]*$/.test(address), "no controls");
      }),
    );
  });

  it("gives an address that reads as itself again, in brackets too", () => {
    const piece = fc.constantFrom(
      "a",
      "b.c",
      '"',
      "\\",
      " ",
      "@",
      "x.org",
      ".",
      "<",
      ">",
      ":",
      ",",
      "[",
      "]",
      "1.2.3.4",
      "\u00E9",
    );
    fc.assert(
      fc.property(
        fc.array(piece).map((pieces) => pieces.join("")),
        (text) => {
          const address = parseAddress(text);
          if (address === undefined) return;
          assert.equal(parseAddress(address), address);
          assert.equal(parseSmtpPath(`<${address}>`), address);
          assert.equal(quoteAddress(address), address);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("isMailAddress", () => {
  it("asks for a local part and a domain", () => {
    assert.ok(isMailAddress("a@b"));
    for (const text of ["", "a", "@b", "<a@b>", "a@b\r\nRCPT TO:<c@d>", '"a@b"'])
      assert.ok(!isMailAddress(text), text);
  });
});

describe("addressDomain", () => {
  it("finds the domain behind a quoted local part", () => {
    assert.equal(addressDomain('"a@b"@c'), "c");
    assert.equal(addressDomain('"a@b"'), undefined);
    assert.equal(addressDomain("root"), undefined);
  });
});

describe("quoteAddress", () => {
  it("quotes a local part that needs it", () => {
    assert.equal(quoteAddress("john doe@example.com"), '"john doe"@example.com');
    assert.equal(quoteAddress('a"b@example.com'), String.raw`"a\"b"@example.com`);
    assert.equal(quoteAddress(""), "");
  });
});
