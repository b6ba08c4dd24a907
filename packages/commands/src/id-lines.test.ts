import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { idLines } from "./id-lines.ts";

async function lines(most: number, ...chunks: readonly string[]): Promise<unknown> {
  return await Array.fromAsync(idLines(input(chunks), most));
}

async function* input(chunks: readonly string[]): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

describe("ids from standard input", () => {
  it("come a line each, whatever the chunks, an empty line and a last one without its end too", async () => {
    assert.deepEqual(await lines(9, "A", "1\nB2\n\nC", "3"), [["A1", "B2", ""], ["C3"]]);
    assert.deepEqual(await lines(9), []);
    assert.deepEqual(await lines(9, "A1\n"), [["A1"]]);
  });

  it("come in batches of what has arrived, and of no more than asked for", async () => {
    assert.deepEqual(await lines(2, "A\nB\nC\n", "D\n"), [["A", "B"], ["C"], ["D"]]);
  });

  it("take no memory for a line that never ends", async () => {
    const [[line = ""] = []] = (await lines(
      9,
      ...("x".repeat(9000).match(/.{1,100}/g) ?? []),
    )) as string[][];
    assert.equal(line.length, 4096);
  });
});
