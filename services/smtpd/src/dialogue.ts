/**
 * The SMTP conversation with one client: what each command means in the state reached so far, and its reply.
 *
 * It knows no socket: a session feeds it command lines, content and the end of content, and sends what it answers. The
 * states are those of RFC 5321: greeted or not, in a mail transaction or not, and inside DATA. A transaction starts with an
 * accepted MAIL and ends with the reply to the final dot, RSET, HELO or EHLO; refused recipients don't end it.
 *
 * Extensions that are not announced are not taken: STARTTLS, AUTH, CHUNKING, SMTPUTF8, XCLIENT.
 *
 * Source: RFC 5321 §4.1, §4.3; RFC 3461; spec smtpd.md §1, §2, §4, §6 (V1 to V14, V22, V28, V30); Postfix
 * src/smtpd/smtpd.c for order of checks and wording.
 */
import type { Intake } from "@postmq/queue-store";
import type { Log } from "@postmq/observability";
import {
  logClient,
  logConnect,
  logDisconnect,
  logLostConnection,
  logMessageId,
  logReject,
} from "@postmq/observability";
import type { InFlowDelay } from "@postmq/service-kit";
import type { ClientAttributes, Clock, Envelope, Recipient, VerpRules } from "@postmq/vocabulary";

import { parsePathCommand, splitCommand } from "./command-line.ts";
import { CommandStatistics } from "./command-statistics.ts";
import type { CountedCommand, RefusedCommand } from "./command-statistics.ts";
import type { CommitDeadline } from "./commit-deadline.ts";
import { parseMailParameters, parseRcptParameters } from "./envelope-parameters.ts";
import type { MailParameters } from "./envelope-parameters.ts";
import { ErrorLimits } from "./error-limits.ts";
import { IncomingMessage, refusalOf } from "./incoming-message.ts";
import type { RelayGuard } from "./relay-guard.ts";
import type { Reply } from "./reply.ts";
import { isFailure, printable, replyCode, softened } from "./reply.ts";
import type { SmtpdMetrics } from "./smtpd-metrics.ts";
import type { SmtpdSettings } from "./smtpd-settings.ts";

export type DialogueContext = {
  readonly settings: SmtpdSettings;
  readonly intake: Intake;
  readonly deadline: CommitDeadline;
  readonly inFlow: InFlowDelay;
  readonly log: Log;
  readonly metrics: SmtpdMetrics;
  readonly clock: Clock;
  readonly relayGuard: RelayGuard;
  /** Whether the address is in mynetworks. */
  isTrustedClient(address: string): boolean;
  /** Whether the address may ask for VERP (smtpd_authorized_verp_clients). */
  isVerpClient(address: string): boolean;
  /** Whether the address is one of this machine's: its mail gets missing headers (R5). */
  isOwnAddress(address: string): boolean;
};

/** Who is at the other end. `name`: "unknown" when it has none that can be relied on. */
export type DialogueClient = {
  readonly name: string;
  readonly address: string;
  readonly port: number;
};

/** What the client may send next. */
export type DialogueMode = "commands" | "content" | "closed";

type Transaction = {
  readonly sender: string;
  readonly parameters: Omit<MailParameters, "size">;
  readonly recipients: Recipient[];
  /** Recipients beyond smtpd_recipient_limit. */
  overshoot: number;
};

type Command = {
  readonly name: CountedCommand;
  readonly answer: (dialogue: Dialogue, rest: string) => Reply;
  /** It leads nowhere: too many are an error (V14). */
  readonly isJunk?: boolean;
  /** A client must wait for its reply, even one that pipelines. Source: RFC 2920 §3.1. */
  readonly endsPipeline?: boolean;
};

/**
 * What is answered to extensions that are not offered, and not announced: what Postfix says while they are off (compared
 * in test/parity/smtpd-not-offered.test.ts). RFC 5321 §4.2.4 has 502 for a command that is known and not implemented.
 *
 * Departs: Postfix's ETRN can't be turned off.
 */
