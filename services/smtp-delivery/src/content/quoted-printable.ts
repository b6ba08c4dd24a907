/**
 * Makes lines of text quoted-printable, while they stream.
 *
 * Lines get a soft break once they are longer than 72 characters, so none is longer than 76. A blank at the end of a
 * line is encoded, and what is not printable ASCII. `=` is encoded too, unless the text is quoted-printable already and
 * only has stray 8-bit bytes: then its escapes and soft breaks stay.
 *
 * Source: RFC 2045 §6.7; Postfix src/global/mime_state.c mime_state_downgrade.
 */

const longestBeforeBreak = 72;
const equals = 0x3d;
const space = 0x20;
const tab = 0x09;
const hexDigits = Buffer.from("0123456789ABCDEF");

/** Where encoded lines go, without their CRLF. false: more of the line follows. */
export type LineOutput = (line: Buffer, endsLine: boolean) => void;

export class QuotedPrintable {
  readonly #keepsEscapes: boolean;
  /** Room for one line. */
  readonly #line = Buffer.alloc(longestBeforeBreak + 8);
  #length = 0;

  /** @param options.keepsEscapes the text is quoted-printable but for stray 8-bit bytes */
  constructor(options: { readonly keepsEscapes: boolean } = { keepsEscapes: false }) {
    this.#keepsEscapes = options.keepsEscapes;
  }

  /** A line without its CRLF, or a piece of one. */
  write(piece: Buffer, endsLine: boolean, output: LineOutput): void {
    for (const byte of piece) {
      if (this.#length > longestBeforeBreak && this.#mayBreakBefore(byte)) {
        this.#line[this.#length++] = equals;
        this.#flush(output);
      }
      if (this.#isPlain(byte)) this.#line[this.#length++] = byte;
      else this.#escape(byte);
    }
    if (!endsLine) return;
    this.#escapeLastBlank();
    this.#flush(output);
  }

  #isPlain(byte: number): boolean {
    if (byte === equals) return this.#keepsEscapes;
    return byte === tab || (byte >= space && byte < 0x7f);
  }

  /** Not within an escape that was there before; such a one is over within two more characters. */
  #mayBreakBefore(byte: number): boolean {
    if (!this.#keepsEscapes || !this.#isPlain(byte)) return true;
    if (this.#length > longestBeforeBreak + 2) return true;
    return this.#line[this.#length - 1] !== equals && this.#line[this.#length - 2] !== equals;
  }

  #escape(byte: number): void {
    this.#line[this.#length++] = equals;
    this.#line[this.#length++] = hexDigits[byte >> 4] ?? 0;
    this.#line[this.#length++] = hexDigits[byte & 0xf] ?? 0;
  }

  #escapeLastBlank(): void {
    const last = this.#line[this.#length - 1];
    if (this.#keepsEscapes || this.#length === 0 || (last !== space && last !== tab)) return;
    this.#length -= 1;
    this.#escape(last);
  }

  #flush(output: LineOutput): void {
    output(Buffer.from(this.#line.subarray(0, this.#length)), true);
    this.#length = 0;
  }
}
