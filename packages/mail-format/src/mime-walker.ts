/**
 * Walks through a message while it streams and says what each line is: a header of the message, of a MIME part, of an
 * attached message; the end of such headers; a boundary; text of a body.
 *
 * It follows multiparts by their boundaries and message/rfc822 into the message, as Postfix does: a boundary of an
 * outer multipart ends all inner ones, text after a boundary's string is let pass (RFC 2046 §5.1.1 has the string
 * compared with the beginning of a line), a part may lack headers.
 *
 * Memory is bounded: a header is held up to `headerBytes`, a line of text up to 64 KB; what is longer is handed on in
 * pieces. Multiparts deeper than `nestingLimit` are not opened, and `isTooDeep` says so.
 *
 * Promise: all that is handed to the sink, in order, with CRLF after each text that `endsLine`, is the content again
 * (lines end with CRLF: content that was not normalised goes through LineEndNormaliser first). Where the chunks are cut
 * makes no difference.
 *
 * Departs: an attached message may start with its `From ` line of a mailbox, which Postfix takes for the end of headers.
 *
 * Source: Postfix src/global/mime_state.c; RFC 2045, RFC 2046 §5; spec rewriting-and-checks.md §3.
 */
import {
  nestedMessage,
  parseContentType,
  parseTransferEncoding,
  plainText,
} from "./mime-fields.ts";
import type { ContentType, TransferEncoding } from "./mime-fields.ts";
import { OpenMultiparts } from "./open-multiparts.ts";

/** primary: of the message. mime: of a part of a multipart. nested: of an attached message. Source: header_checks(5). */
export type HeaderClass = "primary" | "mime" | "nested";

/** A message, a part of a multipart, or an attached message: headers, then a body. */
export type MimeEntity = {
  /** Counted from 0 in the order in which they start. */
  readonly number: number;
  readonly headerClass: HeaderClass;
  /** As far as its headers have been seen. */
  readonly type: ContentType;
  readonly encoding: TransferEncoding;
};

export type MimeSink = {
  /** A logical header with all its lines, the last CRLF included. */
  header(raw: Buffer, name: string, entity: MimeEntity): void;
  /** The headers are over. `separator`: the empty line; or nothing, when text follows at once. */
  headEnd(separator: Buffer, entity: MimeEntity): void;
  /** Text of a body, without its CRLF. `isGap`: before the first boundary of a multipart, or after its last. */
  text(piece: Buffer, where: TextPlace, entity: MimeEntity): void;
  /** A line that divides this multipart, or a piece of one, its CRLF included. */
  boundary(bytes: Buffer, multipart: MimeEntity): void;
  /** Bytes to hand on as they are: what is too long of a header, a `From ` line. */
  asIs(bytes: Buffer): void;
};

export type TextPlace = {
  readonly isGap: boolean;
  /** false: more of this line follows. */
  readonly endsLine: boolean;
};

export type MimeLimits = {
  readonly nestingLimit: number;
  /** Boundaries are cut at this length. */
  readonly boundaryBytes: number;
  readonly headerBytes: number;
  /** Whether message/global is gone into; else it is a leaf. */
  readonly opensGlobal: boolean;
};

type Multipart = {
  /** One character per byte. */
  readonly boundary: string;
  readonly isDigest: boolean;
  readonly entity: MimeEntity;
};

type Writable<Whole> = { -readonly [Field in keyof Whole]: Whole[Field] };

const pieceBytes = 65_536;
const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const dash = 0x2d;
const crlf = Buffer.from("\r\n");
const nothing = Buffer.alloc(0);

export class MimeWalker {
  readonly #sink: MimeSink;
  readonly #limits: MimeLimits;
  readonly #open = new OpenMultiparts<Multipart>();
  #entity: Writable<MimeEntity> = newEntity(0, "primary", plainText);
  #entities = 1;
  #isInHead = true;
  #isGap = false;
  #hasHeaders = false;
  /** The header that is not over yet, and its size. */
  #header: Buffer[] = [];
  #headerBytes = 0;
  /** The header was too long: the rest of it passes. */
  #isOverlong = false;
  /** The line that is not over yet. */
  #line: Buffer = nothing;
  /** Part of the present line was handed on. */
  #isMidLine = false;
  /** That part belongs to a header. */
  #isMidHeader = false;
  /** That part belongs to the boundary of this multipart. */
  #boundaryOf: MimeEntity | undefined;
  isTooDeep = false;

