import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { DataReader } from "./data-reader.ts";

type Taken = { readonly content: string; readonly rest: string | undefined };

function readInChunks(chunks: readonly string[]): Taken {
  const reader = new DataReader();
  let content = "";
  for (const [index, chunk] of chunks.entries()) {
    const bytes = Buffer.from(chunk, "latin1");
    const read = reader.read(bytes, 0);
    content += read.content.toString("latin1");
    if (read.end >= 0) {
      return {
        content,
        rest: bytes.toString("latin1", read.end) + chunks.slice(index + 1).join(""),
      };
    }
  }
  return { content, rest: undefined };
}

/** The same in the plainest words: the end first, then dots at the start of lines. */
function expected(input: string): Taken {
  const end = `\r\n${input}`.indexOf("\r\n.\r\n");
  const whole = end < 0 ? input : input.slice(0, end);
  const unstuffed = whole.replaceAll(/(^|\n)\./g, "$1");
  return { content: unstuffed, rest: end < 0 ? undefined : input.slice(end + 3) };
}

describe("DATA content", () => {
  it("ends only at CRLF.CRLF, whatever comes before, and in whatever pieces it arrives", () => {
    const alphabet = ["\r", "\n", ".", "a"];
    const inputs = [""];
    for (let index = 0; index < inputs.length; index++) {
      const input = inputs[index] ?? "";
      if (input.length < 7) inputs.push(...alphabet.map((character) => input + character));
    }
    for (const input of inputs) {
      const want = expected(input);
      if (want.rest === undefined) continue;
      assert.deepEqual(readInChunks([input]), want, JSON.stringify(input));
      assert.deepEqual(readInChunks([...input]), want, `${JSON.stringify(input)} byte by byte`);
      for (let cut = 1; cut < input.length; cut++) {
        const chunks = [input.slice(0, cut), input.slice(cut)];
        assert.deepEqual(readInChunks(chunks), want, JSON.stringify(chunks));
      }
    }
  });

  it("goes on where there is no CRLF.CRLF", () => {
    for (const input of [
      "\n.\n",
      "a\n.\r\n",
      "\r.\r",
      "\r\n.\n",
      "\r\n.\r",
      "a\r\n.\r\r\n",
      "\r\n\0.\r\n",
    ]) {
      const taken = readInChunks([`a${input}b`]);
      assert.equal(taken.rest, undefined, JSON.stringify(input));
    }
  });

  it("removes one dot from lines that start with a dot, after a bare LF too", () => {
    const input = "..a\r\n.b\r\n...\r\n..\r\nc.d\n..e\n.f\r\n.\r\n";
    assert.equal(readInChunks([input]).content, ".a\r\nb\r\n..\r\n.\r\nc.d\n.e\nf\r\n");
  });

  it("gives a view into the chunk when no dot was stuffed", () => {
    const chunk = Buffer.from("Subject: a\r\n\r\nhello. bye.\r\n.\r\nQUIT\r\n");
    const { content, end } = new DataReader().read(chunk, 0);
    assert.equal(content.buffer, chunk.buffer);
    assert.equal(chunk.toString("latin1", end), "QUIT\r\n");
  });

  it("takes time linear in the number of stuffed dots", () => {
    const chunk = Buffer.from("..\r\n".repeat(200_000));
    const startMs = performance.now();
    const { content } = new DataReader().read(chunk, 0);
    assert.equal(content.length, 600_000);
    assert.ok(performance.now() - startMs < 2000);
  });
});
