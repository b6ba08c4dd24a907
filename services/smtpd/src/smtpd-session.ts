/**
 * One client's connection: bytes in, command lines and content to the dialogue, replies out.
 *
 * smtp-server owns the socket: listeners, the idle timer, the bounded wait of a closed connection. Its parser and its
 * command handlers are not used (it folds recipients, rewrites domains, reads a whole line before it bounds
 * it, and hands every message through a stream of its own). Input is taken strictly in order: nothing is read from the
 * client while the store, a delayed reply or a client that does not read makes it wait, so memory stays bounded.
 *
 * Replies to commands that came together leave in one write.
 *
 * Source: RFC 5321 §4.2, §4.5.3; RFC 2920 §3.2; spec V7, V8, V13, V16, V30; DESIGN P10; smtp-server 3.21.6.
 */
import type { Socket } from "node:net";
import { SMTPConnection } from "smtp-server/lib/smtp-connection.js";
import type { SMTPConnectionOptions } from "smtp-server/lib/smtp-connection.js";
import { SMTPStream } from "smtp-server/lib/smtp-stream.js";
import type { SMTPServer } from "smtp-server";

import { DataReader } from "./data-reader.ts";
import { Dialogue } from "./dialogue.ts";
import type { DialogueContext } from "./dialogue.ts";
import type { Reply } from "./reply.ts";

const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const nothing = Buffer.alloc(0);

/** The address that names this machine to itself has a name without asking anybody. Source: RFC 6761 §6.3. */
const loopbackNames: ReadonlyMap<string, string> = new Map([
  ["127.0.0.1", "localhost"],
  ["::1", "localhost"],
]);

/** Why no input is taken: the store or a delay of ours makes the client wait, or the client does not read. */
type Pause = "none" | "ours" | "client";

export class SmtpdSession extends SMTPConnection {
  readonly #dialogue: Dialogue;
  readonly #lineLengthLimit: number;
  readonly #stream: SMTPStream;
  #reader = new DataReader();
  /** Input that is being worked on, and how far. */
  #chunk: Buffer = nothing;
  #position = 0;
  /** Asks for the next chunk. */
  #next: (() => void) | undefined;
  /** The part of a command line that came in earlier chunks. */
  #line = "";
  #isLineEndingInCr = false;
  /** Replies that are not yet written. */
  #output = "";
  #pause: Pause = "none";
  #delay: NodeJS.Timeout | undefined;
  #isStopping = false;
  #hasDisconnected = false;

  constructor(
    server: SMTPServer,
    socket: Socket,
    options: SMTPConnectionOptions | null | undefined,
    context: DialogueContext,
  ) {
    super(server, socket, options);
    const address = this.remoteAddress;
    const name = loopbackNames.get(address) ?? "unknown";
    this.#dialogue = new Dialogue(context, { name, address, port: this.remotePort });
    this.#lineLengthLimit = context.settings.lineLengthLimit;
    this.#stream = this._parser || this._createParser();
  }

  /** Greets at once: smtp-server would wait 100 ms for clients that talk first. */
  override init(): void {
    this._setListeners(() => {
      this.#say(this.#dialogue.greeting());
      this.#flush();
    });
  }

