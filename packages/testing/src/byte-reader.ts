/** Reads lines and dot-terminated content from a socket, in the order in which a protocol asks for them. */
import type { Socket } from "node:net";

const lineFeed = 0x0a;
const endOfContent = Buffer.from("\r\n.\r\n");

/** Thrown to a reader when the other side is gone. */
export class ConnectionEnded extends Error {
  override readonly name = "ConnectionEnded";
}

export class ByteReader {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #buffered = Buffer.alloc(0);
  #hasEnded = false;
  #wake: (() => void) | undefined;

  readonly #keep = (bytes: Buffer) => {
    this.#chunks.push(bytes);
    this.#wake?.();
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", this.#keep);
    // A reader before this one may have released it.
    socket.resume();
    const end = () => {
      this.#hasEnded = true;
      this.#wake?.();
    };
    socket.on("end", end);
    socket.on("close", end);
    // A reset shows as an end to whoever reads.
    socket.on("error", end);
  }

  /** Reads no more: what comes from now on waits in the socket for its next reader. */
  release(): void {
    this.#socket.off("data", this.#keep);
    this.#socket.pause();
  }

  /** Bytes that came but are not yet read. */
  get waiting(): number {
    return this.#buffered.length + this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** The next line without its CRLF or LF, as latin1 so that no byte is lost. @throws ConnectionEnded */
  async line(): Promise<string> {
    for (;;) {
      this.#join();
      const end = this.#buffered.indexOf(lineFeed);
      if (end >= 0)
        return this.#take(end + 1)
          .toString("latin1")
          .replace(/\r?\n$/, "");
      await this.#more();
    }
  }

  /** Content up to the lone dot, dots unstuffed, the CRLF before the dot included. @throws ConnectionEnded */
  async content(): Promise<Buffer> {
    // The line end that ends the DATA command counts as the one before a first dot.
    const parts: Buffer[] = [];
    let tail = Buffer.from("\r\n");
    for (;;) {
      this.#join();
      const bytes = Buffer.concat([tail, this.#buffered]);
      const end = bytes.indexOf(endOfContent);
      if (end >= 0) {
        this.#take(end + endOfContent.length - tail.length);
        parts.push(bytes.subarray(0, end + 2));
        return unstuff(Buffer.concat(parts).subarray(2));
      }
      const kept = Math.min(bytes.length, endOfContent.length - 1);
      parts.push(bytes.subarray(0, bytes.length - kept));
      tail = Buffer.from(bytes.subarray(bytes.length - kept));
      this.#take(this.#buffered.length);
      await this.#more();
    }
  }

  /** Waits until at least one byte is there. @throws ConnectionEnded */
  async some(): Promise<void> {
    while (this.waiting === 0) await this.#more();
  }

  #join(): void {
    if (this.#chunks.length === 0) return;
    this.#buffered = Buffer.concat([this.#buffered, ...this.#chunks]);
    this.#chunks = [];
  }

  #take(length: number): Buffer {
    const taken = this.#buffered.subarray(0, length);
    this.#buffered = this.#buffered.subarray(length);
    return taken;
  }

  async #more(): Promise<void> {
    if (this.#chunks.length > 0) return;
    if (this.#hasEnded || this.#socket.destroyed) throw new ConnectionEnded("connection ended");
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    if (this.#chunks.length === 0 && this.#hasEnded) throw new ConnectionEnded("connection ended");
  }
}

/** Removes one dot from the start of each line that begins with a dot. Lines end with CRLF. */
export function unstuff(content: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = 0; at < content.length;) {
    if (content[at] === 0x2e && (at === 0 || startsAfterLineEnd(content, at))) {
      parts.push(content.subarray(from, at));
      from = at + 1;
    }
    const dot = content.indexOf(0x2e, at + 1);
    if (dot < 0) break;
    at = dot;
  }
  parts.push(content.subarray(from));
  return Buffer.concat(parts);
}

/** The reverse of `unstuff`, with the final CRLF added when it is missing and the lone dot after it. */
export function stuff(content: Buffer): Buffer {
  const parts: Buffer[] = [];
  let from = 0;
  for (let dot = content.indexOf(0x2e); dot >= 0; dot = content.indexOf(0x2e, dot + 1)) {
    if (dot !== 0 && !startsAfterLineEnd(content, dot)) continue;
    parts.push(content.subarray(from, dot), Buffer.from("."));
    from = dot;
  }
  parts.push(content.subarray(from));
  const isComplete = content.length === 0 || content.subarray(-2).equals(Buffer.from("\r\n"));
  parts.push(Buffer.from(isComplete ? ".\r\n" : "\r\n.\r\n"));
  return Buffer.concat(parts);
}

function startsAfterLineEnd(content: Buffer, at: number): boolean {
  return content[at - 2] === 0x0d && content[at - 1] === lineFeed;
}
