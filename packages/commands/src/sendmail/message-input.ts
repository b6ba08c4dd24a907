/**
 * The message on sendmail's standard input, as content: CRLF line ends, no UNIX mailbox lines in front.
 *
 * Source: spec admin-tools.md §4 (a lone dot; line ends are always mended); Postfix src/sendmail/sendmail.c (leading
 * `From ` and `>From ` lines are dropped).
 */
import { LineEndNormaliser } from "@postmq/mail-format";

const lineFeed = 0x0a;
const longestMailboxLine = 4096;
const longestMailboxMark = 64;

export type InputOptions = {
  /** A line that is a lone dot ends the message. */
  readonly dotEndsInput: boolean;
  /** message_size_limit; 0: none. */
  readonly maxBytes: number;
};

/** The content in pieces, or `tooBig` as soon as it is more than the limit. */
export async function readMessage(
  input: AsyncIterable<Buffer>,
  options: InputOptions,
): Promise<readonly Buffer[] | "tooBig"> {
  const normaliser = new LineEndNormaliser();
  const parts: Buffer[] = [];
  let bytes = 0;
  const take = (part: Buffer): boolean => {
    if (part.length > 0) parts.push(part);
    bytes += part.length;
    return options.maxBytes === 0 || bytes <= options.maxBytes;
  };
  const lines = options.dotEndsInput ? untilLoneDot(input) : input;
  for await (const chunk of withoutMailboxLines(lines)) {
    if (!take(normaliser.write(chunk))) return "tooBig";
  }
  return take(normaliser.end()) ? parts : "tooBig";
}

/** Drops `From ` and `>From ` lines at the very beginning. */
async function* withoutMailboxLines(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer = Buffer.alloc(0);
  let isBeginning = true;
  for await (const chunk of input) {
    if (!isBeginning) {
      yield chunk;
      continue;
    }
    held = dropMailboxLines(Buffer.concat([held, chunk]));
    if (!isWholeLine(held)) continue;
    isBeginning = false;
    yield held;
  }
  if (isBeginning && !isMailboxLine(held)) yield held;
}

function dropMailboxLines(bytes: Buffer): Buffer {
  const end = bytes.indexOf(lineFeed);
  return end >= 0 && isMailboxLine(bytes) ? dropMailboxLines(bytes.subarray(end + 1)) : bytes;
}

function isMailboxLine(bytes: Buffer): boolean {
  return /^>*From /.test(bytes.toString("latin1", 0, longestMailboxMark));
}

/** There is a line to judge, or so much of one that it is judged already. */
function isWholeLine(bytes: Buffer): boolean {
  return bytes.includes(lineFeed) || bytes.length > longestMailboxLine;
}

/** Ends at a line that holds a dot and nothing else; so does an unfinished last line. */
async function* untilLoneDot(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  // A line feed of ours in front makes the first line like any other; it is never handed on.
  let held: Buffer = Buffer.from("\n");
  let skip = 1;
  for await (const chunk of input) {
    held = Buffer.concat([held, chunk]);
    const dot = loneDot(held);
    const settled = dot < 0 ? held.length - undecidedLength(held) : dot + 1;
    if (settled > skip) yield held.subarray(skip, settled);
    if (dot >= 0) return;
    held = held.subarray(settled);
    if (settled > 0) skip = 0;
  }
  const rest = held.equals(Buffer.from("\n.")) ? held.subarray(0, 1) : held;
  if (rest.length > skip) yield rest.subarray(skip);
}

/** Where the line feed before a lone dot's line is, or -1. */
function loneDot(bytes: Buffer): number {
  const places = [bytes.indexOf("\n.\n"), bytes.indexOf("\n.\r\n")].filter((at) => at >= 0);
  return places.length === 0 ? -1 : Math.min(...places);
}

/** How many bytes at the end may be the beginning of a lone dot's line. */
function undecidedLength(bytes: Buffer): number {
  const possible = ["\n.\r", "\n.", "\n"].find((start) =>
    bytes.subarray(-start.length).equals(Buffer.from(start)),
  );
  return possible?.length ?? 0;
}
