/**
 * Finds the header lines of a message without changing or copying a byte.
 *
 * A header is a name of printable characters, a colon (blanks before it are let pass, as Postfix does), and all
 * continuation lines that start with a space or a tab. The first line that is neither ends the headers: an empty
 * line, as it should be, or body text that follows without one. Lines may end with CRLF or LF. The time taken is
 * linear in the length of the headers and does not depend on that of the body.
 *
 * Promise: the raw headers in order, then the bytes from `headersEnd` on, are the content again.
 *
 * Source: RFC 5322 §2.2; Postfix src/global/is_header.c, src/global/mime_state.c.
 */

/** One header as it stands in the content. */
export type RawHeader = {
  /** In lower case, without the colon. */
  readonly name: string;
  /** Name, value, continuation lines and line end: a view into the content. */
  readonly raw: Buffer;
  /** The value without line breaks and outer blanks, decoded as UTF-8. */
  value(): string;
};

export type ScannedHeaders = {
  readonly headers: readonly RawHeader[];
  /** The first byte after the last header. */
  readonly headersEnd: number;
  /** The first byte of the body: after the empty line, or equal to `headersEnd` if there is none. */
  readonly bodyOffset: number;
};

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const colon = 0x3a;
const space = 0x20;
const tab = 0x09;

/** The headers of a message, or of as much of its front as is at hand. */
export function scanHeaders(content: Buffer): ScannedHeaders {
  const headers: RawHeader[] = [];
  let position = 0;
  while (position < content.length) {
    const nameEnd = headerNameEnd(content, position);
    if (nameEnd === undefined) break;
    const end = logicalLineEnd(content, position);
    headers.push(new ScannedHeader(content.subarray(position, end), nameEnd - position));
    position = end;
  }
  return {
    headers,
    headersEnd: position,
    bodyOffset: position + emptyLineLength(content, position),
  };
}

class ScannedHeader implements RawHeader {
  readonly name: string;
  readonly raw: Buffer;

  constructor(raw: Buffer, nameLength: number) {
    this.raw = raw;
    this.name = raw.toString("latin1", 0, nameLength).toLowerCase();
  }

  value(): string {
    const text = this.raw.toString("utf8", this.raw.indexOf(colon) + 1);
    return text.replaceAll(/[\r\n]+/g, "").trim();
  }
}

/** Where the header's name ends if a header starts at `start`, else undefined. */
function headerNameEnd(content: Buffer, start: number): number | undefined {
  let position = start;
  while (isNameByte(content[position])) position++;
  if (position === start) return undefined;
  const nameEnd = position;
  while (isBlank(content[position])) position++;
  return content[position] === colon ? nameEnd : undefined;
}

/** One past the line end of the header that starts at `start`, continuation lines included. */
function logicalLineEnd(content: Buffer, start: number): number {
  let position = start;
  do {
    const end = content.indexOf(lineFeed, position);
    if (end < 0) return content.length;
    position = end + 1;
  } while (isBlank(content[position]));
  return position;
}

function emptyLineLength(content: Buffer, position: number): number {
  if (content[position] === lineFeed) return 1;
  return content[position] === carriageReturn && content[position + 1] === lineFeed ? 2 : 0;
}

function isNameByte(byte: number | undefined): boolean {
  return byte !== undefined && byte > space && byte < 0x7f && byte !== colon;
}

function isBlank(byte: number | undefined): boolean {
  return byte === space || byte === tab;
}
