/**
 * One SMTP or LMTP session with one server, which carries one message after the other.
 *
 * The transaction knows each reply by its command: one outcome per recipient, whatever happens later (D6, D7). Where the
 * server offers PIPELINING, RSET (on reuse), MAIL, all RCPT and DATA leave in one write. In LMTP each accepted recipient
 * has a reply of its own after the dot; those that came before a break are facts.
 *
 * Important: the final dot is written in exactly one place, `#sendDot`, and only after the caller's `approveDot` said
 * yes while the conversation still stood. That is the fence of DESIGN §3; `sendWhole` and `sendStream` lead there.
 *
 * Content is written in pieces of 64 KB, each under smtp_data_xfer_timeout.
 *
 * Source: spec D6 to D12, D15, D20, D26, delivery.md §2; RFC 2033; RFC 2920.
 */
import type { SmtpReply } from "@postmq/mail-format";

import type { Broken, Command } from "./conversation.ts";
import { BodyStuffer, dotStuffWhole, finalDot } from "./message-body.ts";
import { OpenedSession } from "./opened-session.ts";
import { endsReuse, isPositive, readReply } from "./reply-verdict.ts";
import type { Stage } from "./reply-verdict.ts";

export { shownHost, shownServer } from "./server-name.ts";
export type { ServerName } from "./server-name.ts";
export type { SessionRefusal } from "./opening-refusal.ts";
export type { SessionWishes } from "./opened-session.ts";
export type { SessionSettings } from "./session-settings.ts";

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

/** Small content is sent in one write together with its final dot. */
const wholeBytes = 65_536;
const pieceBytes = 65_536;

export class SmtpSession extends OpenedSession {
  /** Transactions begun, this one included. */
  uses = 0;
  #needsReset = false;
  #isSpoilt = false;
  /** By a 421. */
  #isDismissed = false;

  /** May another transaction go over this connection? A reply too many would be taken for one to the next command. */
  get isReusable(): boolean {
    const isInStep = !this.hasProtocolError && this._responseQueue.length === 0;
    return isInStep && !this.#isSpoilt && this.broken === undefined && !this.destroyed;
  }

  /** The conversation under TLS broke, by nobody's word: TLS may be why (D23). */
  get hasFailedUnderTls(): boolean {
    const isByWord = this.wasDropped || this.#isDismissed;
    return this.tls !== undefined && this.broken !== undefined && !isByWord;
  }

  /** May it carry the next message of the same job? */
  get servesOthers(): boolean {
    return this.isReusable && this.wishes.isMakeshift !== true;
  }

  /** May it be kept for other jobs? Under TLS that is for the policy to say (D27). */
  get mayBeKept(): boolean {
    return this.servesOthers && (this.tls === undefined || this.tlsPolicy?.mayReuse === true);
  }

