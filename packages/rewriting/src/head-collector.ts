/**
 * Holds back the front of a message while it arrives until its headers are whole, so that cleanUp can run while the
 * body streams past.
 *
 * Memory is bounded: headers that go on past the limit make the message unfit, whatever its size may be.
 *
 * Source: security.md 5 (streaming; header block bounded).
 */
import { scanHeaders } from "@postmq/mail-format";
import type { Refusal } from "./cleaning.ts";
import { startsWithEmptyLine } from "./empty-line.ts";
import { headTooLarge, isHeadTooLarge } from "./head-size.ts";

export class HeadCollector {
  #front: Buffer = Buffer.alloc(0);
  #length = 0;

  /**
   * The next bytes of the message, with CRLF line ends.
   *
   * @returns everything so far once the headers are whole (pass it to cleanUp, then stream on); undefined: more is
   * needed; or a refusal: there is no end of headers in reach.
   */
  write(chunk: Buffer): Buffer | Refusal | undefined {
    const searchFrom = Math.max(0, this.#length - 3);
    this.#append(chunk);
    const front = this.end();
    if (front.indexOf("\r\n\r\n", searchFrom) >= 0 || startsWithEmptyLine(front)) return front;
    if (!isHeadTooLarge(this.#length)) return undefined;
    return isBodyInReach(front) ? front : headTooLarge;
  }

  /** No more will come. @returns everything so far: the whole message. */
  end(): Buffer {
    return this.#front.subarray(0, this.#length);
  }

  /** The room doubles, so that a message that drips in byte by byte is not copied for each byte. */
  #append(chunk: Buffer): void {
    if (this.#length === 0) {
      this.#front = chunk;
    } else {
      if (this.#length + chunk.length > this.#front.length) {
        const larger = Buffer.allocUnsafe(
          Math.max(2 * this.#front.length, this.#length + chunk.length),
        );
        this.#front.copy(larger, 0, 0, this.#length);
        this.#front = larger;
      }
      chunk.copy(this.#front, this.#length);
    }
    this.#length += chunk.length;
  }
}

/** Whether a whole line that is no header stands in reach: body text without an empty line before it. */
function isBodyInReach(front: Buffer): boolean {
  const { headersEnd } = scanHeaders(front);
  return !isHeadTooLarge(headersEnd) && front.indexOf("\r\n", headersEnd) >= 0;
}
