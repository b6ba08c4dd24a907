/**
 * The line to a server: commands and replies under deadlines, TLS on top of it, the token that it counts with. What is said
 * over it is for others to decide.
 *
 * It stands on nodemailer's SMTPConnection, which says hello, reads replies and starts TLS. What was received in plain text
 * and is still unread when TLS starts is thrown away (RFC 3207 §6).
 *
 * Each command has its own deadline, Postfix's parameter for it, and none goes beyond that of the attempt. Departs: a
 * deadline is not put off by bytes that drip in (as with Postfix's smtp_per_request_deadline), so that a drip-feeding server
 * holds a slot for a bounded time.
 *
 * A conversation owns the token of its connection, from the open socket to the closed one, whatever closes it.
 *
 * Source: spec delivery.md §2, §4, D24; security.md 13, 18; RFC 5321 §4.5.3.2; RFC 3207.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import type { SmtpReply } from "@postmq/mail-format";
import type { ConnectionToken } from "@postmq/queue-store";
import SMTPConnection from "nodemailer/lib/smtp-connection";

import type { TlsPolicy, TlsVerdict } from "../tls/tls-policy.ts";
import { Deadline } from "./deadline.ts";
import { readReply } from "./reply-verdict.ts";
import type { Stage } from "./reply-verdict.ts";
import type { ServerName } from "./server-name.ts";
import type { SessionSettings } from "./session-settings.ts";
import { tlsFacts } from "./tls-facts.ts";
import type { TlsFacts } from "./tls-facts.ts";
import { Transcript } from "./transcript.ts";

/** How a conversation with one server is to be held, besides what holds for all. */
export type ConversationWishes = {
  /** Default smtp. */
  readonly protocol?: "smtp" | "lmtp";
  /** Default: no TLS. */
  readonly tls?: TlsPolicy;
};

export type Broken = { readonly how: "lost" | "timedOut"; readonly stage: Stage };

export type Command = { readonly stage: Stage; readonly line: string };

type ReplyAction = (reply: string) => void;

/**
 * The parts of SMTPConnection that its declarations leave out and that this module stands on. The version is pinned, and
 * the tests beside this file walk each of them.
 */
interface Innards {
  /** Handlers for the replies still to come, in order. */
  readonly _responseActions: ReplyAction[];
  /** Replies that are in and not yet handled. */
  readonly _responseQueue: string[];
  /** The last of them is not whole yet. */
  readonly _responsePartial: boolean;
  /** The EHLO reply without its first line; undefined after HELO. */
  readonly _ehloLines?: readonly string[];
  /** The TLS one after a handshake. */
  readonly _socket: Socket;
  /** SNI where `options.tls` has none. */
  servername: string | false;
  readonly options: { tls?: object };
  _actionGreeting(reply: string): void;
  _actionHELO(reply: string): void;
  _sendCommand(line: string): void;
  _clearPhase(): void;
  _onConnect(): void;
  _onData(chunk: Buffer): void;
  _processResponse(): void;
  _upgradeConnection(callback: (error: Error | null | undefined) => void): void;
}

const Connection = SMTPConnection as unknown as new (
  options: SMTPConnection.Options,
) => SMTPConnection & Innards;

const largestReplyBytes = 65_536;
/** More than the replies to any batch of commands. Who sends more is not answering. */
const mostUnreadReplies = 20_000;
/** After QUIT the server may take so long to close its side. It holds a token until then. */
const closingMs = 1_000;
/** Of one line, ASCII, and no 421, which ends the session: all that nodemailer would do is to hand it on. */
const plainReply = /^(?!421)\d{3} [\x20-\x7E]*$/;
/** nodemailer's own timers must never fire before ours. */
const neverMs = 2 ** 31 - 1;

export class Conversation extends Connection {
  readonly server: ServerName;
  readonly protocol: "smtp" | "lmtp";
  readonly connectedAtMs: number;
  /** Of the TLS session that it goes over. */
  tls: TlsFacts | undefined;
  /** What came of the handshake. */
  tlsVerdict: TlsVerdict | undefined;
  /** Kept where the postmaster is told of protocol errors (D9). */
  readonly transcript: Transcript | undefined;
  /** When the attempt that it serves must be over, on the clock of `performance.now()` (S35). */
  deadlineMs = Infinity;
  /** Told when the conversation ends while nobody uses it. */
  onEnd: (() => void) | undefined;
  protected readonly settings: SessionSettings;
  protected readonly tlsPolicy: TlsPolicy | undefined;
  /** The one that commands are written to. */
  protected wire: Socket;
  /** Called once when the conversation breaks while somebody waits. */
  protected onBroken: (() => void) | undefined;
  /** Where it is, for reasons and deadlines. */
  protected at: Stage = "greeting";
  /** A reply that ended the session by itself. */
  protected lastWords: string | undefined;
  protected isShakingHands = false;
  /** It was we who broke it off. */
  protected wasDropped = false;
  readonly #isTlsImplicit: boolean;
  /** The TCP connection, or that of a UNIX socket. */
  readonly #socket: Socket;
  #token: ConnectionToken;
  readonly #deadline = new Deadline(() => this.#onLate());
  #broken: Broken | undefined;
  #onMet: ((isMet: boolean) => void) | undefined;

