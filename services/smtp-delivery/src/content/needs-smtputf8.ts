/**
 * Whether there is UTF-8 in the headers of a message, which is one reason for SMTPUTF8.
 *
 * All headers count, those of parts and attached messages too, wherever they stand: so Postfix's cleanup finds it, which
 * sees them all.
 *
 * Source: spec D18; RFC 6531 §3.6; Postfix src/cleanup/cleanup_out.c (SMTPUTF8_FLAG_HEADER).
 */
import { LineEndNormaliser, MimeWalker } from "@postmq/mail-format";
import type { MimeLimits, MimeSink } from "@postmq/mail-format";

import { hasEightBit } from "./eight-bit-plan.ts";
import { inPieces } from "./in-pieces.ts";

class Utf8Headers implements MimeSink {
  isFound = false;

  header(raw: Buffer): void {
    this.isFound ||= hasEightBit(raw);
  }

  asIs(bytes: Buffer): void {
    this.isFound ||= hasEightBit(bytes);
  }

  headEnd(): void {}
  text(): void {}
  boundary(): void {}
}

/** Reads on only until an answer is there. */
export async function hasUtf8Headers(
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
  limits: MimeLimits,
): Promise<boolean> {
  const found = new Utf8Headers();
  const lineEnds = new LineEndNormaliser();
  const walker = new MimeWalker(found, limits);
  for await (const piece of inPieces(content)) {
    walker.write(lineEnds.write(piece));
    if (found.isFound) return true;
  }
  walker.write(lineEnds.end());
  walker.end();
  return found.isFound;
}
