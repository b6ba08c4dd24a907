/**
 * One SMTP conversation with one server, over nodemailer's SMTPConnection.
 *
 * nodemailer opens the session (greeting, EHLO, HELO) and reads replies; the transaction is ours, because delivery has to
 * know each reply by its command: one outcome per recipient, whatever happens later (D6, D7). Where the server
 * offers PIPELINING, RSET (on reuse), MAIL, all RCPT and DATA leave in one write.
 *
 * Important: the final dot is written in exactly one place, `#sendDot`, and only after the caller's `approveDot` said
 * yes while the conversation still stood. That is the fence of DESIGN §3; `sendWhole` and `sendStream` lead there.
 *
 * Each command has its own deadline, Postfix's parameter for it. Departs: a deadline is not put off by bytes that drip in
 * (as with Postfix's smtp_per_request_deadline), so that a drip-feeding server holds a slot for a bounded time.
 * Content is written in pieces of 64 KB, each under smtp_data_xfer_timeout.
 *
 * A session owns the token of its connection, from the open socket to the closed one, whatever closes it.
 *
 * Source: spec D6 to D12, D15, D20, D26, delivery.md §2, §4; RFC 5321 §4.5.3.2; RFC 2920.
 */
import type { Socket } from "node:net";

import type { SmtpReply } from "@postmq/mail-format";
import type { ConnectionToken } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";
import SMTPConnection from "nodemailer/lib/smtp-connection";

import { parseOffers } from "./mail-commands.ts";
import type { Offers } from "./mail-commands.ts";
import { BodyStuffer, dotStuffWhole, finalDot } from "./message-body.ts";
import { brokenReason, endsReuse, isPositive, readReply, turnedAway } from "./reply-verdict.ts";
import type { Refusal, Stage } from "./reply-verdict.ts";

export type SessionSettings = {
  readonly heloName: string;
  readonly lineLimit: number;
  readonly skips5xxGreeting: boolean;
  /** Deadlines in ms. */
  readonly timeoutsMs: Readonly<Record<Stage, number>>;
};

/** name[address] and what is needed to name the server in logs and reports. */
export type ServerName = {
  readonly host: string;
  readonly address: string;
  readonly port: number;
};

export function shownHost(server: ServerName): string {
  return `${server.host}[${server.address}]`;
}

/** What a transaction needs to know of a message. */
export type MailToSend = {
  readonly mailCommand: string;
  readonly rcptCommands: readonly string[];
  /** The whole content when it is small. */
  readonly whole?: Buffer;
  /** Else: a reader of it. */
  readonly readContent: () => AsyncIterable<Buffer>;
  /** Asked once, right before the final dot. false: the conversation is dropped without the dot. */
  readonly approveDot: () => Promise<boolean>;
};

export type RecipientVerdict =
  | { readonly kind: "sent"; readonly reply: SmtpReply }
  | { readonly kind: "refused"; readonly reply: SmtpReply; readonly stage: Stage }
  /** The conversation ended before the server said anything about it. */
  | { readonly kind: "open" };

export type Broken = { readonly how: "lost" | "timedOut"; readonly stage: Stage };

export type Transaction = {
  /** One for each of the rcptCommands. */
  readonly verdicts: readonly RecipientVerdict[];
  readonly broken?: Broken;
  /** A conversation from the cache had ended while it was idle: nothing was tried. */
  readonly wasStale: boolean;
  /** `approveDot` said no. */
  readonly isDotRefused: boolean;
  /** What `readContent` threw. */
  readonly contentError?: unknown;
};

/** Why no session came about. `unknown` verdicts are those without a reply: lost or timed out. */
export type SessionRefusal = Refusal & { readonly hasReply: boolean };

type ReplyAction = (reply: string) => void;

/**
 * The parts of SMTPConnection that its declarations leave out and that this module stands on. The version is pinned, and
 * the tests beside this file walk each of them.
 */
interface Innards {
  /** Handlers for the replies still to come, in order. */
  readonly _responseActions: ReplyAction[];
  /** The EHLO reply without its first line; undefined after HELO. */
  readonly _ehloLines?: readonly string[];
  _actionGreeting(reply: string): void;
}

const Connection = SMTPConnection as unknown as new (
  options: SMTPConnection.Options,
) => SMTPConnection & Innards;

/** Small content is sent in one write together with its final dot. */
const wholeBytes = 65_536;
const pieceBytes = 65_536;
const largestReplyBytes = 65_536;
/** After QUIT the server may take so long to close its side. It holds a token until then. */
const closingMs = 1_000;
/** nodemailer's own timers must never fire before ours. */
const neverMs = 2 ** 31 - 1;