  constructor(sink: MimeSink, limits: MimeLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  write(chunk: Buffer): void {
    const bytes = this.#line.length === 0 ? chunk : Buffer.concat([this.#line, chunk]);
    let start = 0;
    for (;;) {
      const feed = bytes.indexOf(lineFeed, start);
      if (feed < 0) break;
      this.#take(bytes.subarray(start, feed - 1), true);
      start = feed + 1;
    }
    let rest = bytes.subarray(start);
    while (rest.length > pieceBytes) {
      const end = rest[pieceBytes - 1] === carriageReturn ? pieceBytes - 1 : pieceBytes;
      this.#take(rest.subarray(0, end), false);
      rest = rest.subarray(end);
    }
    // A view would keep the whole chunk; a copy is at most a line.
    this.#line = rest.length === 0 ? nothing : Buffer.from(rest);
  }

  /** No more will come. */
  end(): void {
    if (this.#line.length > 0) this.#take(this.#line, true);
    this.#line = nothing;
    if (!this.#isInHead) return;
    this.#endHeader();
    this.#endHead(nothing);
  }

  /** A line without its CRLF, or a piece of one. */
  #take(text: Buffer, endsLine: boolean): void {
    const isStart = !this.#isMidLine;
    this.#isMidLine = !endsLine;
    if (isStart) this.#boundaryOf = undefined;
    if (this.#boundaryOf !== undefined)
      this.#sink.boundary(withEnd(text, endsLine), this.#boundaryOf);
    else if (!this.#isInHead) this.#takeBody(text, isStart, endsLine);
    else if (isStart) this.#takeHeadLine(text, endsLine);
    else if (this.#isMidHeader) this.#addToHeader(text, endsLine);
    else this.#sink.asIs(withEnd(text, endsLine));
  }

  #takeHeadLine(text: Buffer, endsLine: boolean): void {
    const isContinued = text[0] === 0x20 || text[0] === 0x09;
    if (isContinued && (this.#header.length > 0 || this.#isOverlong)) {
      this.#isMidHeader = true;
      this.#addToHeader(text, endsLine);
      return;
    }
    this.#endHeader();
    if (headerName(text) !== undefined) {
      this.#isMidHeader = true;
      this.#hasHeaders = true;
      this.#addToHeader(text, endsLine);
    } else if (this.#isMailboxLine(text)) {
      this.#isMidHeader = false;
      this.#sink.asIs(withEnd(text, endsLine));
    } else if (text.length === 0) {
      this.#endHead(crlf);
    } else {
      this.#endHead(nothing);
      this.#takeBody(text, true, endsLine);
    }
  }

  #isMailboxLine(text: Buffer): boolean {
    if (this.#entity.headerClass !== "nested" || this.#hasHeaders) return false;
    return /^>?From /.test(text.toString("latin1", 0, 6));
  }

  #addToHeader(text: Buffer, endsLine: boolean): void {
    const bytes = withEnd(text, endsLine);
    if (this.#isOverlong) {
      this.#sink.asIs(bytes);
      return;
    }
    this.#header.push(bytes);
    this.#headerBytes += bytes.length;
    if (this.#headerBytes < this.#limits.headerBytes) return;
    this.#endHeader();
    this.#isOverlong = true;
  }

  #endHeader(): void {
    this.#isOverlong = false;
    if (this.#header.length === 0) return;
    const [first = nothing] = this.#header;
    const raw = this.#header.length === 1 ? Buffer.from(first) : Buffer.concat(this.#header);
    this.#header = [];
    this.#headerBytes = 0;
    const name = headerName(raw) ?? "";
    if (name === "content-type") this.#readType(raw);
    else if (name === "content-transfer-encoding") {
      this.#entity.encoding = parseTransferEncoding(headerValue(raw));
    }
    this.#sink.header(raw, name, this.#entity);
  }

  #readType(raw: Buffer): void {
    const type = parseContentType(headerValue(raw));
    this.#entity.type = type;
    for (const boundary of type.boundaries) {
      // Postfix counts from -1.
      if (this.#open.depth > this.#limits.nestingLimit + 1) {
        this.isTooDeep = true;
        return;
      }
      this.#open.push({
        boundary: `--${boundary}`.slice(0, this.#limits.boundaryBytes + 2),
        isDigest: type.isDigest,
        entity: this.#entity,
      });
    }
  }

  #endHead(separator: Buffer): void {
    const entity = this.#entity;
    this.#sink.headEnd(separator, entity);
    this.#isInHead = false;
    this.#isGap = entity.type.kind === "multipart";
    if (separator.length > 0 && this.#opensMessage(entity)) this.#begin("nested", plainText);
  }

  #begin(headerClass: HeaderClass, type: ContentType): void {
    this.#entity = newEntity(this.#entities++, headerClass, type);
    this.#isInHead = true;
    this.#isGap = false;
    this.#hasHeaders = false;
  }

  #takeBody(text: Buffer, isStart: boolean, endsLine: boolean): void {
    const mayDivide = isStart && text[0] === dash && text[1] === dash;
    const multipart = mayDivide ? this.#open.dividedBy(text) : undefined;
    if (multipart === undefined) {
      this.#sink.text(text, { isGap: this.#isGap, endsLine }, this.#entity);
      return;
    }
    const { boundary, isDigest, entity } = multipart;
    this.#sink.boundary(withEnd(text, endsLine), entity);
    this.#boundaryOf = entity;
    const isLast = text[boundary.length] === dash && text[boundary.length + 1] === dash;
    this.#open.closeDownTo(multipart, { stays: !isLast });
    if (isLast) {
      this.#entity = entity;
      this.#isGap = true;
    } else {
      this.#begin("mime", isDigest ? nestedMessage : plainText);
    }
  }

  /** An attached message in base64 or quoted-printable can't be looked into. */
  #opensMessage({ type, encoding }: MimeEntity): boolean {
    if (encoding === "base64" || encoding === "quoted-printable") return false;
    return type.kind === "message" || (type.kind === "global" && this.#limits.opensGlobal);
  }
}

function newEntity(number: number, headerClass: HeaderClass, type: ContentType): MimeEntity {
  return { number, headerClass, type, encoding: "none" };
}

function withEnd(text: Buffer, endsLine: boolean): Buffer {
  return endsLine ? Buffer.concat([text, crlf]) : text;
}

/** In lower case, or undefined when the line is no header. Blanks before the colon are let pass. */
function headerName(line: Buffer): string | undefined {
  return /^([!-9;-~]+)[ \t]*:/.exec(line.toString("latin1", 0, 1_000))?.[1]?.toLowerCase();
}

function headerValue(raw: Buffer): string {
  return raw.toString("latin1", raw.indexOf(":") + 1);
}
