/**
 * Makes a message fit for a server that takes 7 bits only, by a plan that was made before.
 *
 * Sits between a MimeWalker and what comes after it. Where a label changes, the old Content-Transfer-Encoding is replaced
 * in its place, or the new one added at the end of the headers. 8-bit bytes in headers stay, as in Postfix: nothing could
 * be put in their place that says the same.
 *
 * Source: spec D17; Postfix src/global/mime_state.c (MIME_OPT_DOWNGRADE).
 */
import type { MimeEntity, MimeSink, TextPlace } from "@postmq/mail-format";

import { hasEightBit } from "./eight-bit-plan.ts";
import type { EightBitPlan, EntityChange } from "./eight-bit-plan.ts";
import { PassThrough } from "./pass-through.ts";
import { QuotedPrintable } from "./quoted-printable.ts";

const labelName = "content-transfer-encoding";
const labels: Readonly<Partial<Record<EntityChange, Buffer>>> = {
  relabel: Buffer.from("Content-Transfer-Encoding: 7bit\r\n"),
  encode: Buffer.from("Content-Transfer-Encoding: quoted-printable\r\n"),
};
const emptyLine = Buffer.from("\r\n");
const questionMark = 0x3f;

export class Downgrade extends PassThrough {
  readonly #plan: EightBitPlan;
  #isLabelled = false;
  /** For the text that comes now. */
  #encoder = new QuotedPrintable();

  constructor(plan: EightBitPlan, next: MimeSink) {
    super(next);
    this.#plan = plan;
  }

  override header(raw: Buffer, name: string, entity: MimeEntity): void {
    const label = name === labelName ? this.#label(entity) : undefined;
    if (label === undefined) this.next.header(raw, name, entity);
    else if (!this.#isLabelled) {
      this.#isLabelled = true;
      this.next.header(label, labelName, entity);
    }
  }

  override headEnd(separator: Buffer, entity: MimeEntity): void {
    const label = this.#label(entity);
    const isMissing = label !== undefined && !this.#isLabelled;
    if (isMissing) this.next.header(label, labelName, entity);
    this.#isLabelled = false;
    const change = this.#plan.changeOf(entity);
    this.#encoder = new QuotedPrintable({ keepsEscapes: change === "escape" });
    // A label that is the only header would be text to a reader, were no empty line to follow.
    this.next.headEnd(isMissing && separator.length === 0 ? emptyLine : separator, entity);
  }

  override text(piece: Buffer, where: TextPlace, entity: MimeEntity): void {
    const change = this.#plan.changeOf(entity);
    if (change === "encode" || change === "escape") {
      this.#encoder.write(piece, where.endsLine, (line, endsLine) =>
        this.next.text(line, { isGap: where.isGap, endsLine }, entity),
      );
    } else if (change === "keep" || !hasEightBit(piece)) this.next.text(piece, where, entity);
    else this.next.text(masked(piece), where, entity);
  }

  #label(entity: MimeEntity): Buffer | undefined {
    return labels[this.#plan.changeOf(entity)];
  }
}

function masked(piece: Buffer): Buffer {
  return Buffer.from(piece.map((byte) => (byte > 0x7f ? questionMark : byte)));
}