export class SmtpSession extends Connection {
  readonly server: ServerName;
  readonly connectedAtMs: number;
  /** Transactions begun, this one included. */
  uses = 0;
  offers: Offers = new Map();
  readonly #settings: SessionSettings;
  readonly #socket: Socket;
  #token: ConnectionToken;
  #timer: NodeJS.Timeout | undefined;
  #stage: Stage = "greeting";
  #broken: Broken | undefined;
  #onBroken: (() => void) | undefined;
  #needsReset = false;
  #isSpoilt = false;
  /** Told when the conversation ends while nobody uses it. */
  onEnd: (() => void) | undefined;

  constructor(
    socket: Socket,
    server: ServerName,
    settings: SessionSettings,
    token: ConnectionToken,
  ) {
    super({
      connection: socket,
      name: settings.heloName,
      ignoreTLS: true,
      connectionTimeout: neverMs,
      greetingTimeout: neverMs,
      socketTimeout: neverMs,
      maxResponseSize: largestReplyBytes,
      socketCloseTimeout: closingMs,
    });
    this.server = server;
    this.connectedAtMs = performance.now();
    this.#settings = settings;
    this.#socket = socket;
    this.#token = token;
    socket.once("close", () => this.#token[Symbol.dispose]());
  }

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

  /** May another message go over this connection? */
  get isReusable(): boolean {
    return !this.#isSpoilt && this.#broken === undefined && !this.destroyed;
  }

  get broken(): Broken | undefined {
    return this.#broken;
  }

  /** Greeting and EHLO. @returns undefined when the session stands. */
  begin(): Promise<SessionRefusal | undefined> {
    return new Promise((resolve) => {
      this.on(
        "error",
        (error: Error & { readonly response?: string; readonly command?: string }) => {
          resolve(this.#refusal(error));
          this.#break("lost");
        },
      );
      this.on("end", () => {
        resolve(this.#refusal(undefined));
        this.#break("lost");
        this.onEnd?.();
      });
      this.#arm("greeting");
      this.connect((error) => {
        if (error !== undefined) return;
        this.#disarm();
        this.offers = parseOffers(this._ehloLines ?? []);
        resolve(undefined);
      });
    });
  }

  /** The greeting is in: EHLO has a deadline of its own. */
  override _actionGreeting(reply: string): void {
    if (reply.startsWith("220")) this.#arm("ehlo");
    super._actionGreeting(reply);
  }

  /**
   * One message to some recipients.
   *
   * When the server ended a connection that was used before, without a word about this message, that is said and is
   * nobody's failure.
   *
   * @param wasIdle the connection comes from the cache: RSET goes first (D26)
   */
  async transact(mail: MailToSend, wasIdle: boolean): Promise<Transaction> {
    this.uses += 1;
    const isPipelined = this.offers.has("PIPELINING");
    const resets = wasIdle || this.#needsReset;
    this.#needsReset = true;
    const replies = isPipelined
      ? await this.#pipelined(mail, resets)
      : await this.#oneByOne(mail, resets);
    if (this.uses > 1 && this.#hasLeft(replies)) {
      this.drop();
      return { verdicts: [], wasStale: true, isDotRefused: false };
    }
    if (!replies.mayTransfer) return this.#summary(mail, replies, { isDotRefused: false });
    const body = await this.#sendBody(mail);
    return this.#summary(mail, replies, body);
  }

  #hasLeft({ rset, mail }: EnvelopeReplies): boolean {
    const isLost = mail === undefined && this.#broken?.how === "lost";
    return isLost || mail?.code === 421 || (rset !== undefined && !isPositive(rset));
  }

  /** Ends the session in the polite way; the reply to QUIT is not awaited (smtp_skip_quit_response). */
  override quit(): void {
    if (this.isReusable) this.#socket.write("QUIT\r\n");
    this.close();
  }

  /** Ends the connection at once, whatever state it is in. */
  drop(): void {
    this.#break("lost");
    this.#socket.destroy();
    this.close();
  }

  // ---------------------------------------------------------------------------------- the envelope

  async #pipelined(mail: MailToSend, resets: boolean): Promise<EnvelopeReplies> {
    const rset = resets ? [{ stage: "rset", line: "RSET" } as const] : [];
    const got = await this.#exchange([...rset, ...envelopeCommands(mail), dataCommand]);
    const answers = resets ? got.slice(1) : got;
    const count = mail.rcptCommands.length;
    const replies = {
      rset: resets ? got[0] : undefined,
      mail: answers[0],
      rcpts: answers.slice(1, count + 1),
      data: answers[count + 1],
    };
    const hasAccepted = replies.rcpts.some(isPositive);
    const isSenderTaken = replies.mail !== undefined && isPositive(replies.mail);
    const isInvited = replies.data !== undefined && isInvitation(replies.data);
    if (isInvited && !(hasAccepted && isSenderTaken)) await this.#endEmptyMessage(hasAccepted);
    return { ...replies, mayTransfer: isInvited && hasAccepted && isSenderTaken };
  }

  /** D12: DATA was sent along, nobody was accepted, but the server wants content: an empty message to nobody. */
  async #endEmptyMessage(hasAccepted: boolean): Promise<void> {
    // A server that took recipients without a sender can't be trusted to send the nothing nowhere.
    if (hasAccepted) return this.drop();
    await this.#exchange([{ stage: "rset", line: "." }]);
    this.#needsReset = false;
  }

