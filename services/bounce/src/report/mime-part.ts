/**
 * The parts of a multipart, and the line between them.
 *
 * Source: RFC 2046 §5.1; RFC 6522; spec delivery.md §9 "Format".
 */

export type MimePart = {
  readonly description: string;
  readonly type: string;
  /** Lines end with CRLF, the last one's may be missing. */
  readonly body: Buffer;
};

/** RFC 2046 §5.1.1: of at most 70 characters. */
const longestBoundary = 70;
/** For the number that may have to stand before it. */
const boundaryRoom = 4;

/** The parts with their boundaries, the closing one included. */
export function multipart(parts: readonly MimePart[], boundary: string): Buffer {
  return Buffer.concat([
    ...parts.map((each) => part(each, boundary)),
    Buffer.from(`--${boundary}--\r\n`),
  ]);
}

function part({ description, type, body }: MimePart, boundary: string): Buffer {
  const encoding = is8Bit(body) ? "Content-Transfer-Encoding: 8bit\r\n" : "";
  const head = `--${boundary}\r\nContent-Description: ${description}\r\nContent-Type: ${type}\r\n${encoding}\r\n`;
  // The line end before a boundary belongs to the boundary (RFC 2046 §5.1.1).
  return Buffer.concat([Buffer.from(head), body, Buffer.from("\r\n")]);
}

/** `wanted`, cut to what a boundary may have, with a number before it where a part has such a line already. */
export function freeBoundary(wanted: string, parts: readonly MimePart[]): string {
  const base = wanted.slice(0, longestBoundary - boundaryRoom);
  let boundary = base;
  for (let n = 1; parts.some(({ body }) => body.includes(`--${boundary}`)); n += 1) {
    boundary = `${n}.${base}`;
  }
  return boundary;
}

export function is8Bit(bytes: Buffer): boolean {
  return bytes.some((byte) => byte > 127);
}
