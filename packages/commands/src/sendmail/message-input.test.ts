import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { readMessage } from "./message-input.ts";
import type { InputOptions } from "./message-input.ts";

async function* pieces(text: string, length: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text, "latin1");
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** The content, read in pieces of several lengths, which must make no difference. */
async function read(text: string, options: Partial<InputOptions> = {}): Promise<string> {
  const settings = { dotEndsInput: true, maxBytes: 0, ...options };
  const whole = await readMessage(pieces(text, text.length + 1), settings);
  for (const length of [1, 2, 3, 5]) {
    const cut = await readMessage(pieces(text, length), settings);
    assert.deepEqual(joined(cut), joined(whole), `pieces of ${length}`);
  }
  return joined(whole);
}

function joined(parts: readonly Buffer[] | "tooBig"): string {
  return parts === "tooBig" ? parts : Buffer.concat(parts).toString("latin1");
}

describe("sendmail's input", () => {
  it("ends at a lone dot, whatever its line end", async () => {
    assert.equal(await read("a\n.\nb\n"), "a\r\n");
    assert.equal(await read("a\r\n.\r\nb\r\n"), "a\r\n");
    assert.equal(await read(".\nb\n"), "");
    assert.equal(await read("a\n."), "a\r\n");
    assert.equal(await read("."), "");
  });

  it("ends nowhere else", async () => {
    assert.equal(await read("a\n..\n.b\nc.\n. \n\n"), "a\r\n..\r\n.b\r\nc.\r\n. \r\n\r\n");
    assert.equal(await read("a\n.\rb\n"), "a\r\n. b\r\n");
    assert.equal(await read(".x"), ".x\r\n");
  });

  it("goes on after a lone dot with -i", async () => {
    assert.equal(await read("a\n.\nb\n", { dotEndsInput: false }), "a\r\n.\r\nb\r\n");
  });

  it("D19: ends every line with CRLF, the last one too, and keeps 8-bit bytes", async () => {
    assert.equal(await read("a\nb\r\nc\u00FF"), "a\r\nb\r\nc\u00FF\r\n");
    assert.equal(await read(""), "");
    assert.equal(await read("\n"), "\r\n");
  });

  it("drops UNIX mailbox lines at the beginning and nowhere else", async () => {
    assert.equal(
      await read("From a@b Sat\n>>From c\nSubject: x\n\nFrom d\n"),
      "Subject: x\r\n\r\nFrom d\r\n",
    );
    assert.equal(await read("From: a@b.c\n\n"), "From: a@b.c\r\n\r\n");
    assert.equal(await read("From a@b"), "");
  });

  it("stops reading as soon as the content is more than message_size_limit", async () => {
    assert.equal(await read("12345678\n", { maxBytes: 10 }), "12345678\r\n");
    assert.equal(await read("123456789\n", { maxBytes: 10 }), "tooBig");
    let isRead = false;
    async function* endless() {
      yield Buffer.from("12345678901\n");
      isRead = true;
      yield Buffer.from("x");
    }
    assert.equal(await readMessage(endless(), { dotEndsInput: false, maxBytes: 10 }), "tooBig");
    assert.equal(isRead, false);
  });
});