const refusals: Readonly<Record<RefusedCommand, Reply>> = {
  XCLIENT: "550 5.7.0 Error: insufficient authorization",
  XFORWARD: "550 5.7.0 Error: insufficient authorization",
  STARTTLS: "502 5.5.1 Error: command not implemented",
  AUTH: "503 5.5.1 Error: authentication not enabled",
  // And the end, as after each 521: content follows at once, which would be taken for commands.
  BDAT: "521 5.5.1 Error: command not implemented",
  ETRN: "502 5.5.1 Error: command not implemented",
};

function isRefused(verb: string): verb is RefusedCommand {
  return Object.hasOwn(refusals, verb);
}

/** Other protocols that end up here: web pages, proxies. Source: postconf(5) smtpd_forbidden_commands. */
const forbiddenCommands = new Set(["CONNECT", "GET", "POST"]);
const headerLike = /^[!-9;-~]+[ \t]*:/;
const longestHelo = 255;

export class Dialogue {
  readonly #context: DialogueContext;
  readonly #client: DialogueClient;
  readonly #isTrusted: boolean;
  /** undefined: this client may not ask for VERP. */
  readonly #verp: VerpRules | undefined;
  readonly #limits: ErrorLimits;
  readonly #statistics = new CommandStatistics();
  #mode: DialogueMode = "commands";
  #helo: string | undefined;
  #isEsmtp = false;
  #transaction: Transaction | undefined;
  #message: IncomingMessage | undefined;
  /** The last command, for the log when the client goes away. */
  #stage = "CONNECT";
  /** We have said goodbye: the end of the connection is no surprise. */
  #isFarewell = false;
  /** The refusal that is about to be sent is not the client's fault. */
  #isErrorForgiven = false;

  constructor(context: DialogueContext, client: DialogueClient) {
    this.#context = context;
    this.#client = client;
    this.#isTrusted = context.isTrustedClient(client.address);
    this.#verp = context.isVerpClient(client.address) ? context.settings.verp : undefined;
    this.#limits = new ErrorLimits(context.settings.errorLimits);
  }

  get mode(): DialogueMode {
    return this.#mode;
  }

  /** How long the next reply must wait (V13). */
  get replyDelayMs(): number {
    return this.#limits.replyDelayMs;
  }

  greeting(): Reply {
    logConnect(this.#context.log, this.#client);
    this.#context.metrics.connects.increment();
    return `220 ${this.#context.settings.banner}`;
  }

  /**
   * One command line, without its line end.
   *
   * @param line one character per byte
   * @param isInputWaiting the client has already sent more
   * @param isBareNewline the line ended in LF alone
   */
  command(line: string, isInputWaiting: boolean, isBareNewline: boolean): Reply {
    const { verb, rest } = splitCommand(line);
    const command = commands.get(verb);
    const name = command?.name ?? (isRefused(verb) ? verb : "UNKNOWN");
    this.#stage = name;
    this.#statistics.count(name);
    if (isBareNewline && this.#refusesBareNewline) {
      return this.#farewell("550 5.5.2 Error: bare <LF> received");
    }
    if (isInputWaiting && this.#mustWait(command)) {
      this.#context.log.info(
        `improper command pipelining after ${this.#stage} from ${this.#clientText()}`,
      );
      return this.#farewell("554 5.5.0 Error: SMTP protocol synchronization");
    }
    if (command?.isJunk === true) this.#limits.countJunkCommand();
    const reply = command === undefined ? this.#unknown(verb, line) : command.answer(this, rest);
    if (!isFailure(reply) && command !== undefined && this.#mode !== "content") {
      this.#statistics.countAccepted(name);
    }
    return this.#judged(reply);
  }

  /** Content, dots unstuffed. @returns a promise to await before more is given, if any. */
  content(bytes: Buffer): Promise<void> | undefined {
    return this.#message?.write(bytes);
  }

