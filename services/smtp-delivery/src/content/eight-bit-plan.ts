/**
 * Finds out what has to change in each entity of a message before it may go to a server that takes 7 bits only.
 *
 * The whole message is looked at before anything is sent: whether a part needs a change is known at its end, and the
 * header that tells of the change stands before it. Memory: one small number for each entity.
 *
 * Departs: Postfix makes each part quoted-printable that is labelled 8bit or binary, and no other. Here 8-bit bytes
 * decide: a part that has none keeps its bytes and gets the label 7bit, one that has some without any label is
 * converted too, so that no 8-bit body ever leaves unlabelled. What has such bytes though it is labelled quoted-printable
 * has them escaped; in base64 and between the parts of a multipart, where readers skip them, each becomes a question mark.
 * message/partial and the like are labelled quoted-printable when they are encoded (Postfix: 7bit).
 *
 * Source: spec D17; Postfix src/global/mime_state.c (MIME_OPT_DOWNGRADE); RFC 2045 §6; RFC 6152 §3.
 */
import type { MimeEntity, MimeSink, TextPlace } from "@postmq/mail-format";

/**
 * keep: as it is. relabel: 7bit. encode: becomes quoted-printable. escape: it is, but for some bytes. mask: 8-bit bytes
 * become question marks.
 */
export type EntityChange = "keep" | "relabel" | "encode" | "escape" | "mask";

/** Facts about an entity, as bits. */
const facts = {
  isComposite: 1,
  isEightBitLabel: 2,
  isQuotedPrintable: 4,
  isBase64: 8,
  /** It was divided by its boundary. */
  hasParts: 16,
  hasEightBit: 32,
  hasLongLine: 64,
} as const;

/** Without CRLF; a longer one can't be sent as 7bit. Source: RFC 5321 §4.5.3.1.6. */
const longestLine = 998;

export class EightBitPlan implements MimeSink {
  readonly #facts: number[] = [];
  #lineBytes = 0;

  header(): void {}

  headEnd(_separator: Buffer, { number, type, encoding }: MimeEntity): void {
    this.#note(
      number,
      (type.kind === "multipart" || type.kind === "message" ? facts.isComposite : 0) |
        (encoding === "8bit" || encoding === "binary" ? facts.isEightBitLabel : 0) |
        (encoding === "quoted-printable" ? facts.isQuotedPrintable : 0) |
        (encoding === "base64" ? facts.isBase64 : 0),
    );
  }

  text(piece: Buffer, { endsLine }: TextPlace, { number }: MimeEntity): void {
    this.#lineBytes += piece.length;
    const isLong = this.#lineBytes > longestLine;
    if (endsLine) this.#lineBytes = 0;
    const found = (isLong ? facts.hasLongLine : 0) | (hasEightBit(piece) ? facts.hasEightBit : 0);
    if (found !== 0) this.#note(number, found);
  }

  boundary(_line: Buffer, { number }: MimeEntity): void {
    this.#note(number, facts.hasParts);
  }

  asIs(): void {}

  #note(number: number, found: number): void {
    this.#facts[number] = (this.#facts[number] ?? 0) | found;
  }

  /** No body has 8-bit bytes: the message may go as it is, labels and all. */
  get isEmpty(): boolean {
    return this.#facts.every((found) => (found & facts.hasEightBit) === 0);
  }

  /** What to do with an entity. */
  changeOf({ number }: MimeEntity): EntityChange {
    return changeFor(this.#facts[number] ?? 0);
  }
}

function changeFor(found: number): EntityChange {
  const has = (fact: number) => (found & fact) !== 0;
  const hasOwnText = has(facts.hasEightBit);
  if (has(facts.isComposite) && has(facts.hasParts)) {
    if (has(facts.isEightBitLabel)) return "relabel";
    return hasOwnText ? "mask" : "keep";
  }
  if (has(facts.isQuotedPrintable)) return hasOwnText ? "escape" : "keep";
  if (has(facts.isBase64)) return hasOwnText ? "mask" : "keep";
  if (hasOwnText) return "encode";
  if (!has(facts.isEightBitLabel)) return "keep";
  return has(facts.hasLongLine) ? "encode" : "relabel";
}

/** Latin-1 strings are searched faster than bytes are walked. */
export function hasEightBit(bytes: Buffer): boolean {
  return bytes.length > 0 && /[\x80-\xFF]/.test(bytes.toString("latin1"));
}
