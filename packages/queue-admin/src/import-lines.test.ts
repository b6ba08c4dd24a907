import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { ExportLines } from "./import-lines.ts";
import type { EndedLine } from "./import-lines.ts";

type ReadLine = EndedLine & { readonly head: string; readonly parts: readonly string[] };

/** @returns its lines, and in how many pieces they were taken off the input */
async function read(
  chunks: Iterable<string>,
): Promise<{ readonly lines: readonly ReadLine[]; readonly pieces: number }> {
  let pieces = 0;
  const lines = new ExportLines(inBuffers(chunks), () => (pieces += 1));
  const all: ReadLine[] = [];
  for (;;) {
    let head = "";
    const parts: string[] = [];
    const ended = await lines.next({
      head: (text, hasContent) => (head = `${hasContent ? "with" : "without"} ${text}`),
      part: async (content) => void parts.push(content.toString()),
    });
    if (ended === undefined) return { lines: all, pieces };
    all.push({ ...ended, head, parts });
  }
}

async function* inBuffers(chunks: Iterable<string>): AsyncGenerator<Buffer> {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

describe("ExportLines", () => {
  const text = [
    '{"postmq_export":1}',
    '{"id":"x","a":[",",["content"]],"content":["YQ==","","YmM="]}',
    "",
    '{"id":"y","content":[]}',
    '{"id":"z","content":["YQ=="],"incomplete":true}',
    '{"id":"z","content":["YQ=="',
    '{"end":1,"content":',
  ].join("\n");
  const heads = [
    'without {"postmq_export":1}',
    'with {"id":"x","a":[",",["content"]]}',
    "",
    'with {"id":"y"}',
    'with {"id":"z"}',
    'with {"id":"z"}',
    'without {"end":1,"content":',
  ];

  it("reads the same wherever the input is cut", async () => {
    const cuts = Array.from(text, (_, at) => [text.slice(0, at), text.slice(at)]);
    for (const chunks of [[text], [...text], ...cuts]) {
      const { lines } = await read(chunks);
      assert.deepEqual(
        lines.map(({ head }) => head),
        heads,
      );
      assert.deepEqual(lines[1]?.parts, ["a", "", "bc"]);
      assert.deepEqual(
        lines.map(({ damage, isEmpty, isCut, isIncomplete }) => [
          damage ?? "",
          [isEmpty, isCut, isIncomplete].map(Number).join(""),
        ]),
        [
          ["", "000"],
          ["", "000"],
          ["", "100"],
          ["", "000"],
          ["", "001"],
          ["does not end with its content", "000"],
          ["", "010"],
        ],
      );
      assert.equal(
        lines.reduce((sum, { bytes }) => sum + bytes, 0),
        text.length,
      );
    }
  });

  it("takes a line that is all brackets in as few pieces as it comes in", async () => {
    const chunks = Array.from({ length: 64 }, () => "[".repeat(16_384));
    const { lines, pieces } = await read([...chunks, "\n"]);
    assert.equal(lines[0]?.head.length, "without ".length + 1_048_576);
    assert.ok(pieces <= 66, String(pieces));
  });
});