  // ------------------------------------------------------------------------------- the transaction

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
    if (!replies.mayTransfer) return this.#summary(mail, replies, nothingSent);
    const body = await this.#sendBody(mail, replies);
    return this.#summary(mail, replies, body);
  }

  #hasLeft({ rset, mail }: EnvelopeReplies): boolean {
    // One that is silent at RSET has heard of no mail yet (D26), as one that hung up has not.
    const { broken } = this;
    const isLost = mail === undefined && (broken?.how === "lost" || broken?.stage === "rset");
    return isLost || mail?.code === 421 || (rset !== undefined && !isPositive(rset));
  }

  /**
   * Ends the session in the polite way. The reply to QUIT is awaited only without smtp_skip_quit_response, and nobody waits
   * for that here: the connection keeps its token until it is closed.
   */
  override quit(): void {
    if (!this.isReusable) return this.close();
    this.#isSpoilt = true;
    if (this.settings.awaitsQuitReply) {
      this.deadlineMs = Infinity;
      void this.ask("quit", "QUIT").then(() => this.close());
      return;
    }
    this.wire.write("QUIT\r\n");
    this.close();
  }

  // ---------------------------------------------------------------------------------- the envelope

  async #pipelined(mail: MailToSend, resets: boolean): Promise<EnvelopeReplies> {
    const rset = resets ? [{ stage: "rset", line: "RSET" } as const] : [];
    const got = await this.exchange([...rset, ...envelopeCommands(mail), dataCommand]);
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
    // In LMTP nobody answers to it at all.
    if (hasAccepted || this.protocol === "lmtp") return this.drop();
    await this.exchange([{ stage: "rset", line: "." }]);
    this.#needsReset = false;
  }

  async #oneByOne(mail: MailToSend, resets: boolean): Promise<EnvelopeReplies> {
    const rset = resets ? (await this.exchange([{ stage: "rset", line: "RSET" }]))[0] : undefined;
    const isReset = !resets || (rset !== undefined && isPositive(rset));
    const got: SmtpReply[] = [];
    for (const command of isReset ? envelopeCommands(mail) : []) {
      const [reply] = await this.exchange([command]);
      if (reply === undefined) break;
      got.push(reply);
      if (command.stage === "mail" && !isPositive(reply)) break;
    }
    const [mailReply, ...rcpts] = got;
    const isAsked = this.broken === undefined && rcpts.some(isPositive);
    const data = isAsked ? (await this.exchange([dataCommand]))[0] : undefined;
    return {
      rset,
      mail: mailReply,
      rcpts,
      data,
      mayTransfer: data !== undefined && isInvitation(data),
    };
  }

  // ----------------------------------------------------------------------------------- the content

  #sendBody(mail: MailToSend, { rcpts }: EnvelopeReplies): Promise<BodyEnd> {
    this.at = "body";
    const awaited = this.protocol === "lmtp" ? rcpts.filter(isPositive).length : 1;
    const end: EndOfData = { replies: [], awaited, onReply: undefined };
    const onReply = (raw: string) => {
      end.replies.push(readReply(raw));
      end.onReply?.();
    };
    for (let count = 0; count < awaited; count += 1) this._responseActions.push(onReply);
    return mail.whole !== undefined && mail.whole.length <= wholeBytes
      ? this.#sendWhole(mail, mail.whole, end)
      : this.#sendStream(mail, end);
  }

  /**
   * Content and dot in one write, once the dot is approved: one system call less, and a refused message has sent no
   * content either. What can fail is done before the mark, so that as little as possible is ambiguous.
   */
  async #sendWhole(mail: MailToSend, whole: Buffer, end: EndOfData): Promise<BodyEnd> {
    const wire = dotStuffWhole(whole, this.settings.lineLimit);
    return await this.#sendDot(await mail.approveDot(), wire, end);
  }

  async #sendStream(mail: MailToSend, end: EndOfData): Promise<BodyEnd> {
    const stuffer = new BodyStuffer(this.settings.lineLimit);
    const content = mail.whole === undefined ? mail.readContent() : [mail.whole];
    try {
      for await (const chunk of content) {
        await this.#writePieces(stuffer.write(chunk));
        if (this.#isOver(end)) break;
      }
    } catch (error) {
      this.drop();
      return { isDotRefused: false, replies: [], contentError: error };
    }
    await this.#writePieces(stuffer.end());
    // Asked only when all content has left: the time between mark and dot is the time in which a crash is ambiguous.
    if (this.#isOver(end)) return this.#earlyEnd(end);
    return await this.#sendDot(await mail.approveDot(), finalDot, end);
  }

  /** The one place that writes the final dot. */
  async #sendDot(isApproved: boolean, wire: Buffer, end: EndOfData): Promise<BodyEnd> {
    if (!isApproved) {
      this.drop();
      return { isDotRefused: true, replies: [] };
    }
    if (this.#isOver(end)) return this.#earlyEnd(end);
    await new Promise<void>((resolve) => {
      end.onReply = () => {
        if (end.replies.length >= end.awaited) resolve();
        else this.arm("dot");
      };
      this.onBroken = resolve;
      this.arm("dot");
      this.wire.write(wire);
    });
    this.disarm();
    this.onBroken = undefined;
    if (end.replies.length >= end.awaited) this.#needsReset = false;
    return { isDotRefused: false, replies: end.replies };
  }

  /** Before the dot. */
  #isOver(end: EndOfData): boolean {
    return this.broken !== undefined || end.replies.length > 0;
  }

  /** D10: the server has answered, or gone, before it had the whole content. A 2xx at this point means nothing. */
  #earlyEnd(end: EndOfData): BodyEnd {
    this.drop();
    const replies = end.replies.map((reply) => (isPositive(reply) ? undefined : reply));
    return { isDotRefused: false, replies };
  }

  async #writePieces(bytes: Buffer): Promise<void> {
    for (let start = 0; start < bytes.length && this.broken === undefined; start += pieceBytes) {
      if (this.wire.write(bytes.subarray(start, start + pieceBytes))) continue;
      await new Promise<void>((resolve) => {
        this.onBroken = resolve;
        this.arm("body");
        this.wire.once("drain", resolve);
      });
      this.disarm();
      this.onBroken = undefined;
    }
  }

  // ------------------------------------------------------------------------------------ the verdict

  #summary(mail: MailToSend, replies: EnvelopeReplies, body: BodyEnd): Transaction {
    const isLmtp = this.protocol === "lmtp";
    let accepted = -1;
    const verdicts = mail.rcptCommands.map((_, index) => {
      const rcpt = replies.rcpts[index];
      if (isLmtp && rcpt !== undefined && isPositive(rcpt)) accepted += 1;
      return verdictOf(replies, index, body.replies[isLmtp ? accepted : 0]);
    });
    this.hasProtocolError ||= verdicts.some(
      (verdict) => verdict.kind === "refused" && endsReuse(verdict.reply),
    );
    this.#isDismissed ||= verdicts.some(
      (verdict) => verdict.kind === "refused" && verdict.reply.code === 421,
    );
    const { data } = replies;
    this.hasProtocolError ||= data !== undefined && !isInvitation(data) && endsReuse(data);
    const hasOwnTrouble = body.isDotRefused || body.contentError !== undefined;
    return {
      verdicts,
      wasStale: false,
      isDotRefused: body.isDotRefused,
      ...(this.broken === undefined || hasOwnTrouble ? {} : { broken: this.broken }),
      ...(body.contentError === undefined ? {} : { contentError: body.contentError }),
    };
  }
}

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

/** Where replies to the content land, and who waits for them. They may come before the dot (D10). */
type EndOfData = {
  readonly replies: SmtpReply[];
  /** One; in LMTP one for each accepted recipient. */
  readonly awaited: number;
  onReply: (() => void) | undefined;
};

type BodyEnd = {
  readonly isDotRefused: boolean;
  /** In the order of the accepted recipients; undefined: it said nothing that counts. */
  readonly replies: readonly (SmtpReply | undefined)[];
  readonly contentError?: unknown;
};

const nothingSent: BodyEnd = { isDotRefused: false, replies: [] };

function isInvitation(reply: SmtpReply): boolean {
  return reply.code >= 300 && reply.code < 400;
}

/**
 * The first command that was refused decides; who was accepted by RCPT shares the fate of the content.
 *
 * @param endReply the reply to the content; in LMTP the one for this recipient
 */
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
