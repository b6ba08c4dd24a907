/**
 * What postcat prints of a message: a port of its loop over the records of a queue file.
 *
 * The order of its steps is Postfix's, since what it prints in odd cases (long lines, a start in the middle) follows
 * from that order. What would only be read over is not read.
 *
 * Source: spec admin-tools.md §3; Postfix 3.7 src/postcat/postcat.c.
 */
import { asctime } from "@postmq/mail-format";

import { recordBytes, recordNames } from "./queue-file.ts";
import type { FileRecord, QueueFile, RecordType } from "./queue-file.ts";

export type PostcatOptions = {
  /** -e, -h, -b: what is printed. */
  readonly showsEnvelope: boolean;
  readonly showsHeader: boolean;
  readonly showsBody: boolean;
  /** -o: the offset of each record in a file; -d: the number of its letter; -v: the names of text records. */
  readonly showsOffsets: boolean;
  readonly showsTypes: boolean;
  readonly isVerbose: boolean;
  /** -s: begin there; an offset within a record begins with the next one. */
  readonly startOffset: number;
};

type Place = "envelope" | "header" | "body";

const newLine = Buffer.from("\n");

/**
 * The text in pieces, each a record or a few.
 *
 * @param onWarning hears of a marker that comes out of order, as after a start in the middle
 */
export async function* postcatText(
  file: QueueFile,
  options: PostcatOptions,
  onWarning: (text: string) => void = () => {},
): AsyncGenerator<Buffer, void, void> {
  const printer = new RecordPrinter(file, options, onWarning);
  yield* printer.print();
}

class RecordPrinter {
  readonly #file: QueueFile;
  readonly #options: PostcatOptions;
  readonly #onWarning: (text: string) => void;
  #place: Place = "envelope";
  #isPrinting: boolean;
  #offset = 0;
  /** The last record that was printed was a part of a line. */
  #isInLine = false;

  constructor(file: QueueFile, options: PostcatOptions, onWarning: (text: string) => void) {
    this.#onWarning = onWarning;
    this.#file = file;
    this.#options = options;
    this.#isPrinting = options.showsEnvelope;
  }

  async *print(): AsyncGenerator<Buffer, void, void> {
    const { path, envelope, extracted } = this.#file;
    const { showsEnvelope, startOffset } = this.#options;
    if (startOffset === 0 && showsEnvelope) {
      yield Buffer.from(`*** ENVELOPE RECORDS ${path} ***\n`);
    }
    // Without -e Postfix goes from the sizes straight to the content, which has the same end.
    for (const one of envelope) yield* this.#next(one);
    yield* this.#printContent();
    for (const one of extracted) yield* this.#next(one);
  }

  async *#printContent(): AsyncGenerator<Buffer, void, void> {
    const { showsHeader, showsBody, showsEnvelope, startOffset } = this.#options;
    const end = this.#offset + this.#file.contentBytes;
    // From a start within the content its lines count as envelope records.
    const isAsked = showsHeader || showsBody || (showsEnvelope && startOffset > this.#offset);
    if (isAsked) {
      for await (const one of this.#file.content()) {
        yield* this.#next(one);
        if (this.#place === "body" && !showsBody) break;
      }
    }
    this.#offset = end;
  }

  *#next(record: FileRecord): Generator<Buffer, void, void> {
    const offset = this.#offset;
    this.#offset += recordBytes(record);
    if (offset >= this.#options.startOffset) yield* this.#show(record, offset);
  }

  *#show(record: FileRecord, offset: number): Generator<Buffer, void, void> {
    const { showsEnvelope, showsHeader, showsBody } = this.#options;
    const { type } = record;
    const isText = type === "N" || (type === "L" && this.#place !== "envelope");
    if (isText) {
      const isBody = !this.#isInLine && !isHeaderLine(record.text);
      if (this.#place === "header" && isBody) {
        this.#place = "body";
        this.#isPrinting = showsBody;
      }
    } else if (type === "M") {
      if (showsEnvelope) yield this.#marker("MESSAGE CONTENTS", type, offset);
      this.#place = "header";
      this.#isPrinting = showsHeader;
      return;
    } else if (type === "X") {
      if (this.#place === "envelope") this.#onWarning("out-of-order extracted segment marker");
      if (this.#isPrinting && this.#isInLine) yield newLine;
      if (showsEnvelope) yield this.#marker("HEADER EXTRACTED", type, offset);
      this.#place = "envelope";
      this.#isPrinting = showsEnvelope;
      return;
    } else if (type === "E") {
      if (showsEnvelope) yield this.#marker("MESSAGE FILE END", type, offset);
      return;
    }
    if (this.#isPrinting) yield* this.#printRecord(record, offset);
  }

  *#printRecord({ type, text }: FileRecord, offset: number): Generator<Buffer, void, void> {
    const before = this.#before(type, offset);
    const { isVerbose, showsOffsets } = this.#options;
    this.#isInLine = false;
    if (type === "N") {
      yield Buffer.concat([
        Buffer.from(`${before}${isVerbose ? "regular_text: " : ""}`),
        text,
        newLine,
      ]);
      return;
    }
    if (type === "L" && this.#place !== "envelope") {
      const isEnded = isVerbose || showsOffsets;
      this.#isInLine = !isEnded;
      const name = Buffer.from(`${before}${isVerbose ? "unterminated_text: " : ""}`);
      yield Buffer.concat([name, text, ...(isEnded ? [newLine] : [])]);
      return;
    }
    yield Buffer.from(`${before}${shownRecord(type, text.toString())}\n`);
  }

  #marker(words: string, type: RecordType, offset: number): Buffer {
    return Buffer.from(`${this.#before(type, offset)}*** ${words} ${this.#file.path} ***\n`);
  }

  #before(type: RecordType, offset: number): string {
    const { showsOffsets, showsTypes } = this.#options;
    const place = showsOffsets ? `${String(offset).padStart(9)} ` : "";
    return showsTypes ? `${place}${String(type.charCodeAt(0)).padStart(3)} ` : place;
  }
}

function shownRecord(type: RecordType, text: string): string {
  const name = recordNames[type];
  switch (type) {
    case "T":
    case "W":
      return `${name}: ${asctime(Number.parseInt(text, 10) * 1000)}`;
    case "A": {
      const created = /^create_time=(\d+)$/.exec(text)?.[1];
      return created === undefined
        ? `${name}: ${text}`
        : `create_time: ${asctime(Number(created) * 1000)}`;
    }
    default:
      return `${name}: ${text}`;
  }
}

/** A header's first line, or one that goes on. Source: Postfix src/global/is_header.c. */
function isHeaderLine(line: Buffer): boolean {
  return /^(?:[ \t]|[^\0-\x20\x7f-\xff:]+[ \t]*:)/.test(line.toString("latin1"));
}