  async #oneByOne(mail: MailToSend, resets: boolean): Promise<EnvelopeReplies> {
    const rset = resets ? (await this.#exchange([{ stage: "rset", line: "RSET" }]))[0] : undefined;
    const isReset = !resets || (rset !== undefined && isPositive(rset));
    const got: SmtpReply[] = [];
    for (const command of isReset ? envelopeCommands(mail) : []) {
      const [reply] = await this.#exchange([command]);
      if (reply === undefined) break;
      got.push(reply);
      if (command.stage === "mail" && !isPositive(reply)) break;
    }
    const [mailReply, ...rcpts] = got;
    const isAsked = this.#broken === undefined && rcpts.some(isPositive);
    const data = isAsked ? (await this.#exchange([dataCommand]))[0] : undefined;
    return {
      rset,
      mail: mailReply,
      rcpts,
      data,
      mayTransfer: data !== undefined && isInvitation(data),
    };
  }

  /** Sends commands in one write and waits for their replies: fewer of them when the conversation breaks. */
  #exchange(commands: readonly Command[]): Promise<readonly SmtpReply[]> {
    const replies: SmtpReply[] = [];
    const first = commands[0];
    if (this.#broken !== undefined || first === undefined) return Promise.resolve(replies);
    return new Promise((resolve) => {
      const finish = () => {
        this.#disarm();
        this.#onBroken = undefined;
        resolve(replies);
      };
      const onReply = (raw: string) => {
        replies.push(readReply(raw));
        const next = commands[replies.length];
        if (next === undefined) finish();
        else this.#arm(next.stage);
      };
      this.#onBroken = finish;
      let batch = "";
      for (const { line } of commands) {
        this._responseActions.push(onReply);
        batch += `${line}\r\n`;
      }
      this.#arm(first.stage);
      this.#socket.write(batch);
    });
  }

  // ----------------------------------------------------------------------------------- the content

  async #sendBody(mail: MailToSend): Promise<BodyEnd> {
    this.#stage = "body";
    const end: EndOfData = { reply: undefined, onReply: undefined };
    this._responseActions.push((raw) => {
      end.reply = readReply(raw);
      end.onReply?.();
    });
    return mail.whole !== undefined && mail.whole.length <= wholeBytes
      ? await this.#sendWhole(mail, mail.whole, end)
      : await this.#sendStream(mail, end);
  }

  /**
   * Content and dot in one write, once the dot is approved: one system call less, and a refused message has sent no
   * content either. What can fail is done before the mark, so that as little as possible is ambiguous.
   */
  async #sendWhole(mail: MailToSend, whole: Buffer, end: EndOfData): Promise<BodyEnd> {
    const wire = dotStuffWhole(whole, this.#settings.lineLimit);
    return await this.#sendDot(await mail.approveDot(), wire, end);
  }

