import { describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseReplyText } from "./smtp-reply.ts";

describe("parseReplyText", () => {
  it("reads code, enhanced status and text", () => {
    const text = "550 5.1.1 <a@b>: no such user";
    assert.deepEqual(parseReplyText(text), { code: 550, status: "5.1.1", text });
  });

  it("joins the lines of a longer reply with a space, as Postfix does", () => {
    assert.deepEqual(parseReplyText("451-4.7.1 try\r\n451 4.7.1 later\r\n"), {
      code: 451,
      status: "4.7.1",
      text: "451-4.7.1 try 451 4.7.1 later",
    });
  });

  it("ignores a status of another class than the code", () => {
    assert.deepEqual(parseReplyText("550 4.1.1 odd"), { code: 550, text: "550 4.1.1 odd" });
    assert.deepEqual(parseReplyText("250 Ok"), { code: 250, text: "250 Ok" });
    assert.deepEqual(parseReplyText("250"), { code: 250, text: "250" });
  });

  it("D7 takes code and status from the last line where lines disagree, as Postfix does", () => {
    const refused = "250-queued?\r\n550 5.7.1 spam\r\n";
    const text = "250-queued? 550 5.7.1 spam";
    assert.deepEqual(parseReplyText(refused), { code: 550, status: "5.7.1", text });
    const accepted = "550-5.7.1 spam\n250 no";
    assert.deepEqual(parseReplyText(accepted), { code: 250, text: "550-5.7.1 spam 250 no" });
    const long = `250-${"x".repeat(10_000)}\n550 5.7.1 spam`;
    assert.equal(parseReplyText(long)?.code, 550);
    assert.equal(parseReplyText("250-queued\nwhatever"), undefined);
  });

  it("D7 knows no code that goes on after three digits", () => {
    for (const text of ["2500 x", "250spam", "250.", "250-queued\n2500"])
      assert.equal(parseReplyText(text), undefined, text);
  });

  it("leaves no control character, and bounds the length", () => {
    assert.equal(parseReplyText("550 a\u001B[31m\0b")?.text, "550 a?[31m?b");
    assert.equal(parseReplyText(`550 ${"x".repeat(100_000)}`)?.text.length, 2048);
  });

  it("knows what is no reply", () => {
    for (const text of ["", "hello", "650 x", "55"]) assert.equal(parseReplyText(text), undefined);
  });

  it("reads a plain line as it reads any other", () => {
    const words = [
      "250",
      "4",
      "21",
      " ",
      "-",
      "2.1.0",
      "4.7.1",
      ".",
      "Ok",
      "\t",
      "é",
      "\u0007",
      "x".repeat(2050),
    ];
    const line = fc
      .array(fc.constantFrom(...words), { maxLength: 8 })
      .map((picked) => `250 ${picked.join("")}`);
    fc.assert(
      // The end of the line makes it one that is not plain, and is of no meaning.
      fc.property(line, (text) =>
        assert.deepEqual(parseReplyText(text), parseReplyText(`${text}\n`)),
      ),
      { numRuns: 2_000 },
    );
  });
});