  constructor(
    socket: Socket,
    server: ServerName,
    settings: SessionSettings,
    token: ConnectionToken,
    wishes: ConversationWishes,
  ) {
    const tlsPolicy = wishes.tls?.level === "none" ? undefined : wishes.tls;
    const isTlsImplicit = tlsPolicy?.startsWithTls === true;
    super({
      connection: socket,
      name: settings.heloName,
      ignoreTLS: true,
      secure: isTlsImplicit,
      lmtp: wishes.protocol === "lmtp",
      connectionTimeout: neverMs,
      greetingTimeout: neverMs,
      socketTimeout: neverMs,
      maxResponseSize: largestReplyBytes,
      socketCloseTimeout: closingMs,
    });
    this.server = server;
    this.protocol = wishes.protocol ?? "smtp";
    this.connectedAtMs = performance.now();
    this.settings = settings;
    this.transcript = settings.keepsTranscripts ? new Transcript() : undefined;
    this.tlsPolicy = tlsPolicy;
    this.wire = socket;
    this.#isTlsImplicit = isTlsImplicit;
    this.#socket = socket;
    this.#token = token;
    socket.once("close", () => this.#token[Symbol.dispose]());
    if (socket.closed) token[Symbol.dispose]();
  }

  // --------------------------------------------------------------------------------------- the token

  /** The name of the destination at which this connection counts. */
  get countsAt(): string {
    return this.#token.name;
  }

  /** It serves nobody at the destination where it counted. */
  countNowhere(): void {
    this.#token[Symbol.dispose]();
  }

  /** From now on it counts where this token does. */
  countUnder(token: ConnectionToken): void {
    this.countNowhere();
    this.#token = token;
    if (this.#socket.closed) token[Symbol.dispose]();
  }

  // -------------------------------------------------------------------------------------------- hello

  /** Greeting and EHLO, LHLO or HELO, and the handshake before them where it is implicit. @returns false: it broke */
  protected meet(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#onMet = resolve;
      this.on("error", (error: Error & { readonly response?: string }) => {
        this.lastWords ??= error.response;
        this.breakOff("lost");
        resolve(false);
      });
      this.on("end", () => {
        this.breakOff("lost");
        resolve(false);
        this.onEnd?.();
      });
      if (this.#isTlsImplicit) this.#prepareHandshake();
      this.arm(this.#isTlsImplicit ? "starttls" : "greeting");
      this.connect((error) => {
        if (error !== undefined) return;
        this.disarm();
        resolve(true);
      });
    });
  }

  /** The greeting is in: EHLO has a deadline of its own. */
  override _actionGreeting(reply: string): void {
    if (!reply.startsWith("220")) return super._actionGreeting(reply);
    this.onGreeting(reply);
    this.arm(this.protocol === "lmtp" ? "lhlo" : "ehlo");
    if (this.protocol === "lmtp" || this.#isToSayEhlo(reply)) return super._actionGreeting(reply);
    this._clearPhase();
    this._responseActions.push((reply) => this._actionHELO(reply));
    this._sendCommand(`HELO ${this.settings.heloName}`);
  }

  #isToSayEhlo(greeting: string): boolean {
    const { saysEhlo } = this.settings;
    return saysEhlo === "always" || (saysEhlo === "to ESMTP" && /\sESMTP\b/i.test(greeting));
  }

  /** EHLO and HELO of the first greeting are nodemailer's. */
  override _sendCommand(line: string): void {
    this.transcript?.out(line);
    super._sendCommand(line);
  }

  /** For whoever wants to look at it. */
  protected onGreeting(_greeting: string): void {}

  /** With implicit TLS the handshake is over. */
  override _onConnect(): void {
    if (this.#isTlsImplicit && !this.#endHandshake()) {
      setImmediate(() => this.#onMet?.(false));
      return;
    }
    this.arm("greeting");
    super._onConnect();
  }

  // ---------------------------------------------------------------------------------------------- TLS

  /**
   * After the server's 220 to STARTTLS.
   *
   * Important: whoever waits for a handshake, here and in `_onConnect`, goes on in a turn of its own. A connection that is
   * destroyed while OpenSSL still stands on the stack takes the process with it (Node 26: segmentation fault).
   *
   * @returns false: no handshake, or its verdict is a refusal
   */
  protected startTls(): Promise<boolean> {
    if (this.broken !== undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#prepareHandshake();
      this.onBroken = () => resolve(false);
      this.arm("starttls");
      this._upgradeConnection((error) => {
        this.disarm();
        this.onBroken = undefined;
        const isGood = (error === null || error === undefined) && this.#endHandshake();
        setImmediate(() => resolve(isGood));
      });
    });
  }

  #prepareHandshake(): void {
    this.isShakingHands = true;
    // What the policy does not name is not sent: nodemailer would make up a name.
    this.servername = false;
    this.options.tls = this.tlsPolicy?.connectOptions(this.server.host) ?? {};
    // nodemailer lets go of the plain socket, whose last error may still come.
    this.#socket.on("error", () => {});
  }

  /** @returns whether the policy is content with the server */
  #endHandshake(): boolean {
    const { tlsPolicy, _socket: socket } = this;
    if (tlsPolicy === undefined || !(socket instanceof TLSSocket)) return false;
    this.isShakingHands = false;
    this.wire = socket;
    this.tlsVerdict = tlsPolicy.judge(socket, this.server.host);
    this.tls = tlsFacts(socket, tlsPolicy.level, this.tlsVerdict.trust);
    return this.tlsVerdict.kind === "accepted";
  }