  /** The final dot has come. The next command is not to be given before the reply. */
  async endOfContent(): Promise<Reply> {
    const message = this.#message;
    if (message === undefined) return this.#judged("503 5.5.1 Error: need RCPT command");
    this.#stage = "END-OF-MESSAGE";
    const end = await message.end();
    const { log, metrics } = this.#context;
    let reply: Reply;
    if (end.kind === "queued") {
      logClient(log, message.id, this.#client);
      logMessageId(log, message.id, end.messageId === "" ? "<>" : end.messageId);
      metrics.messages.increment();
      this.#limits.messageQueued();
      this.#statistics.countAccepted("DATA");
      reply = `250 2.0.0 Ok: queued as ${message.id}`;
    } else {
      if (end.cause !== undefined) log.warning(`message not queued: ${end.cause}`, message.id);
      reply = this.#soft(end.reply);
      this.#logReject("END-OF-MESSAGE", reply);
    }
    this.#endTransaction();
    return this.#judged(reply);
  }

  /** The client was silent for too long. */
  timedOut(): Reply {
    this.#lose("timeout");
    return `421 4.4.2 ${this.#context.settings.myhostname} Error: timeout exceeded`;
  }

  /** The server stops. */
  shutDown(): Reply {
    return this.#farewell(
      `421 4.3.2 ${this.#context.settings.myhostname} Service shutting down, closing transmission channel`,
    );
  }