  /** Ends the session as soon as no message is on its way. */
  stop(): void {
    this.#isStopping = true;
    if (this.#pause !== "ours") this.#run();
  }

  /** Ends the connection without a word. */
  cut(): void {
    this._socket.destroy();
  }

  /** Called by smtp-server's constructor, so it must not touch our fields before input arrives. */
  override _createParser(): SMTPStream {
    return new SmtpdInput({
      take: (chunk, next) => this.#take(chunk, next),
      end: () => this.#inputEnded(),
    });
  }

  override _onTimeout(): void {
    if (this._closing) {
      this._socket.destroy();
    } else if (this.#pause === "ours") {
      this._armTimeout();
    } else {
      this.#say(this.#dialogue.timedOut());
      this.#flush();
      this.close();
    }
  }

  override _onClose(): void {
    super._onClose();
    if (this.#hasDisconnected) return;
    this.#hasDisconnected = true;
    clearTimeout(this.#delay);
    this.#dialogue.disconnected();
  }

  /** The socket's own error: its close follows and tells all there is to tell. */
  override _onError(): void {
    // A client that resets the connection is nothing to report beyond "lost connection".
  }

  #take(chunk: Buffer, next: () => void): void {
    this.#chunk = chunk;
    this.#position = 0;
    this.#next = next;
    this.#run();
  }

  /** Works through the input at hand until something makes it wait. */
  #run(): void {
    if (this._closing || this.#hasDisconnected) return;
    this.#pause = "none";
    for (;;) {
      if (this.#isStopping && this.#dialogue.mode === "commands")
        this.#say(this.#dialogue.shutDown());
      if (this.#dialogue.mode === "closed") {
        this.#flush();
        this.close();
        return;
      }
      if (this.#position >= this.#chunk.length) break;
      const isWaiting = this.#dialogue.mode === "content" ? this.#takeContent() : this.#takeLine();
      if (isWaiting) return;
    }
    this.#flush();
    this.#askForMore();
  }

  /** @returns whether the session must wait; it then goes on by itself. */
  #takeLine(): boolean {
    const chunk = this.#chunk;
    const start = this.#position;
    const feed = chunk.indexOf(lineFeed, start);
    const end = feed < 0 ? chunk.length : feed;
    const room = this.#lineLengthLimit - this.#line.length;
    const line = this.#line + chunk.toString("latin1", start, Math.min(end, start + room));
    const endsInCr = end > start ? chunk[end - 1] === carriageReturn : this.#isLineEndingInCr;
    this.#position = end + 1;
    this.#line = feed < 0 ? line : "";
    this.#isLineEndingInCr = feed < 0 && endsInCr;
    if (feed < 0) return false;
    const command = line.endsWith("\r") ? line.slice(0, -1) : line;
    return this.#answer(this.#dialogue.command(command, this.#isInputWaiting, !endsInCr));
  }

  /** The client has sent more than the lines taken so far. */
  get #isInputWaiting(): boolean {
    return (
      this.#position < this.#chunk.length ||
      this.#stream.writableLength > this.#chunk.length ||
      this._socket.readableLength > 0
    );
  }

  #takeContent(): boolean {
    const { content, end } = this.#reader.read(this.#chunk, this.#position);
    this.#position = end < 0 ? this.#chunk.length : end;
    const stored = this.#dialogue.content(content);
    if (stored === undefined && end < 0) return false;
    this.#pause = "ours";
    if (stored === undefined) this.#endContent();
    else this.#resumeAfter(stored, end < 0 ? () => this.#run() : () => this.#endContent());
    return true;
  }

  #endContent(): void {
    this.#reader = new DataReader();
    this.#resumeAfter(this.#dialogue.endOfContent(), (reply) => {
      if (!this.#answer(reply)) this.#run();
    });
  }

  /** A rejection is a bug: it stays unhandled, and the process ends. */
  #resumeAfter<T>(work: Promise<T>, go: (result: T) => void): void {
    void work.then(go);
  }

  /** @returns whether the reply has to wait (V13). */
  #answer(reply: Reply): boolean {
    const delayMs = this.#dialogue.replyDelayMs;
    if (delayMs === 0) {
      this.#say(reply);
      return false;
    }
    this.#flush();
    this.#pause = "ours";
    this.#delay = setTimeout(() => {
      this.#say(reply);
      this.#run();
    }, delayMs);
    return true;
  }

  #say(reply: Reply): void {
    this.#output += `${reply}\r\n`;
  }

  #flush(): void {
    if (this.#output === "" || !this._socket.writable) return;
    const output = this.#output;
    this.#output = "";
    this._socket.write(output, "latin1");
  }

  /** A client that sends commands and reads no replies gets no more of its commands taken. */
  #askForMore(): void {
    const next = this.#next;
    if (next === undefined) return;
    if (this._socket.writableNeedDrain) {
      this.#pause = "client";
      this._socket.once("drain", () => this.#run());
      return;
    }
    this.#next = undefined;
    this.#chunk = nothing;
    this.#position = 0;
    next();
  }

  /** The client will send no more, and all it sent is answered. */
  #inputEnded(): void {
    if (!this._closing) this._socket.end();
  }
}

type InputHandlers = {
  readonly take: (chunk: Buffer, next: () => void) => void;
  readonly end: () => void;
};

/** What smtp-server pipes the socket into; it only hands chunks on. */
class SmtpdInput extends SMTPStream {
  readonly #handlers: InputHandlers;

  constructor(handlers: InputHandlers) {
    super();
    this.#handlers = handlers;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding | "buffer", next: () => void): void {
    if (this.isClosed) next();
    else this.#handlers.take(chunk, next);
  }

  /** The stream has finished. A line without its end is no command. */
  override _flushData(): void {
    this.#handlers.end();
  }
}
