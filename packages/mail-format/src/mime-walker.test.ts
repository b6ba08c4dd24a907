import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { parseContentType, parseTransferEncoding } from "./mime-fields.ts";
import { MimeWalker } from "./mime-walker.ts";
import type { MimeLimits, MimeSink } from "./mime-walker.ts";

const limits: MimeLimits = {
  nestingLimit: 100,
  boundaryBytes: 2048,
  headerBytes: 102_400,
  opensGlobal: true,
};

/** What is seen, one line each, and all bytes put together again. */
class Recorder implements MimeSink {
  readonly seen: string[] = [];
  readonly bytes: Buffer[] = [];
  header: MimeSink["header"] = (raw, name, { number, headerClass }) => {
    this.seen.push(`${number} ${headerClass} ${name}`);
    this.bytes.push(raw);
  };
  headEnd: MimeSink["headEnd"] = (separator, { number }) => {
    this.seen.push(`${number} end${separator.length === 0 ? " at once" : ""}`);
    this.bytes.push(separator);
  };
  text: MimeSink["text"] = (piece, { isGap, endsLine }, { number }) => {
    this.seen.push(`${number} ${isGap ? "gap" : "text"} ${piece.toString("latin1")}`);
    this.bytes.push(piece, Buffer.from(endsLine ? "\r\n" : ""));
  };
  boundary: MimeSink["boundary"] = (line, { number }) => {
    this.seen.push(`${number} boundary`);
    this.bytes.push(line);
  };
  asIs: MimeSink["asIs"] = (bytes) => {
    this.seen.push("as is");
    this.bytes.push(bytes);
  };
}

function walk(
  text: string,
  options: { readonly cut?: number; readonly limits?: Partial<MimeLimits> } = {},
) {
  const content = Buffer.from(text, "latin1");
  const recorder = new Recorder();
  const walker = new MimeWalker(recorder, { ...limits, ...options.limits });
  const step = options.cut ?? content.length;
  for (let at = 0; at < content.length; at += step) walker.write(content.subarray(at, at + step));
  walker.end();
  assert.equal(Buffer.concat(recorder.bytes).toString("latin1"), text);
  return { seen: recorder.seen, isTooDeep: walker.isTooDeep };
}

const lines = (...all: readonly string[]) => `${all.join("\r\n")}\r\n`;

const multipart = (boundary: string) =>
  lines(`Content-Type: multipart/mixed; boundary="${boundary}"`, "", `--${boundary}`).slice(0, -2);