  /** The connection is gone, by whomever. */
  disconnected(): void {
    if (!this.#isFarewell) this.#lose("lost connection");
    logDisconnect(this.#context.log, this.#client, this.#statistics.byName());
    this.#context.metrics.disconnects.increment();
  }

  // ------------------------------------------------------------------------------------------ commands

  helo(rest: string): Reply {
    return this.#hello(rest, false) ?? `250 ${this.#context.settings.myhostname}`;
  }

  ehlo(rest: string): Reply {
    return this.#hello(rest, true) ?? this.#extensions();
  }

  mail(rest: string): Reply {
    const { settings, intake } = this.#context;
    if (settings.heloRequired && this.#helo === undefined) {
      return "503 5.5.1 Error: send HELO/EHLO first";
    }
    if (this.#transaction !== undefined) return "503 5.5.1 Error: nested MAIL command";
    const path = parsePathCommand(rest, "FROM:");
    if (path === undefined) return "501 5.5.4 Syntax: MAIL FROM:<address>";
    const sender = path.address;
    if (sender === undefined) return "501 5.1.7 Bad sender address syntax";
    if (!isAscii(sender)) return "553 5.6.7 Internationalized sender address not supported";
    const parameters = parseMailParameters(path.parameters, this.#verp);
    if (typeof parameters === "string") return parameters;
    const { size = 0, ...kept } = parameters;
    const limit = settings.message.messageSizeLimit;
    if (limit > 0 && size > limit) {
      return this.#rejected("MAIL", "552 5.3.4 Message size exceeds fixed limit", { sender });
    }
    if (kept.verpDelimiters !== undefined && sender === "") {
      return "503 5.5.4 Error: XVERP requires non-null sender";
    }
    const trouble = refusalOf(intake);
    if (trouble !== undefined) return this.#rejected("MAIL", trouble, { sender });
    this.#transaction = { sender, parameters: kept, recipients: [], overshoot: 0 };
    return "250 2.1.0 Ok";
  }

  rcpt(rest: string): Reply {
    const transaction = this.#transaction;
    if (transaction === undefined) return "503 5.5.1 Error: need MAIL command";
    const path = parsePathCommand(rest, "TO:");
    if (path === undefined) return "501 5.5.4 Syntax: RCPT TO:<address>";
    const address = path.address;
    if (address === undefined || address === "") return "501 5.1.3 Bad recipient address syntax";
    if (!isAscii(address)) return "553 5.6.7 Internationalized recipient address not supported";
    const parameters = parseRcptParameters(path.parameters);
    if (typeof parameters === "string") return parameters;
    const { settings, relayGuard } = this.#context;
    if (transaction.recipients.length >= settings.recipientLimit) {
      this.#isErrorForgiven = ++transaction.overshoot <= settings.recipientOvershootLimit;
      return "452 4.5.3 Error: too many recipients";
    }
    const refused = relayGuard.refuse(address, this.#isTrusted);
    if (refused !== undefined) {
      return this.#rejected("RCPT", refused, { sender: transaction.sender, recipient: address });
    }
    transaction.recipients.push({ address, ...parameters });
    return "250 2.1.5 Ok";
  }

  data(rest: string): Reply {
    const transaction = this.#transaction;
    if (transaction === undefined) return "503 5.5.1 Error: need RCPT command";
    if (rest !== "") return "501 5.5.4 Syntax: DATA";
    if (transaction.recipients.length === 0) return "554 5.5.1 Error: no valid recipients";
    const { intake, deadline, inFlow, settings, clock } = this.#context;
    const trouble = refusalOf(intake);
    if (trouble !== undefined) {
      return this.#rejected("DATA", trouble, { sender: transaction.sender });
    }
    this.#message = new IncomingMessage({
      intake,
      deadline,
      inFlow,
      settings: settings.message,
      envelope: this.#envelope(transaction),
      recipients: transaction.recipients,
      id: intake.newId(),
      arrivalMs: clock.nowMs(),
      context: this.#context.isOwnAddress(this.#client.address) ? "local" : "remote",
      isBareNewlineRefused: this.#refusesBareNewline,
    });
    this.#mode = "content";
    return "354 End data with <CR><LF>.<CR><LF>";
  }

  rset(rest: string): Reply {
    if (rest !== "") return "501 5.5.4 Syntax: RSET";
    this.#endTransaction();
    return "250 2.0.0 Ok";
  }

  noop(): Reply {
    return "250 2.0.0 Ok";
  }

  /** Says yes to what RCPT would take, and never whether an address exists. */
  vrfy(rest: string): Reply {
    const path = parsePathCommand(`TO:${rest}`, "TO:");
    if (path === undefined) return "501 5.5.4 Syntax: VRFY address";
    const { address } = path;
    if (address === undefined || address === "" || path.parameters.length > 0) {
      return "501 5.1.3 Bad recipient address syntax";
    }
    const refused = this.#context.relayGuard.refuse(address, this.#isTrusted);
    if (refused === undefined) return `252 2.0.0 ${printable(address)}`;
    return this.#rejected("VRFY", refused, { recipient: address });
  }

  quit(rest: string): Reply {
    if (rest !== "") return "501 5.5.4 Syntax: QUIT";
    return this.#farewell("221 2.0.0 Bye");
  }

  // ------------------------------------------------------------------------------------------- helpers

  #hello(rest: string, isEsmtp: boolean): Reply | undefined {
    if (rest === "" || rest.length > longestHelo)
      return `501 Syntax: ${isEsmtp ? "EHLO" : "HELO"} hostname`;
    this.#endTransaction();
    this.#helo = harmlessHelo(rest);
    this.#isEsmtp = isEsmtp;
    return undefined;
  }

  #extensions(): Reply {
    const { settings } = this.#context;
    const limit = settings.message.messageSizeLimit;
    const lines = [
      settings.myhostname,
      "PIPELINING",
      limit > 0 ? `SIZE ${limit}` : "SIZE",
      "VRFY",
      ...(this.#verp === undefined ? [] : ["XVERP"]),
      "ENHANCEDSTATUSCODES",
      "8BITMIME",
    ];
    return `${lines.map((line) => `250-${line}\r\n`).join("")}250 DSN`;
  }

  #unknown(verb: string, line: string): Reply {
    if (isRefused(verb)) {
      const refusal = refusals[verb];
      return replyCode(refusal) === "521" ? this.#farewell(refusal) : refusal;
    }
    if (forbiddenCommands.has(verb) || headerLike.test(line) || /^[^A-Za-z]/.test(line)) {
      this.#context.log.warning(
        `non-SMTP command from ${this.#clientText()}: ${printable(line.slice(0, 100))}`,
      );
      return this.#farewell("221 2.7.0 Error: I can break rules, too. Goodbye.");
    }
    return "500 5.5.2 Error: command not recognized";
  }

  #mustWait(command: Command | undefined): boolean {
    if (!this.#context.settings.forbidUnauthPipelining) return false;
    return !this.#isEsmtp || command?.endsPipeline === true;
  }

