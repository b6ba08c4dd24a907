/** A strict reader of the few MIME forms that a report may use, to check what is composed by other eyes. */
import assert from "node:assert/strict";

export type MimePart = {
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
};

/** Header fields of a block, unfolded; refuses anything that is not a field. */
export function readFields(block: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of block.replaceAll(/\r\n[ \t]+/g, " ").split("\r\n")) {
    const match = /^([!-9;-~]+): ?(.*)$/.exec(line);
    assert(match, `not a header field: ${JSON.stringify(line)}`);
    const [, name = "", value = ""] = match;
    assert(!fields.has(name.toLowerCase()), `${name} twice`);
    fields.set(name.toLowerCase(), value);
  }
  return fields;
}

export function readPart(bytes: Buffer): MimePart {
  const end = bytes.indexOf("\r\n\r\n");
  assert(end >= 0, "no empty line after the headers");
  return {
    headers: readFields(bytes.subarray(0, end).toString("utf8")),
    body: bytes.subarray(end + 4),
  };
}

/** The parts between boundaries. */
export function readMultipart(message: MimePart): readonly MimePart[] {
  const boundary = /boundary="([^"]+)"/.exec(message.headers.get("content-type") ?? "")?.[1];
  assert(boundary !== undefined && boundary.length <= 70, "a boundary of at most 70 characters");
  const body = `\r\n${message.body.toString("latin1")}`;
  const pieces = body.split(`\r\n--${boundary}`);
  assert.equal(pieces.pop(), "--\r\n", "the closing boundary ends the message");
  return pieces.slice(1).map((piece) => {
    assert(piece.startsWith("\r\n"));
    return readPart(Buffer.from(piece.slice(2), "latin1"));
  });
}

/** No bare CR or LF, no NUL, no line above 998 characters, 8-bit only where announced. */
export function assertWireForm(bytes: Buffer): void {
  const text = bytes.toString("latin1");
  assert(!/(?<!\r)\n|\r(?!\n)|\0/.test(text), "a bare CR or LF, or a NUL");
  for (const line of text.split("\r\n")) assert(line.length <= 998, "a line above 998 characters");
  const { headers } = readPart(bytes);
  const has8Bit = bytes.some((byte) => byte > 127);
  assert.equal(headers.get("content-transfer-encoding"), has8Bit ? "8bit" : undefined);
}
