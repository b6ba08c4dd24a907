/**
 * One pass over a message that changes what has to be changed, in the order in which Postfix does it: first what the server
 * can't take (quoted-printable), then checks, then generic maps.
 *
 * Source: spec D17, D21; Postfix src/smtp/smtp_proto.c (smtp_header_rewrite, smtp_body_rewrite).
 */
import { LineEndNormaliser, MimeWalker } from "@postmq/mail-format";
import type { MimeEntity, MimeLimits, MimeSink, TextPlace } from "@postmq/mail-format";
import type { CheckNotice } from "@postmq/rewriting";

import { Downgrade } from "./downgrade.ts";
import type { EightBitPlan } from "./eight-bit-plan.ts";
import { GenericStep } from "./generic-headers.ts";
import { CheckStep } from "./send-checks.ts";
import type { SendChecks } from "./send-checks.ts";

export type ContentChanges = {
  /** Absent: 8-bit bytes stay. */
  readonly plan?: EightBitPlan;
  readonly checks?: SendChecks;
  readonly generic?: (address: string) => string;
};

export class ContentRewriter {
  readonly #lineEnds = new LineEndNormaliser();
  readonly #collected = new Collector();
  readonly #walker: MimeWalker;

  constructor(changes: ContentChanges, limits: MimeLimits, notice: CheckNotice) {
    const { plan, checks, generic } = changes;
    let sink: MimeSink = this.#collected;
    if (generic !== undefined) sink = new GenericStep(generic, sink);
    if (checks !== undefined) sink = new CheckStep(checks, notice, sink);
    if (plan !== undefined) sink = new Downgrade(plan, sink);
    this.#walker = new MimeWalker(sink, limits);
  }

  /** The next bytes of the message. @returns what can be sent. */
  write(chunk: Buffer): Buffer {
    this.#walker.write(this.#lineEnds.write(chunk));
    return this.#collected.take();
  }

  /** No more will come. @returns the rest. */
  end(): Buffer {
    this.#walker.write(this.#lineEnds.end());
    this.#walker.end();
    return this.#collected.take();
  }
}

const lineEnd = Buffer.from("\r\n");

/** The last step: puts everything together again. */
class Collector implements MimeSink {
  #pieces: Buffer[] = [];

  header(raw: Buffer, _name: string, _entity: MimeEntity): void {
    this.#pieces.push(raw);
  }

  headEnd(separator: Buffer): void {
    this.#pieces.push(separator);
  }

  text(piece: Buffer, { endsLine }: TextPlace): void {
    this.#pieces.push(piece);
    if (endsLine) this.#pieces.push(lineEnd);
  }

  boundary(line: Buffer): void {
    this.#pieces.push(line);
  }

  asIs(bytes: Buffer): void {
    this.#pieces.push(bytes);
  }

  take(): Buffer {
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = [];
    return whole;
  }
}
