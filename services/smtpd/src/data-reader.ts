/**
 * Takes the content of DATA out of the byte stream: finds its end and removes the dots that the client stuffed.
 *
 * The message ends at CRLF "." CRLF and nowhere else, the line end of the DATA command counting as the first CRLF.
 * A line that ends in LF alone is a line as well, so that its successor's stuffed dot is removed; but a lone dot next to
 * a bare LF or a bare CR ends nothing. How the stream is cut into chunks makes no difference.
 *
 * Nearly all chunks hold no stuffed dot: then the content is a view into the chunk, found with one search of native
 * code. Line ends are left as they are; mail-format's LineEndNormaliser mends them afterwards.
 *
 * Source: RFC 5321 §4.1.1.4, §4.5.2; spec V8, V28, V29; security.md 1.
 */

const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const dot = 0x2e;
const lineFeedDot = Buffer.from("\n.");
const heldCarriageReturn = Buffer.from("\r");
const nothing = Buffer.alloc(0);

/**
 * Where the reader stands: what the bytes so far end with.
 *
 * inLine: none of the others · afterCr: CR · lineStart: CRLF · bareLineStart: LF without CR · dot: CRLF and a dot, which
 * is held back · dotCr: CRLF, a dot and CR, both held back.
 */
type Place = "inLine" | "afterCr" | "lineStart" | "bareLineStart" | "dot" | "dotCr";

export type DataRead = {
  /** Content in this chunk, without stuffed dots. A view into the chunk wherever possible. */
  readonly content: Buffer;
  /** Where in the chunk the bytes after the end of the message start; -1: the message goes on. */
  readonly end: number;
};

export class DataReader {
  #place: Place = "lineStart";

  /** Reads on in `chunk` from `start`. Not to be called again after the end. */
  read(chunk: Buffer, start: number): DataRead {
    const kept = new KeptRanges(chunk, start);
    let position = start;
    while (this.#place !== "inLine" && position < chunk.length) {
      if (this.#step(chunk[position] ?? 0, position, kept)) {
        return { content: kept.until(position), end: position + 1 };
      }
      position++;
    }
    return this.#place === "inLine"
      ? this.#readInLine(chunk, position, kept)
      : { content: kept.until(chunk.length), end: -1 };
  }

  /** One byte at a place where a dot may matter. @returns whether it ends the message. */
  #step(byte: number, position: number, kept: KeptRanges): boolean {
    switch (this.#place) {
      case "lineStart":
        if (byte !== dot) break;
        this.#place = "dot";
        kept.drop(position);
        return false;
      case "bareLineStart":
        if (byte !== dot) break;
        this.#place = "inLine";
        kept.drop(position);
        return false;
      case "dot":
        if (byte !== carriageReturn) break;
        this.#place = "dotCr";
        kept.drop(position);
        return false;
      case "dotCr":
        if (byte === lineFeed) {
          kept.drop(position);
          return true;
        }
        kept.lead = heldCarriageReturn;
        this.#place = "afterCr";
        break;
      case "afterCr":
      case "inLine":
        break;
    }
    this.#place = placeAfter(byte, this.#place === "afterCr");
    return false;
  }

  #readInLine(chunk: Buffer, from: number, kept: KeptRanges): DataRead {
    let position = from;
    for (;;) {
      const feed = chunk.indexOf(lineFeedDot, position);
      if (feed < 0) {
        this.#place = placeAtEnd(chunk, position);
        return { content: kept.until(chunk.length), end: -1 };
      }
      const afterDot = feed + 2;
      kept.drop(feed + 1);
      if (feed > position && chunk[feed - 1] === carriageReturn) {
        if (chunk[afterDot] === carriageReturn && chunk[afterDot + 1] === lineFeed) {
          return { content: kept.until(feed + 1), end: afterDot + 2 };
        }
        if (afterDot === chunk.length) {
          this.#place = "dot";
          return { content: kept.until(afterDot), end: -1 };
        }
        if (chunk[afterDot] === carriageReturn && afterDot + 1 === chunk.length) {
          this.#place = "dotCr";
          kept.drop(afterDot);
          return { content: kept.until(afterDot + 1), end: -1 };
        }
      }
      position = afterDot;
    }
  }
}

function placeAfter(byte: number, isAfterCr: boolean): Place {
  if (byte === lineFeed) return isAfterCr ? "lineStart" : "bareLineStart";
  return byte === carriageReturn ? "afterCr" : "inLine";
}

/** The place after all of the chunk, of which the byte before `position` is neither CR nor LF. */
function placeAtEnd(chunk: Buffer, position: number): Place {
  const last = chunk.length - 1;
  if (last < position) return "inLine";
  return placeAfter(chunk[last] ?? 0, last > position && chunk[last - 1] === carriageReturn);
}

/** What is left of a chunk when single bytes are dropped from it. Copies only if something lies between drops. */
class KeptRanges {
  /** A byte held back from the chunk before, which turned out to be content. */
  lead: Buffer | undefined;
  readonly #chunk: Buffer;
  /** Start of the range that is being kept. */
  #from: number;
  #copy: Buffer | undefined;
  #copied = 0;

  constructor(chunk: Buffer, start: number) {
    this.#chunk = chunk;
    this.#from = start;
  }

  drop(position: number): void {
    if (position > this.#from) {
      this.#copy ??= Buffer.allocUnsafe(this.#chunk.length);
      this.#copied += this.#chunk.copy(this.#copy, this.#copied, this.#from, position);
    }
    this.#from = position + 1;
  }

  /** All that is kept before `end`. */
  until(end: number): Buffer {
    const rest = end > this.#from ? this.#chunk.subarray(this.#from, end) : nothing;
    if (this.lead === undefined && this.#copied === 0) return rest;
    const copied = this.#copy?.subarray(0, this.#copied) ?? nothing;
    return Buffer.concat([this.lead ?? nothing, copied, rest]);
  }
}