  get #refusesBareNewline(): boolean {
    return this.#context.settings.rejectBareNewline && !this.#isTrusted;
  }

  /** Counts a refusal as an error, softens it, and ends a session with too many errors. */
  #judged(reply: Reply): Reply {
    const { settings } = this.#context;
    const shown = isFailure(reply) ? this.#countedRefusal(reply) : reply;
    if (this.#mode !== "commands" || !this.#limits.isExhausted) return shown;
    return this.#farewell(`${shown}\r\n421 4.7.0 ${settings.myhostname} Error: too many errors`);
  }

  #countedRefusal(reply: Reply): Reply {
    if (!this.#isErrorForgiven) this.#limits.countError();
    this.#isErrorForgiven = false;
    const shown = this.#soft(reply);
    this.#context.metrics.rejects.increment({ code: replyCode(shown) });
    return shown;
  }

  #soft(reply: Reply): Reply {
    return this.#context.settings.softBounce ? softened(reply) : reply;
  }

  #farewell(reply: Reply): Reply {
    this.#mode = "closed";
    this.#isFarewell = true;
    return reply;
  }

  #lose(how: "lost connection" | "timeout"): void {
    const after = this.#message === undefined ? this.#stage : this.#contentStage(this.#message);
    logLostConnection(this.#context.log, this.#client, { after, how });
    this.#context.metrics.lostConnections.increment({ after_stage: this.#stage });
    this.#message?.abort();
    this.#mode = "closed";
    this.#isFarewell = true;
  }

  #contentStage(message: IncomingMessage): string {
    return this.#stage === "DATA" ? `DATA (${message.receivedBytes} bytes)` : this.#stage;
  }

  #endTransaction(): void {
    this.#transaction = undefined;
    this.#message = undefined;
    if (this.#mode === "content") this.#mode = "commands";
  }

  #envelope({ sender, parameters }: Transaction): Envelope {
    const { name, address, port } = this.#client;
    const client: ClientAttributes = {
      name,
      address,
      port,
      protocol: this.#isEsmtp ? "ESMTP" : "SMTP",
      ...(this.#helo === undefined ? {} : { helo: this.#helo }),
    };
    return { sender, origin: "smtp", ...parameters, client };
  }

  #rejected(
    command: string,
    reply: Reply,
    about: { readonly sender?: string; readonly recipient?: string },
  ): Reply {
    this.#logReject(command, this.#soft(reply), about);
    return reply;
  }

  #logReject(
    command: string,
    reply: Reply,
    about: { readonly sender?: string; readonly recipient?: string } = {
      ...(this.#transaction === undefined ? {} : { sender: this.#transaction.sender }),
    },
  ): void {
    logReject(this.#context.log, {
      id: this.#message?.id,
      command,
      client: this.#client,
      reply,
      ...about,
      protocol: this.#isEsmtp ? "ESMTP" : "SMTP",
      helo: this.#helo,
    });
  }

  #clientText(): string {
    return `${this.#client.name}[${this.#client.address}]`;
  }
}

const commands: ReadonlyMap<string, Command> = new Map(
  (
    [
      {
        name: "HELO",
        answer: (dialogue, rest) => dialogue.helo(rest),
        isJunk: true,
        endsPipeline: true,
      },
      {
        name: "EHLO",
        answer: (dialogue, rest) => dialogue.ehlo(rest),
        isJunk: true,
        endsPipeline: true,
      },
      { name: "MAIL", answer: (dialogue, rest) => dialogue.mail(rest) },
      { name: "RCPT", answer: (dialogue, rest) => dialogue.rcpt(rest) },
      { name: "DATA", answer: (dialogue, rest) => dialogue.data(rest), endsPipeline: true },
      { name: "RSET", answer: (dialogue, rest) => dialogue.rset(rest), isJunk: true },
      { name: "NOOP", answer: (dialogue) => dialogue.noop(), isJunk: true, endsPipeline: true },
      {
        name: "VRFY",
        answer: (dialogue, rest) => dialogue.vrfy(rest),
        isJunk: true,
        endsPipeline: true,
      },
      { name: "QUIT", answer: (dialogue, rest) => dialogue.quit(rest) },
    ] satisfies readonly Command[]
  ).map((command) => [command.name, command]),
);

function isAscii(address: string): boolean {
  return !/\P{ASCII}/u.test(address);
}

/** As Postfix neuters it: it ends up in Received and in the log. */
function harmlessHelo(name: string): string {
  return name.replaceAll(/[^\u0021-\u007E]|[<>()\\";@]/g, "?");
}
