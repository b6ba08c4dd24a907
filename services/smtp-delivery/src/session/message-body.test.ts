import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { seededRandom } from "@postmq/testing";

import { BodyStuffer, dotStuffWhole, finalDot } from "./message-body.ts";

const whole = (text: string | Buffer, limit = 998) =>
  dotStuffWhole(Buffer.from(text), limit).toString("latin1");

/** The same by the plain definition, line by line. */
function expected(content: Buffer, limit: number): string {
  const text = content.toString("latin1");
  if (text === "") return ".\r\n";
  const lines = text.split("\r\n");
  if (lines.at(-1) === "") lines.pop();
  const broken = lines.flatMap((line) => {
    const pieces: string[] = [];
    let rest = line;
    const stuffedDot = line.startsWith(".") ? "." : "";
    while (rest.length > limit) {
      pieces.push(rest.slice(0, limit));
      rest = ` ${rest.slice(limit)}`;
    }
    pieces.push(rest);
    return pieces.map((piece, at) => (at === 0 ? stuffedDot + piece : piece));
  });
  return `${broken.join("\r\n")}\r\n.\r\n`;
}

function streamed(content: Buffer, limit: number, cut: () => number): string {
  const stuffer = new BodyStuffer(limit);
  const parts: Buffer[] = [];
  for (let at = 0; at < content.length;) {
    const length = cut();
    parts.push(Buffer.from(stuffer.write(content.subarray(at, at + length))));
    at += length;
  }
  parts.push(stuffer.end(), finalDot);
  return Buffer.concat(parts).toString("latin1");
}

describe("content on the wire", () => {
  it("D19 hands plain lines on byte for byte", () => {
    assert.equal(whole("Subject: x\r\n\r\nhello\r\n"), "Subject: x\r\n\r\nhello\r\n.\r\n");
  });

  it("D19 doubles a dot at the start of a line, and no other", () => {
    assert.equal(whole(".\r\n..\r\na.b\r\n.x.\r\n"), "..\r\n...\r\na.b\r\n..x.\r\n.\r\n");
  });

  it("D19 adds the last newline when it is missing", () => {
    assert.equal(whole("a\r\nb"), "a\r\nb\r\n.\r\n");
    assert.equal(whole("."), "..\r\n.\r\n");
  });

  it("D19 sends empty content and an empty body", () => {
    assert.equal(whole(""), ".\r\n");
    assert.equal(whole("A: b\r\n\r\n"), "A: b\r\n\r\n.\r\n");
  });

  it("D19 keeps 8-bit bytes and NUL", () => {
    const bytes = Buffer.from([0xff, 0x00, 0x80, 0xc3, 0xa4, 0x0d, 0x0a]);
    assert.deepEqual(dotStuffWhole(bytes, 998), Buffer.concat([bytes, Buffer.from(".\r\n")]));
  });

  it("D19 breaks a line of more than smtp_line_length_limit with CRLF and a space, only then", () => {
    const line998 = "x".repeat(998);
    assert.equal(whole(`${line998}\r\n`), `${line998}\r\n.\r\n`);
    assert.equal(whole(`${line998}y\r\n`), `${line998}\r\n y\r\n.\r\n`);
    const long = whole(`${"z".repeat(5000)}\r\n`);
    assert.ok(long.split("\r\n").every((line) => line.length <= 998));
    assert.equal(long.replaceAll("\r\n ", ""), `${"z".repeat(5000)}\r\n.\r\n`);
  });

  it("D19 breaks no line when smtp_line_length_limit is 0", () => {
    const line = `${"x".repeat(3000)}\r\n`;
    assert.equal(whole(line, 0), `${line}.\r\n`);
  });

  it("D19 ends content without a newline in whole lines, broken or not, streamed or not", () => {
    const text = Buffer.from("x".repeat(3000));
    const broken = expected(text, 998);
    assert.equal(whole(text), broken);
    assert.equal(
      streamed(text, 998, () => 700),
      broken,
    );
    assert.equal(whole(text, 0), `${"x".repeat(3000)}\r\n.\r\n`);
    assert.equal(
      streamed(text, 0, () => 700),
      whole(text, 0),
    );
  });

  it("D19 breaks lines the same way before a signature is made, and not once more after it", () => {
    const text = Buffer.from(`.${"x".repeat(2500)}\r\n.\r\nlast`);
    const breaker = new BodyStuffer(998, { stuffsDots: false });
    const signed = Buffer.concat([breaker.write(text), breaker.end()]);
    assert.equal(
      signed.toString(),
      `.${"x".repeat(997)}\r\n ${"x".repeat(997)}\r\n ${"x".repeat(506)}\r\n.\r\nlast\r\n`,
    );
    assert.equal(whole(signed), whole(text));
  });

  it("D19 stuffs no dot that a line break brings to the start of a line", () => {
    assert.equal(whole(`${"x".repeat(998)}.y\r\n`), `${"x".repeat(998)}\r\n .y\r\n.\r\n`);
  });

  it("security 1: lets no bare LF or CR out, so that no next hop sees two messages in one", () => {
    for (const trick of [
      "\n.\n",
      "\n.\r\n",
      "\r\n.\n",
      "\r.\r",
      "\r.\r\n",
      "\r\n.\r",
      "\r\n\0.\r\n",
    ]) {
      const wire = whole(`a${trick}MAIL FROM:<x@example.com>\r\n`);
      assert.doesNotMatch(wire, /[^\r]\n/, JSON.stringify(trick));
      assert.doesNotMatch(wire, /\r[^\n]/, JSON.stringify(trick));
      assert.equal(wire.indexOf("\r\n.\r\n"), wire.length - 5, JSON.stringify(trick));
    }
  });

  it("D19 gives the same bytes however the content is cut into chunks", () => {
    const random = seededRandom(19);
    for (let run = 0; run < 300; run++) {
      const parts = Array.from({ length: random.between(0, 11) }, () =>
        random.pick([".", "..", "\r\n", "\r\n.", "abc", "x".repeat(9), "\xe4\xff", " "]),
      );
      const content = Buffer.from(parts.join(""), "latin1");
      const limit = random.pick([0, 8, 9, 998]);
      const wanted = expected(content, limit === 0 ? Infinity : limit);
      const detail = JSON.stringify({
        seed: random.seed,
        run,
        content: content.toString("latin1"),
        limit,
      });
      assert.equal(dotStuffWhole(content, limit).toString("latin1"), wanted, detail);
      const cut = () => random.between(1, 4);
      assert.equal(streamed(content, limit, cut), wanted, detail);
    }
  });
});
