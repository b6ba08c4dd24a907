/**
 * Reads an export line by line, and a message's content part by part, with bounded memory whatever the file is like.
 *
 * The content is the last member of a message's line, a list of base64 texts: each is handed on when it is whole. A line
 * that is not as it should be is read to its end and told of as damaged, with its beginning.
 *
 * Source: docs/BACKUP.md.
 */
import { contentMark } from "./export-format.ts";

/** A line but for its content; 50 000 recipients with their reasons take some 20 MB. */
const longestHead = 64 * 1024 * 1024;
/** A part of the content: 256 KiB make 342 KiB of base64. */
const longestPart = 4 * 1024 * 1024;
/** Kept of a damaged line. */
export const keptOfDamaged = 256 * 1024;

const newline = Buffer.from("\n");
const quote = Buffer.from('"');
const mark = Buffer.from(contentMark);

/** What becomes of a line's pieces; `part` may wait. */
export type LineReader = {
  /** What stands before the content; of a line without content the whole of it. @throws for a damaged one */
  head(text: string, hasContent: boolean): void;
  part(content: Buffer): Promise<void>;
};

export type EndedLine = {
  /** Why it is damaged, if it is. */
  readonly damage?: string;
  /** Of a damaged line, its beginning. */
  readonly beginning: Buffer;
  /** Nothing but a line end, or nothing at all. */
  readonly isEmpty: boolean;
  /** The line ends where the input ends, without a line end. */
  readonly isCut: boolean;
  /** The message went away while it was exported. */
  readonly isIncomplete: boolean;
  /** Of the line, its end included. */
  readonly bytes: number;
};

/** Chunks of an input as one stream of bytes that is looked at in pieces. */
class Bytes {
  readonly #input: AsyncIterator<Buffer>;
  readonly #onBytes: (bytes: Buffer) => void;
  #held: Buffer = Buffer.alloc(0);
  /** Kept, so that it is looked for once, however small the pieces that are taken. */
  #lineEnd: number | undefined;
  #isOver = false;

  constructor(input: AsyncIterable<Buffer>, onBytes: (bytes: Buffer) => void) {
    this.#input = input[Symbol.asyncIterator]();
    this.#onBytes = onBytes;
  }

  /** What is at hand, at least a byte; empty at the end. */
  async peek(): Promise<Buffer> {
    while (this.#held.length === 0 && !this.#isOver) {
      const next = await this.#input.next();
      this.#lineEnd = undefined;
      if (next.done === true) this.#isOver = true;
      else this.#held = next.value;
    }
    return this.#held;
  }

  /** Where the line ends in what is at hand; -1: further on. */
  lineEnd(): number {
    this.#lineEnd ??= this.#held.indexOf(newline);
    return this.#lineEnd;
  }

  take(count: number): Buffer {
    const taken = this.#held.subarray(0, count);
    this.#held = this.#held.subarray(count);
    const end = this.#lineEnd ?? -1;
    if (end >= 0) this.#lineEnd = end < count ? undefined : end - count;
    this.#onBytes(taken);
    return taken;
  }
}

export class ExportLines {
  readonly #bytes: Bytes;

  /** @param onBytes told of all bytes, in order, as they are consumed */
  constructor(input: AsyncIterable<Buffer>, onBytes: (bytes: Buffer) => void) {
    this.#bytes = new Bytes(input, onBytes);
  }

