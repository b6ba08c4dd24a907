/**
 * Restoring messages from an export: in batches, in the order of the file, each under its own id.
 *
 * How far it came stands in Redis beside the messages, moved by the same script: an import that was broken off goes on
 * where it stopped, and a message that was restored and delivered meanwhile is not restored again. The place is that of
 * this very file, known by its first line, and by a hash of all lines up to there.
 *
 * A damaged entry goes to corrupt with the reason, its text as content, and the import goes on. Its id is made of that
 * text: another import of the file finds it there, and a whole entry of the id that it names is restored all the same. A
 * file that does not begin as an export does is refused, since each of its lines would be a damaged entry.
 *
 * Source: docs/BACKUP.md; P9; spec sendmail-queue.md §7.
 */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";

import type { ContentWriter, Copying, MessageCopy, RestorableMessage } from "@postmq/queue-store";
import { panic, parseQueueId, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { isTooMuch, sumOf, weightOf } from "./copy-batches.ts";
import type { Weight } from "./copy-batches.ts";
import { beginsAsMessage, parseEntry, readableId } from "./import-entry.ts";
import type { ImportEntry } from "./import-entry.ts";
import { ExportLines, LineDamage } from "./import-lines.ts";
import type { EndedLine } from "./import-lines.ts";

export type ImportOptions = {
  /** Everything goes to hold, but what is in corrupt. */
  readonly toHold: boolean;
  /** Read and check, restore nothing. */
  readonly isDryRun: boolean;
  /** Forget how far an import of this file came, and begin again. */
  readonly fromStart: boolean;
  readonly nowMs: () => number;
  /** Told of each damaged line. */
  readonly onDamage: (line: number, why: string) => void;
};

export type ImportCounts = {
  readonly restored: number;
  /** Their ids are here: nothing was changed. */
  readonly already: number;
  readonly damaged: number;
  /** They went away while they were exported, so nothing is to be restored. */
  readonly incomplete: number;
  /** Lines that an earlier run of this import has done. */
  readonly skippedLines: number;
  /** The file ends as an export ends. */
  readonly isWhole: boolean;
};

const none: ImportCounts = {
  restored: 0,
  already: 0,
  damaged: 0,
  incomplete: 0,
  skippedLines: 0,
  isWhole: false,
};

/**
 * Imports a file.
 *
 * @yields the counts so far, after each batch
 * @throws PMQ_MESSAGE_REFUSED when it begins as no export does; PMQ_STORE_FULL at 0.95 of maxmemory; PMQ_IMPORT_PLACE when
 *   an earlier import of it can't be gone on with, or another is under way. Start it again: it goes on.
 */
export async function* importMessages(
  copying: Copying,
  input: AsyncIterable<Buffer>,
  options: ImportOptions,
): AsyncGenerator<ImportCounts, void, void> {
  const reading = new Import(copying, input, options);
  try {
    while (await reading.line()) {
      if (reading.isFull()) yield await reading.flush();
    }
    yield await reading.end();
  } finally {
    await reading.abandon();
  }
}

/** A message of the file, or what stands for a damaged line of it. */
type Entry = RestorableMessage & { readonly isDamaged: boolean };

class Import {
  readonly #copying: Copying;
  readonly #options: ImportOptions;
  readonly #lines: ExportLines;
  readonly #hash: Hash = createHash("sha256");
  #batch: Entry[] = [];
  #weight: Weight = { messages: 0, recipients: 0, bytes: 0 };
  #counts = none;
  #lineNumber = 0;
  #isExport = false;
  #place: FilePlace | undefined;
  /** The message that is being read. */
  #entry: ImportEntry | undefined;
  #writer: ContentWriter | undefined;
  #headBytes = 0;
  #readBytes = 0;

  constructor(copying: Copying, input: AsyncIterable<Buffer>, options: ImportOptions) {
    this.#copying = copying;
    this.#options = options;
    this.#lines = new ExportLines(input, (bytes) => this.#hash.update(bytes));
  }

  /** Reads one. @returns false at the end of the input */
  async line(): Promise<boolean> {
    this.#entry = undefined;
    this.#writer = undefined;
    this.#headBytes = 0;
    this.#readBytes = 0;
    const ended = await this.#lines.next({
      head: (text, hasContent) => this.#head(text, hasContent),
      part: (content) => this.#part(content),
    });
    if (ended === undefined) return false;
    this.#lineNumber += 1;
    if (!ended.isEmpty && !this.#isExport) this.#begin(ended);
    this.#place ??= await this.#open(ended);
    if (this.#place.isBefore(this.#lineNumber)) {
      await this.#abort();
      if (this.#place.isAt(this.#lineNumber)) this.#place.check(this.#here());
      this.#counts = { ...this.#counts, skippedLines: this.#lineNumber };
      this.#noteEnd();
      return true;
    }
    if (!ended.isEmpty) await this.#take(ended);
    return true;
  }

  /** @throws PMQ_MESSAGE_REFUSED for another file */
  #begin(first: EndedLine): void {
    this.#isExport = this.#entry !== undefined || beginsAsMessage(beginningOf(first));
    if (!this.#isExport) throw noExport(this.#lineNumber, first.damage ?? "is damaged");
  }

  async #open(first: EndedLine): Promise<FilePlace> {
    const name = `import-${createHash("sha256").update(first.beginning).digest("hex").slice(0, 32)}`;
    if (this.#options.isDryRun) return new FilePlace(name, "");
    if (this.#options.fromStart) await this.#copying.forgetPlace(name);
    return new FilePlace(name, await this.#copying.readPlace(name));
  }

  #head(text: string, hasContent: boolean): void {
    const entry = parseEntry(text);
    this.#entry = entry;
    this.#headBytes = Buffer.byteLength(text);
    if (entry.kind === "message") {
      if (!hasContent) throw new LineDamage("has no content");
      if (!this.#isSkipped()) this.#writer = this.#copying.openContent(entry.copy.id);
    } else if (hasContent) throw new LineDamage("has content, and is no message");
  }

  /** A line that an earlier run has done, or of which nothing is stored, needs no content. */
  #isSkipped(): boolean {
    const isDone = this.#place?.isBefore(this.#lineNumber + 1) ?? false;
    return isDone || this.#options.isDryRun;
  }

  async #part(content: Buffer): Promise<void> {
    this.#readBytes += content.length;
    await this.#writer?.write(content);
  }

  #noteEnd(): void {
    if (this.#entry?.kind === "end") this.#counts = { ...this.#counts, isWhole: true };
  }

  async #take(ended: EndedLine): Promise<void> {
    const entry = this.#entry;
    const damage = ended.damage ?? this.#damageOf(entry, ended);
    if (damage !== undefined) {
      await this.#abort();
      this.#takeDamaged(ended, damage);
    } else if (ended.isIncomplete) {
      await this.#abort();
      this.#counts = { ...this.#counts, incomplete: this.#counts.incomplete + 1 };
    } else if (entry?.kind === "message") {
      const content = await this.#content(entry.copy);
      this.#add({ copy: this.#wanted(entry.copy), content, isDamaged: false }, this.#headBytes);
    }
    this.#noteEnd();
  }

  #damageOf(entry: ImportEntry | undefined, ended: EndedLine): string | undefined {
    if (ended.isCut) return "ends before its line does";
    if (entry?.kind !== "message" || ended.isIncomplete) return undefined;
    return this.#readBytes === entry.sizeBytes ? undefined : "has content of another size";
  }

  async #content(copy: MessageCopy): Promise<RestorableMessage["content"]> {
    const content = await this.#writer?.finish();
    this.#writer = undefined;
    return content ?? { contentId: copy.id, sizeBytes: this.#readBytes, chunks: 0 };
  }

  #wanted(copy: MessageCopy): MessageCopy {
    return this.#options.toHold && copy.queue !== "corrupt" ? { ...copy, queue: "hold" } : copy;
  }

  #takeDamaged(ended: EndedLine, damage: string): void {
    const { beginning } = ended;
    this.#options.onDamage(this.#lineNumber, damage);
    this.#counts = { ...this.#counts, damaged: this.#counts.damaged + 1 };
    const nowMs = Math.floor(this.#options.nowMs());
    const named = readableId(beginningOf(ended));
    const told = `line ${this.#lineNumber} of an import ${damage}`;
    const why = named === undefined ? told : `${told}; it names the id ${named}`;
    const content = { contentId: "", sizeBytes: beginning.length, chunks: 1, inline: beginning };
    this.#add({ copy: damagedCopy(damageId(beginning), nowMs, why), content, isDamaged: true }, 0);
  }

  #add(entry: Entry, headBytes: number): void {
    const { copy, content } = entry;
    const isInline = content.chunks <= 1;
    const contentId = isInline ? copy.id : content.contentId;
    this.#batch.push({ ...entry, content: { ...content, contentId } });
    const bytes = headBytes + (isInline ? content.sizeBytes : 0);
    this.#weight = sumOf(this.#weight, weightOf(copy.recipients.length, bytes));
  }

  isFull(): boolean {
    return isTooMuch({ ...this.#weight, messages: this.#weight.messages + 1 });
  }

  #here(): string {
    return `${this.#lineNumber} ${this.#hash.copy().digest("hex")}`;
  }

  async flush(): Promise<ImportCounts> {
    const batch = this.#batch;
    this.#batch = [];
    this.#weight = { messages: 0, recipients: 0, bytes: 0 };
    const place = this.#place;
    if (batch.length === 0 || place === undefined) return this.#counts;
    if (this.#options.isDryRun) return this.#count(batch, await this.#wouldBe(batch));
    const to = this.#here();
    const answers = await this.#copying.restore(batch, { name: place.name, from: place.at, to });
    if (answers === "overtaken") throw overtaken();
    place.at = to;
    return this.#count(batch, answers);
  }

  async #wouldBe(batch: readonly RestorableMessage[]): Promise<readonly ("stored" | "already")[]> {
    const reads = await this.#copying.readCopies(batch.map(({ copy }) => copy.id));
    return reads.map((read) => (read === "absent" ? "stored" : "already"));
  }

  #count(batch: readonly Entry[], answers: readonly string[]): ImportCounts {
    for (const [i, { isDamaged }] of batch.entries()) {
      if (isDamaged) continue;
      const what = answers[i] === "stored" ? "restored" : "already";
      this.#counts = { ...this.#counts, [what]: this.#counts[what] + 1 };
    }
    return this.#counts;
  }

  async end(): Promise<ImportCounts> {
    await this.flush();
    if (this.#place !== undefined && !this.#options.isDryRun) {
      if (this.#place.isBefore(this.#lineNumber + 1)) throw notThisFile();
      await this.#copying.forgetPlace(this.#place.name);
    }
    return this.#counts;
  }

  /** What was stored ahead of a message that is not to come. */
  async abandon(): Promise<void> {
    await this.#abort();
  }

  async #abort(): Promise<void> {
    await this.#writer?.abort();
    this.#writer = undefined;
  }
}