  async #sendStream(mail: MailToSend, end: EndOfData): Promise<BodyEnd> {
    const stuffer = new BodyStuffer(this.#settings.lineLimit);
    const content = mail.whole === undefined ? mail.readContent() : [mail.whole];
    try {
      for await (const chunk of content) {
        await this.#writePieces(stuffer.write(chunk));
        if (this.#broken !== undefined || end.reply !== undefined) break;
      }
    } catch (error) {
      this.drop();
      return { isDotRefused: false, contentError: error };
    }
    await this.#writePieces(stuffer.end());
    // Asked only when all content has left: the time between mark and dot is the time in which a crash is ambiguous.
    if (this.#broken !== undefined || end.reply !== undefined) return this.#earlyEnd(end);
    return await this.#sendDot(await mail.approveDot(), finalDot, end);
  }

  /** The one place that writes the final dot. */
  async #sendDot(isApproved: boolean, wire: Buffer, end: EndOfData): Promise<BodyEnd> {
    if (!isApproved) {
      this.drop();
      return { isDotRefused: true };
    }
    if (this.#broken !== undefined || end.reply !== undefined) return this.#earlyEnd(end);
    await new Promise<void>((resolve) => {
      end.onReply = resolve;
      this.#onBroken = resolve;
      this.#arm("dot");
      this.#socket.write(wire);
    });
    this.#disarm();
    this.#onBroken = undefined;
    if (end.reply === undefined) return { isDotRefused: false };
    this.#needsReset = false;
    return { isDotRefused: false, reply: end.reply };
  }

  /** D10: the server has answered, or gone, before it had the whole content. A 2xx at this point means nothing. */
  #earlyEnd(end: EndOfData): BodyEnd {
    this.drop();
    return end.reply === undefined || isPositive(end.reply)
      ? { isDotRefused: false }
      : { isDotRefused: false, reply: end.reply };
  }

  async #writePieces(bytes: Buffer): Promise<void> {
    for (let start = 0; start < bytes.length && this.#broken === undefined; start += pieceBytes) {
      if (this.#socket.write(bytes.subarray(start, start + pieceBytes))) continue;
      await new Promise<void>((resolve) => {
        this.#onBroken = resolve;
        this.#arm("body");
        this.#socket.once("drain", resolve);
      });
      this.#disarm();
      this.#onBroken = undefined;
    }
  }

  // ------------------------------------------------------------------------------------ the verdict

  #summary(mail: MailToSend, replies: EnvelopeReplies, body: BodyEnd): Transaction {
    const verdicts = mail.rcptCommands.map((_, index) => verdictOf(replies, index, body.reply));
    this.#isSpoilt ||= verdicts.some(
      (verdict) => verdict.kind === "refused" && endsReuse(verdict.reply),
    );
    const hasOwnTrouble = body.isDotRefused || body.contentError !== undefined;
    return {
      verdicts,
      wasStale: false,
      isDotRefused: body.isDotRefused,
      ...(this.#broken === undefined || hasOwnTrouble ? {} : { broken: this.#broken }),
      ...(body.contentError === undefined ? {} : { contentError: body.contentError }),
    };
  }

  #refusal(error: { readonly response?: string } | undefined): SessionRefusal {
    const host = shownHost(this.server);
    if (typeof error?.response === "string") {
      const reply = readReply(error.response);
      const isPermanent =
        reply.code >= 500 && (this.#stage === "ehlo" || !this.#settings.skips5xxGreeting);
      return { ...turnedAway(reply, host, isPermanent), hasReply: true };
    }
    const how = this.#broken?.how ?? "lost";
    const reason = brokenReason(how, host, this.#stage);
    return { isPermanent: false, status: lostStatus, reason, hasReply: false };
  }

  // ------------------------------------------------------------------------------- time and breakage

  #arm(stage: Stage): void {
    clearTimeout(this.#timer);
    this.#stage = stage;
    this.#timer = setTimeout(() => {
      this.#break("timedOut");
      this.#socket.destroy();
      this.close();
    }, this.#settings.timeoutsMs[stage]);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** The conversation is over. The first cause counts. */
  #break(how: "lost" | "timedOut"): void {
    this.#disarm();
    this.#broken ??= { how, stage: this.#stage };
    this.#onBroken?.();
  }
}

type Command = { readonly stage: Stage; readonly line: string };

const dataCommand: Command = { stage: "data", line: "DATA" };

function envelopeCommands(mail: MailToSend): readonly Command[] {
  return [
    { stage: "mail", line: mail.mailCommand },
    ...mail.rcptCommands.map((line) => ({ stage: "rcpt", line }) as const),
  ];
}

/** The replies to the envelope, as far as they came. */
type EnvelopeReplies = {
  readonly rset: SmtpReply | undefined;
  readonly mail: SmtpReply | undefined;
  readonly rcpts: readonly SmtpReply[];
  readonly data: SmtpReply | undefined;
  readonly mayTransfer: boolean;
};

/** Where the reply to the content lands, and who waits for it. It may come before the dot (D10). */
type EndOfData = { reply: SmtpReply | undefined; onReply: (() => void) | undefined };

type BodyEnd = {
  readonly isDotRefused: boolean;
  readonly reply?: SmtpReply;
  readonly contentError?: unknown;
};

const lostStatus = enhancedStatus("4.4.2");

function isInvitation(reply: SmtpReply): boolean {
  return reply.code >= 300 && reply.code < 400;
}

/** The first command that was refused decides; who was accepted by RCPT shares the fate of the content. */
function verdictOf(
  replies: EnvelopeReplies,
  index: number,
  endReply: SmtpReply | undefined,
): RecipientVerdict {
  const { mail, data } = replies;
  if (mail !== undefined && !isPositive(mail))
    return { kind: "refused", reply: mail, stage: "mail" };
  const rcpt = replies.rcpts[index];
  if (rcpt === undefined) return { kind: "open" };
  if (!isPositive(rcpt)) return { kind: "refused", reply: rcpt, stage: "rcpt" };
  if (data === undefined) return { kind: "open" };
  if (!isInvitation(data)) return { kind: "refused", reply: data, stage: "data" };
  if (endReply === undefined) return { kind: "open" };
  return isPositive(endReply)
    ? { kind: "sent", reply: endReply }
    : { kind: "refused", reply: endReply, stage: "dot" };
}