  /** Reads a line. @returns undefined at the end of the input */
  async next(reader: LineReader): Promise<EndedLine | undefined> {
    if ((await this.#bytes.peek()).length === 0) return undefined;
    const line = new Line(this.#bytes);
    try {
      const hasContent = await line.readHead(reader);
      if (hasContent) await line.readContent(reader);
    } catch (error) {
      if (!(error instanceof LineDamage)) throw error;
      line.damage = error.message;
    }
    return line.end();
  }
}

/** A line that is not as it should be. A reader's `head` throws it too. */
export class LineDamage extends Error {
  override readonly name = "LineDamage";
}

class Line {
  readonly #bytes: Bytes;
  #beginning: Buffer[] = [];
  #kept = 0;
  #count = 0;
  #isEnded = false;
  #isCut = false;
  #isIncomplete = false;
  #onlyBlank = true;
  damage: string | undefined;

  constructor(bytes: Bytes) {
    this.#bytes = bytes;
  }

  /** Up to a stop, which is taken too, or to the end of the line. @returns what was read, without the line's end */
  async #until(stop: Buffer, longest: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let size = 0;
    let before: Buffer = Buffer.alloc(0);
    for (;;) {
      const held = await this.#bytes.peek();
      if (held.length === 0) {
        this.#isEnded = true;
        this.#isCut = true;
        break;
      }
      const end = this.#bytes.lineEnd();
      const line = end < 0 ? held : held.subarray(0, end);
      const at = endOf(stop, before, line);
      parts.push(this.#take(at < 0 ? line.length : at));
      if (at >= 0) break;
      if (end >= 0) {
        this.#take(newline.length);
        this.#isEnded = true;
        break;
      }
      size += line.length;
      if (size > longest) throw new LineDamage("is too long");
      before = lastOf(Buffer.concat([before, lastOf(line, stop.length - 1)]), stop.length - 1);
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  #take(count: number): Buffer {
    const taken = this.#bytes.take(count);
    this.#count += count;
    if (this.#kept < keptOfDamaged) {
      const some = taken.subarray(0, keptOfDamaged - this.#kept);
      this.#beginning.push(some);
      this.#kept += some.length;
    }
    if (this.#onlyBlank && !/^\s*$/.test(taken.toString("latin1"))) this.#onlyBlank = false;
    return taken;
  }

  /** @returns whether content follows */
  async readHead(reader: LineReader): Promise<boolean> {
    // A quoted mark can't stand in a JSON text, so the first one is the member's beginning.
    const text = await this.#until(mark, longestHead);
    if (!this.#isEnded) {
      reader.head(`${text.subarray(0, -mark.length).toString("utf8")}}`, true);
      return true;
    }
    if (!this.#onlyBlank) reader.head(text.toString("utf8"), false);
    return false;
  }

  async readContent(reader: LineReader): Promise<void> {
    for (let isFirst = true; ; isFirst = false) {
      const before = await this.#until(quote, longestPart);
      const lead = before.toString("latin1");
      if (lead === (isFirst ? '"' : ',"') && !this.#isEnded) {
        await reader.part(decoded(await this.#until(quote, longestPart)));
        if (this.#isEnded) throw new LineDamage("ends in its content");
        continue;
      }
      await this.#readTail(lead);
      return;
    }
  }

  async #readTail(lead: string): Promise<void> {
    const rest = this.#isEnded ? "" : (await this.#until(newline, longestPart)).toString("latin1");
    const tail = (lead + rest).replace(/\r$/, "");
    if (tail === "]}") return;
    if (tail !== '],"incomplete":true}') throw new LineDamage("does not end with its content");
    this.#isIncomplete = true;
  }

  /** Reads what is left of it. */
  async end(): Promise<EndedLine> {
    while (!this.#isEnded) {
      const held = await this.#bytes.peek();
      const end = this.#bytes.lineEnd();
      if (held.length === 0) this.#isCut = true;
      this.#isEnded = held.length === 0 || end >= 0;
      this.#take(end < 0 ? held.length : end + 1);
    }
    return {
      ...(this.damage === undefined ? {} : { damage: this.damage }),
      beginning: Buffer.concat(this.#beginning),
      isEmpty: this.#onlyBlank,
      isCut: this.#isCut,
      isIncomplete: this.#isIncomplete,
      bytes: this.#count,
    };
  }
}

/**
 * One past the first `stop` that ends in some bytes; -1: none does.
 *
 * @param before what stood before them, shorter than `stop`, which may begin there
 */
function endOf(stop: Buffer, before: Buffer, bytes: Buffer): number {
  if (before.length > 0) {
    const seam = Buffer.concat([before, bytes.subarray(0, stop.length - 1)]).indexOf(stop);
    if (seam >= 0) return seam + stop.length - before.length;
  }
  const at = bytes.indexOf(stop);
  return at < 0 ? -1 : at + stop.length;
}

function lastOf(bytes: Buffer, count: number): Buffer {
  return bytes.subarray(Math.max(0, bytes.length - count));
}

/** @param text base64 with the quote behind it */
function decoded(text: Buffer): Buffer {
  const base64 = text.subarray(0, -1).toString("latin1");
  const content = Buffer.from(base64, "base64");
  if (content.toString("base64") !== base64) throw new LineDamage("has content that is no base64");
  return content;
}
