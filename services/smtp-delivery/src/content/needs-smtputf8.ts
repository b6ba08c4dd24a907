/**
 * Whether there is UTF-8 in the headers of a message, which is one reason for SMTPUTF8.
 *
 * All headers count, those of parts and attached messages too, wherever they stand: so Postfix's cleanup finds it, which
 * sees them all. They count as generic maps leave them. What such maps put in is asked for by itself too: 8-bit bytes in
 * headers of mail that came without SMTPUTF8 were there before, and are let pass; what we add is not.
 *
 * Source: spec D18; RFC 6531 §3.6; Postfix src/cleanup/cleanup_out.c (SMTPUTF8_FLAG_HEADER).
 */
import { LineEndNormaliser, MimeWalker } from "@postmq/mail-format";
import type { MimeEntity, MimeLimits, MimeSink } from "@postmq/mail-format";

import { hasUtf8 } from "../session/mail-commands.ts";
import { hasEightBit } from "./eight-bit-plan.ts";
import { GenericStep } from "./generic-headers.ts";
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

/** The headers of the message itself, which alone are rewritten, and what a map makes of their addresses. */
class MappedHeaders implements MimeSink {
  isFound = false;
  isOver = false;
  readonly #step: GenericStep;

  constructor(generic: Generic) {
    this.#step = new GenericStep((address) => {
      const mapped = generic(address);
      this.isFound ||= mapped !== address && hasUtf8(mapped);
      return mapped;
    }, new Utf8Headers());
  }

  header(raw: Buffer, name: string, entity: MimeEntity): void {
    this.#step.header(raw, name, entity);
  }

  headEnd(): void {
    this.isOver = true;
  }

  asIs(): void {}
  text(): void {}
  boundary(): void {}
}

type Content = AsyncIterable<Buffer> | Iterable<Buffer>;
type Generic = (address: string) => string;

/** Reads on only until an answer is there. @param generic what is done to addresses in headers */
export async function hasUtf8Headers(
  content: Content,
  limits: MimeLimits,
  generic: Generic | undefined,
): Promise<boolean> {
  const found = new Utf8Headers();
  const sink = generic === undefined ? found : new GenericStep(generic, found);
  await walk(content, new MimeWalker(sink, limits), () => found.isFound);
  return found.isFound;
}

/** Whether a generic map puts UTF-8 into a header. Reads the headers of the message only. */
export async function mapsHeadersToUtf8(
  content: Content,
  limits: MimeLimits,
  generic: Generic,
): Promise<boolean> {
  const mapped = new MappedHeaders(generic);
  await walk(content, new MimeWalker(mapped, limits), () => mapped.isFound || mapped.isOver);
  return mapped.isFound;
}

async function walk(content: Content, walker: MimeWalker, isEnough: () => boolean): Promise<void> {
  const lineEnds = new LineEndNormaliser();
  for await (const piece of inPieces(content)) {
    walker.write(lineEnds.write(piece));
    if (isEnough()) return;
  }
  walker.write(lineEnds.end());
  walker.end();
}