  // ----------------------------------------------------------------------------- commands and replies

  /** One command. @returns the reply as it came; undefined: the conversation broke */
  protected ask(stage: Stage, line: string): Promise<string | undefined> {
    if (this.#broken !== undefined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const finish = (raw?: string) => {
        this.disarm();
        this.onBroken = undefined;
        resolve(raw);
      };
      this.onBroken = finish;
      this._responseActions.push(finish);
      this.arm(stage);
      if (stage === "auth") this.transcript?.outSecret(line);
      else this.transcript?.out(line);
      this.wire.write(`${line}\r\n`);
    });
  }

  /** Sends commands in one write and waits for their replies: fewer of them when the conversation breaks. */
  protected exchange(commands: readonly Command[]): Promise<readonly SmtpReply[]> {
    const replies: SmtpReply[] = [];
    const first = commands[0];
    if (this.#broken !== undefined || first === undefined) return Promise.resolve(replies);
    return new Promise((resolve) => {
      const finish = () => {
        this.disarm();
        this.onBroken = undefined;
        resolve(replies);
      };
      const onReply = (raw: string) => {
        replies.push(readReply(raw));
        const next = commands[replies.length];
        if (next === undefined) finish();
        else this.arm(next.stage);
      };
      this.onBroken = finish;
      let batch = "";
      for (const { line } of commands) {
        this._responseActions.push(onReply);
        batch += `${line}\r\n`;
      }
      this.arm(first.stage);
      this.transcript?.out(batch);
      this.wire.write(batch);
    });
  }

  /**
   * Replies that are in and awaited are handled in this turn: nodemailer takes one a turn, and the end of the connection
   * would overtake the rest (LMTP: mail that was taken would be sent again). A server that floods us with replies
   * nobody asked for must not fill our memory. Whole replies count, whether or not the beginning of another follows them.
   */
  override _onData(chunk: Buffer): void {
    if (this.transcript !== undefined)
      this.#noteReply(chunk.toString("utf8", 0, largestReplyBytes));
    super._onData(chunk);
    while (this.#hasAwaitedReply()) this._processResponse();
    if (this._responseQueue.length > mostUnreadReplies) this.drop();
  }

  /** nodemailer makes a turn of the event loop for each reply, and decodes it: most replies need neither. */
  override _processResponse(): void {
    // Nobody's reply, or none.
    if (this._responseActions.length === 0) return super._processResponse();
    while (this.#hasAwaitedReply()) {
      const [raw = ""] = this._responseQueue;
      if (!plainReply.test(raw)) return super._processResponse();
      this._responseQueue.shift();
      this.lastServerResponse = raw;
      this._responseActions.shift()?.call(this, raw);
    }
    if (this._responseQueue.length > 0) setImmediate(() => this._processResponse());
  }

  #hasAwaitedReply(): boolean {
    const whole = this._responseQueue.length - (this._responsePartial ? 1 : 0);
    return whole > 0 && this._responseActions.length > 0 && !this.destroyed;
  }

  /** What comes between the first line of a login and the next command is the login's, in whatever pieces. */
  #noteReply(text: string): void {
    if (this.at === "auth") this.transcript?.inSecret(text);
    else this.transcript?.in(text);
  }

  // -------------------------------------------------------------------------------- time and breakage

  get broken(): Broken | undefined {
    return this.#broken;
  }

  /** The deadline of what is awaited now: of its own, and of the attempt. */
  protected arm(stage: Stage): void {
    this.at = stage;
    const limitMs = this.settings.timeoutsMs[stage];
    this.#deadline.set(Math.min(performance.now() + limitMs, this.deadlineMs));
  }

  protected disarm(): void {
    this.#deadline.clear();
  }

  #onLate(): void {
    this.breakOff("timedOut");
    this.#destroy();
  }

  /** The conversation is over. The first cause counts. */
  protected breakOff(how: "lost" | "timedOut"): void {
    this.#deadline[Symbol.dispose]();
    this.#broken ??= { how, stage: this.at };
    this.onBroken?.();
  }

  /** Ends the connection at once, whatever state it is in. */
  drop(): void {
    this.wasDropped ||= this.#broken === undefined;
    this.breakOff("lost");
    this.#destroy();
  }

  /** From the top: the plain socket goes with the TLS one. */
  #destroy(): void {
    const { _socket: top } = this;
    if (top instanceof TLSSocket) top.destroy();
    else this.#socket.destroy();
    this.close();
  }
}