/** How far a file was read: "lines hash". */
class FilePlace {
  readonly name: string;
  readonly #lines: number;
  at: string;

  constructor(name: string, at: string) {
    this.name = name;
    this.at = at;
    this.#lines = Number(at.split(" ")[0] ?? 0);
  }

  /** Whether that line, counted from 1, was done before. */
  isBefore(line: number): boolean {
    return line <= this.#lines;
  }

  isAt(line: number): boolean {
    return line === this.#lines;
  }

  check(here: string): void {
    if (here !== this.at) throw notThisFile();
  }
}

function damagedCopy(id: QueueId, nowMs: number, corruptReason: string): MessageCopy {
  return {
    id,
    queue: "corrupt",
    arrivalMs: nowMs,
    createdMs: nowMs,
    envelope: { sender: "", origin: "sendmail" },
    recipients: [],
    attempts: 0,
    isForceExpired: false,
    wasWarned: false,
    isFinished: false,
    corruptReason,
  };
}

/** Of one text always the same. */
function damageId(text: Buffer): QueueId {
  const digest = createHash("sha256").update(text).digest("hex").slice(0, 32);
  return parseQueueId(`damaged_${digest}`) ?? panic("an id of a damaged entry is none");
}

/** As far as an id and what follows it can be read. */
function beginningOf(ended: EndedLine): string {
  return ended.beginning.toString("latin1", 0, 300);
}

function overtaken(): PostmqError {
  return new PostmqError("PMQ_IMPORT_PLACE", "another import of this file is under way");
}

function noExport(line: number, damage: string): PostmqError {
  return new PostmqError(
    "PMQ_MESSAGE_REFUSED",
    `line ${line} ${damage}, and the file does not begin as an export does: nothing is restored`,
  );
}

function notThisFile(): PostmqError {
  return new PostmqError(
    "PMQ_IMPORT_PLACE",
    "an import that began with the same line was broken off, and what follows it is another file: --from-start begins anew",
  );
}