/** CPU time for 40,000 such lines of text behind these headers. */
function cpuMs(headers: string, line: string): number {
  const ignored = () => {};
  const sink = {
    header: ignored,
    headEnd: ignored,
    text: ignored,
    boundary: ignored,
    asIs: ignored,
  };
  const walker = new MimeWalker(sink, limits);
  walker.write(Buffer.from(`${headers}\r\n`));
  const text = Buffer.from(line.repeat(40_000));
  const before = process.cpuUsage();
  walker.write(text);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

const nested = lines(
  "From: a",
  'Content-Type: multipart/mixed; boundary="b 1" (comment; boundary=c)',
  "",
  "before",
  "--b 1",
  "Content-Type: message/rfc822",
  "",
  "From x@y Mon",
  "Subject : inner",
  "Content-Type: multipart/digest;",
  "\tboundary=d",
  "",
  "--d  ",
  "",
  "Subject: of a digest",
  "",
  "text",
  "--b 1 with more",
  "no header here",
  "--b 1--",
  "after",
);

const nestedSeen = [
  "0 primary from",
  "0 primary content-type",
  "0 end",
  "0 gap before",
  "0 boundary",
  "1 mime content-type",
  "1 end",
  "as is",
  "2 nested subject",
  "2 nested content-type",
  "2 end",
  "2 boundary",
  "3 end",
  "4 nested subject",
  "4 end",
  "4 text text",
  "0 boundary",
  "5 end at once",
  "5 text no header here",
  "0 boundary",
  "0 gap after",
];

describe("MimeWalker", () => {
  it("follows multiparts, digests and attached messages", () => {
    assert.deepEqual(walk(nested).seen, nestedSeen);
  });

  it("sees the same wherever the chunks are cut", () => {
    for (let cut = 1; cut < 40; cut++) assert.deepEqual(walk(nested, { cut }).seen, nestedSeen);
  });

  it("hands on plain mail, empty mail and headers alone", () => {
    assert.deepEqual(walk("A: b\r\n c\r\n\r\n\r\n--x\r\n").seen, [
      "0 primary a",
      "0 end",
      "0 text ",
      "0 text --x",
    ]);
    assert.deepEqual(walk("").seen, ["0 end at once"]);
    assert.deepEqual(walk("A: b\r\n").seen, ["0 primary a", "0 end at once"]);
  });

  it("does not look into an attached message that is encoded, nor into message/global unless told to", () => {
    const encoded = lines(
      "Content-Type: message/rfc822",
      "Content-Transfer-Encoding: base64",
      "",
      "A: b",
    );
    assert.deepEqual(walk(encoded).seen.slice(2), ["0 end", "0 text A: b"]);
    const global = lines("Content-Type: message/global", "", "A: b");
    assert.deepEqual(walk(global).seen.slice(2), ["1 nested a", "1 end at once"]);
    assert.deepEqual(walk(global, { limits: { opensGlobal: false } }).seen.slice(2), [
      "0 text A: b",
    ]);
  });

  it("holds no more than a piece of a line or of a header", () => {
    const long = lines(
      `A: ${"x".repeat(200_000)}`,
      ` ${"y".repeat(200_000)}`,
      "B: c",
      "",
      "z".repeat(200_000),
    );
    const { seen } = walk(long, { cut: 70_001 });
    assert.deepEqual(
      seen.filter((what) => !what.startsWith("0 text") && what !== "as is"),
      ["0 primary a", "0 primary b", "0 end"],
    );
    assert.ok(seen.every((what) => what.length < 70_000));
  });

  it("opens no multipart beyond mime_nesting_limit, and says so", () => {
    const deep = (levels: number) =>
      Array.from(
        { length: levels },
        (_, at) =>
          `${at === 0 ? "" : `--b${at - 1}x\r\n`}Content-Type: multipart/mixed; boundary=b${at}x\r\n\r\n`,
      ).join("");
    assert.equal(walk(deep(20), { limits: { nestingLimit: 20 } }).isTooDeep, false);
    assert.equal(walk(deep(30), { limits: { nestingLimit: 20 } }).isTooDeep, true);
  });

  it("D17 lets a line cost the same however deep multiparts are nested", () => {
    const boundaries: readonly (readonly [string, (at: number) => string])[] = [
      ["--bx\r\n", (at) => `b${"x".repeat(60)}${at}`],
      ["--999xxxxxxxxxx\r\n", (at) => `${100 + at}xxxxxxxxxx`],
    ];
    for (const [line, boundary] of boundaries) {
      const flatMs = cpuMs("", line);
      const deep = Array.from({ length: 90 }, (_, at) => `${multipart(boundary(at))}\r\n`).join("");
      const deepMs = cpuMs(deep, line);
      assert.ok(deepMs < 5 * flatMs + 60, `${deepMs} ms against ${flatMs} ms for ${line}`);
    }
  });

  it("reads boundaries in pieces, in quotes, with escapes", () => {
    const boundaries = (value: string) => parseContentType(value).boundaries;
    assert.deepEqual(boundaries(' multipart/mixed; charset=x; boundary="a;\\"b"'), ['a;"b']);
    assert.deepEqual(boundaries("multipart/mixed; boundary*1=b; boundary*0=a"), ["ab"]);
    assert.deepEqual(boundaries("multipart/mixed; boundary*=us-ascii''a%3Db"), ["a=b"]);
    assert.deepEqual(boundaries("text/plain; boundary=x"), []);
    assert.equal(parseTransferEncoding(" (why) 8BIT ; x\r\n"), "8bit");
    assert.equal(parseTransferEncoding("x-uuencode"), "none");
  });
});
