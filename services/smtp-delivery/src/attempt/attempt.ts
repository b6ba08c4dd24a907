/**
 * One attempt to deliver one request: find servers, talk to them in turn, one outcome for each recipient.
 *
 * Recipients that get a 4xx, or whose conversation breaks, are tried at the next address within the same attempt; a
 * 5xx is final (D6). What nobody has said a final word about is deferred with the last reason.
 *
 * Departs: after a conversation that broke when the dot was out, no other server is tried in this attempt: the message
 * may have been accepted, and it is better sent again after the backoff than at once (D11). Recipients that got a 452
 * while others were accepted go in a further transaction over the same connection (faults.md 30).
 *
 * A connection is opened under a token of its destination (DESIGN §4), which the session owns from then on; while there
 * is none to be had, nothing is tried and nobody is to blame.
 *
 * Source: spec D1 to D12, D15, D16, D18, D26, delivery.md §6, §8; Postfix src/smtp/smtp_connect.c, smtp_trouble.c.
 */
import type { ClaimedRequest, ConnectionToken, Delivering } from "@postmq/queue-store";
import { destinationKey, enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type {
  EnhancedStatus,
  OutcomeKind,
  RecipientOutcome,
  RemoteReply,
  RequestEnd,
  SiteFeedback,
  StoredRecipient,
} from "@postmq/vocabulary";

import type { ConnectionCache } from "../session/connection-cache.ts";
import { dial } from "../session/dial.ts";
import { findServers } from "../servers/find-servers.ts";
import type { FindOptions, NoServer } from "../servers/find-servers.ts";
import {
  hasUtf8,
  isFitForCommand,
  mailCommand,
  rcptCommand,
  sizeLimit,
} from "../session/mail-commands.ts";
import { parseNexthopList } from "../servers/nexthop.ts";
import type { Nexthop } from "../servers/nexthop.ts";
import type { ServerAddress } from "../servers/order-addresses.ts";
import { brokenReason, refusalOf, sentStatus } from "../session/reply-verdict.ts";
import { SmtpSession, shownHost } from "../session/smtp-session.ts";
import type {
  MailToSend,
  ServerName,
  SessionSettings,
  Transaction,
} from "../session/smtp-session.ts";

export type AttemptSettings = {
  readonly session: SessionSettings;
  readonly find: FindOptions;
  readonly connectTimeoutMs: number;
  readonly bindAddress: string;
  /** 0: no limit. */
  readonly sessionLimit: number;
  readonly relayhost: string;
};

export type AttemptTools = {
  readonly settings: AttemptSettings;
  readonly cache: ConnectionCache;
  readonly delivering: Pick<Delivering, "readContent">;
  /** Leave to open a connection for this request; undefined: its destination has no place for one more. */
  readonly takeToken: () => Promise<ConnectionToken | undefined>;
  /** Where a connection for this request counts. */
  readonly countsAt: string;
  /** A session is kept idle while another server is tried. */
  readonly keepsIdle: boolean;
  /** Asked right before each final dot of this request. */
  readonly approveDot: () => Promise<boolean>;
  /** Something that an operator may want to see, about this message. */
  readonly onNotice: (level: "info" | "warning", text: string) => void;
};

/** What became of a recipient, with what the log says of it. */
export type RecipientReport = {
  readonly recipient: StoredRecipient;
  readonly outcome: RecipientOutcome;
  readonly server?: ServerName;
  readonly uses: number;
  /** From the start of the attempt until the session stood, and from then on. */
  readonly setupMs: number;
  readonly transmissionMs: number;
};

export type AttemptResult = {
  readonly end: RequestEnd;
  readonly reports: readonly RecipientReport[];
  readonly feedback: SiteFeedback;
  /** For `unreadable`. */
  readonly reason?: string;
  /** Put back since the destination has no place for one more connection. */
  readonly isCrowded: boolean;
  /** A session that may carry the next message of this job. */
  readonly session?: SmtpSession;
};

type Trouble = { readonly status: EnhancedStatus; readonly reason: string };
type Verdict = Trouble & { readonly kind: OutcomeKind; readonly reply?: string };
/** next: recipients are left for another server. stale: the cached session had ended. over: nothing more to try. */
type Course = "next" | "stale" | "over";

/** @param held a session that the job already has */
export function attempt(
  request: ClaimedRequest,
  tools: AttemptTools,
  held?: SmtpSession,
): Promise<AttemptResult> {
  return new Attempt(request, tools).run(held);
}

class Attempt {
  readonly #request: ClaimedRequest;
  readonly #tools: AttemptTools;
  readonly #startedMs = performance.now();
  #sessionReadyMs = this.#startedMs;
  /** Recipients without a final word, in order. */
  #pending: readonly StoredRecipient[];
  readonly #settled: RecipientReport[] = [];
  readonly #deferred = new Map<number, RecipientReport>();
  #isCompleted = false;
  #trouble: Trouble | undefined;
  #end: RequestEnd = "tried";
  #unreadableReason: string | undefined;
  #kept: SmtpSession | undefined;
  /** The first session that is still good is kept, and no other. */
  #hasKept = false;
  #isCrowded = false;
  #sessions = 0;
  /** The server of the session that was there already, once it has been heard: it is not asked again (D26). */
  #knownServer: Pick<ServerAddress, "address" | "port"> | undefined;

  constructor(request: ClaimedRequest, tools: AttemptTools) {
    this.#request = request;
    this.#tools = tools;
    this.#pending = request.recipients;
  }

  async run(held: SmtpSession | undefined): Promise<AttemptResult> {
    this.#refuseUnfitAddresses();
    const course = this.#pending.length === 0 ? "over" : await this.#tryKnownSession(held);
    if (course !== "over") await this.#tryNexthops();
    return this.#result();
  }

  // --------------------------------------------------------------------------------- where to go

  async #tryKnownSession(held: SmtpSession | undefined): Promise<Course> {
    const cached = held === undefined ? this.#tools.cache.take(this.#cacheKey) : undefined;
    const session = held ?? cached;
    if (session === undefined) return "next";
    if (!(await this.#countHere(session))) return "over";
    const course = await this.#converse(session, cached !== undefined);
    if (course === "next") this.#knownServer = session.server;
    return course;
  }

  get #cacheKey(): string {
    return destinationKey(this.#request.destination);
  }

  /** Where limits hold per recipient, a connection counts at the one whom it serves (S16). @returns false: no place */
  async #countHere(session: SmtpSession): Promise<boolean> {
    const { takeToken, countsAt } = this.#tools;
    if (session.countsAt === countsAt) return true;
    // Given back first: two that each want what the other has would wait for nothing.
    session.countNowhere();
    const token = await takeToken();
    if (token === undefined) {
      session.quit();
      this.#crowd();
      return false;
    }
    session.countUnder(token);
    return true;
  }

  /** No place for one more connection. Who has been answered elsewhere keeps that answer; else nothing was tried. */
  #crowd(): void {
    if (this.#pending.every(({ number }) => this.#deferred.has(number))) return;
    this.#isCrowded = true;
    this.#end = "putBack";
    this.#tools.onNotice("info", `no connection to ${this.#tools.countsAt} came free: put back`);
  }

  async #tryNexthops(): Promise<void> {
    const { nexthop } = this.#request.destination;
    const nexthops = parseNexthopList(nexthop);
    if (nexthops === undefined) {
      this.#deferAll({ status: enhancedStatus("4.3.5"), reason: `malformed next hop: ${nexthop}` });
      return;
    }
    let noServer: NoServer | undefined;
    for (const item of nexthops) {
      const found = await findServers(item, {
        ...this.#tools.settings.find,
        allowsPrivate: this.#allowsPrivate(item),
      });
      if (found.kind !== "servers") {
        if (noServer?.kind !== "deferred") noServer = this.#softenForRelayhost(found);
      } else if ((await this.#tryServers(found.servers)) === "over") return;
    }
    if (noServer !== undefined) this.#applyNoServer(noServer);
  }

  /**
   * Whether a private address may be dialled: always if the operator says so; else only one that the operator wrote
   * in brackets, which a recipient's address literal is not (security.md 10).
   */
  #allowsPrivate(nexthop: Nexthop): boolean {
    const { find, relayhost } = this.#tools.settings;
    if (find.allowsPrivate) return true;
    if (!nexthop.isLiteral) return false;
    const text = this.#request.destination.nexthop.toLowerCase();
    if (nexthop.hasPort || text === relayhost.toLowerCase()) return true;
    return !this.#pending.some(({ address }) => address.toLowerCase().endsWith(`@${text}`));
  }

  /** D5: a mistake in our own routing bounces no mail. */
  #softenForRelayhost(found: NoServer): NoServer {
    const isRelayhost = this.#request.destination.nexthop === this.#tools.settings.relayhost;
    if (!isRelayhost || found.kind === "deferred") return found;
    this.#tools.onNotice("warning", `relayhost configuration problem: ${found.reason}`);
    return { kind: "deferred", status: enhancedStatus("4.3.5"), reason: found.reason };
  }

  /** Only those that no server has spoken about. */
  #applyNoServer(found: NoServer): void {
    if (found.kind === "deferred" && this.#trouble === undefined) this.#siteTrouble(found);
    if (found.kind === "bounced") this.#isCompleted = true;
    for (const recipient of this.#pending) {
      if (this.#deferred.has(recipient.number)) continue;
      const kind = found.kind === "bounced" ? "failed" : "deferred";
      this.#report(recipient, { kind, status: found.status, reason: found.reason });
    }
  }

  async #tryServers(servers: readonly ServerAddress[]): Promise<Course> {
    const { sessionLimit } = this.#tools.settings;
    for (const server of servers) {
      if (isSameServer(server, this.#knownServer)) continue;
      if (sessionLimit > 0 && this.#sessions >= sessionLimit) break;
      this.#layAside();
      const session = await this.#open(server);
      if (session === "crowded") return "over";
      if (session === undefined) {
        if (this.#pending.length === 0) return "over";
        continue;
      }
      if ((await this.#converse(session, false)) === "over") return "over";
    }
    this.#sessions = 0;
    return "next";
  }

  /** @returns undefined when there is no talking to this address; why is noted. */
  async #open(server: ServerAddress): Promise<SmtpSession | "crowded" | undefined> {
    const { settings, takeToken } = this.#tools;
    const token = await takeToken();
    if (token === undefined) {
      this.#crowd();
      return "crowded";
    }
    const socket = await dial({
      address: server.address,
      port: server.port,
      bindAddress: settings.bindAddress,
      timeoutMs: settings.connectTimeoutMs,
    });
    if (typeof socket === "string") {
      token[Symbol.dispose]();
      const reason = `connect to ${shownHost(server)}:${server.port}: ${socket}`;
      this.#tools.onNotice("info", reason);
      this.#siteTrouble({ status: enhancedStatus("4.4.1"), reason });
      this.#deferAll({ status: enhancedStatus("4.4.1"), reason });
      return undefined;
    }
    const session = new SmtpSession(socket, server, settings.session, token);
    const refusal = await session.begin();
    this.#sessionReadyMs = performance.now();
    if (refusal === undefined) return session;
    session.drop();
    if (!refusal.isPermanent) this.#tools.onNotice("info", refusal.reason);
    this.#siteTrouble(refusal);
    const kind = refusal.isPermanent ? "failed" : "deferred";
    for (const recipient of this.#pending) {
      this.#report(recipient, { kind, status: refusal.status, reason: refusal.reason }, session);
    }
    return undefined;
  }

  // --------------------------------------------------------------------------------- conversation

  async #converse(session: SmtpSession, wasIdle: boolean): Promise<Course> {
    let wanted = await this.#acceptableBy(session);
    let needsRset = wasIdle;
    while (wanted.length > 0) {
      const transaction = await session.transact(this.#mailFor(session, wanted), needsRset);
      if (transaction.wasStale) return "stale";
      needsRset = false;
      if (this.#applyOwnTrouble(transaction)) return "over";
      wanted = this.#applyVerdicts(session, wanted, transaction);
      if (transaction.broken?.stage === "dot" && this.#pending.length > 0) return "over";
    }
    this.#sessions += 1;
    this.#keep(session);
    return this.#pending.length === 0 ? "over" : "next";
  }

  /** D16, D18: what this server can't take is bounced without asking it. @returns who is left. */
  async #acceptableBy(session: SmtpSession): Promise<readonly StoredRecipient[]> {
    const { content } = this.#request;
    const limit = sizeLimit(session.offers);
    const host = shownHost(session.server);
    if (limit !== undefined && content.sizeBytes > limit) {
      const reason = `message size ${content.sizeBytes} exceeds size limit ${limit} of server ${host}`;
      this.#refuse(session, this.#pending, { status: enhancedStatus("5.3.4"), reason });
      return [];
    }
    if (!session.offers.has("SMTPUTF8")) {
      const isWholeMail = await this.#isUtf8Mail();
      const refused = this.#pending.filter(({ address }) => isWholeMail || hasUtf8(address));
      const reason = `SMTPUTF8 is required, but was not offered by host ${host}`;
      this.#refuse(session, refused, { status: enhancedStatus("5.6.7"), reason });
    }
    return this.#pending;
  }

  #refuse(session: SmtpSession, recipients: readonly StoredRecipient[], why: Trouble): void {
    if (recipients.length > 0) this.#isCompleted = true;
    for (const recipient of recipients)
      this.#report(recipient, { ...why, kind: "failed" }, session);
  }

  /** UTF-8 in the sender or, where the client asked for SMTPUTF8, in a header. */
  async #isUtf8Mail(): Promise<boolean> {
    const { envelope, inline, content } = this.#request;
    if (hasUtf8(envelope.sender)) return true;
    if (envelope.smtputf8 !== true) return false;
    if (inline !== undefined) return hasUtf8(headText(inline));
    for await (const chunk of this.#tools.delivering.readContent(content)) {
      return hasUtf8(headText(chunk));
    }
    return false;
  }

  #mailFor(session: SmtpSession, recipients: readonly StoredRecipient[]): MailToSend {
    const { envelope, content, inline } = this.#request;
    const { delivering, approveDot } = this.#tools;
    const { offers } = session;
    const needsSmtputf8 =
      envelope.smtputf8 === true ||
      hasUtf8(envelope.sender) ||
      recipients.some(({ address }) => hasUtf8(address));
    const facts = { envelope, sizeBytes: content.sizeBytes, needsSmtputf8 };
    return {
      mailCommand: mailCommand(facts, offers),
      rcptCommands: recipients.map((recipient) => rcptCommand(recipient, offers)),
      ...(inline === undefined ? {} : { whole: inline }),
      readContent: () => delivering.readContent(content),
      approveDot,
    };
  }

  /** The dot was not approved, or the content can't be read: no server is to blame. */
  #applyOwnTrouble(transaction: Transaction): boolean {
    const { contentError, isDotRefused } = transaction;
    if (isDotRefused) this.#end = "putBack";
    else if (isPostmqError(contentError, "PMQ_MESSAGE_UNREADABLE")) {
      this.#end = "unreadable";
      this.#unreadableReason = contentError.message;
    } else if (contentError !== undefined) {
      this.#end = "putBack";
      const why = contentError instanceof Error ? contentError.message : "unknown trouble";
      this.#tools.onNotice("warning", `content could not be read: ${why}`);
    }
    return this.#end !== "tried";
  }

  /** @returns those for whom a further transaction over this session is worth while. */
  #applyVerdicts(
    session: SmtpSession,
    asked: readonly StoredRecipient[],
    { verdicts, broken }: Transaction,
  ): readonly StoredRecipient[] {
    const host = shownHost(session.server);
    const tooMany: StoredRecipient[] = [];
    let hasSent = false;
    let isWhole = true;
    asked.forEach((recipient, index) => {
      const verdict = verdicts[index];
      if (verdict?.kind === "sent") {
        hasSent = true;
        const { reply } = verdict;
        this.#report(
          recipient,
          { kind: "sent", status: sentStatus(reply), reason: reply.text, reply: reply.text },
          session,
        );
      } else if (verdict?.kind === "refused") {
        const { reply, stage } = verdict;
        const refusal = refusalOf(reply, host, stage);
        const kind = refusal.isPermanent ? "failed" : "deferred";
        this.#report(recipient, { kind, ...refusal, reply: reply.text }, session);
        if (reply.code === 421) isWhole = false;
        if (reply.code === 452 && stage === "rcpt") tooMany.push(recipient);
      } else {
        isWhole = false;
        this.#reportBroken(recipient, session, broken);
      }
    });
    if (isWhole) this.#isCompleted = true;
    else this.#noteBroken(host, broken, verdicts);
    return hasSent && session.isReusable ? tooMany : [];
  }

  #reportBroken(
    recipient: StoredRecipient,
    session: SmtpSession,
    broken: Transaction["broken"],
  ): void {
    const { how, stage } = broken ?? { how: "lost", stage: "mail" };
    const reason = brokenReason(how, shownHost(session.server), stage);
    this.#report(recipient, { kind: "deferred", status: lostStatus, reason }, session);
  }

  #noteBroken(
    host: string,
    broken: Transaction["broken"],
    verdicts: Transaction["verdicts"],
  ): void {
    const closing = verdicts.find(
      (verdict) => verdict.kind === "refused" && verdict.reply.code === 421,
    );
    if (closing?.kind === "refused") {
      this.#siteTrouble(refusalOf(closing.reply, host, closing.stage));
      return;
    }
    const { how, stage } = broken ?? { how: "lost", stage: "mail" };
    const reason = brokenReason(how, host, stage);
    this.#siteTrouble({ status: lostStatus, reason });
    if (stage === "dot") this.#tools.onNotice("warning", reason);
  }

  /** The first session that is still good is kept for the next message; others are ended. */
  #keep(session: SmtpSession): void {
    if (this.#hasKept || !this.#tools.cache.mayContinue(session)) {
      session.quit();
      return;
    }
    this.#hasKept = true;
    this.#kept = session;
  }

  /** Before another server is dialled: a job has one connection in use. An idle one gives way to whoever needs a place. */
  #layAside(): void {
    const session = this.#kept;
    this.#kept = undefined;
    if (session === undefined) return;
    if (this.#tools.keepsIdle) this.#tools.cache.put(this.#cacheKey, session);
    else session.quit();
  }

  // ------------------------------------------------------------------------------------- outcomes

  /** D15's commands can't be made of these; what is malformed is told to the sender. */
  #refuseUnfitAddresses(): void {
    const isSenderUnfit = !isFitForCommand(this.#request.envelope.sender);
    for (const recipient of this.#pending) {
      if (!isSenderUnfit && isFitForCommand(recipient.address)) continue;
      const status = enhancedStatus(isSenderUnfit ? "5.1.7" : "5.1.3");
      const reason = `bad ${isSenderUnfit ? "sender" : "recipient"} address syntax`;
      this.#report(recipient, { kind: "failed", status, reason });
    }
  }

  #deferAll(why: Trouble): void {
    for (const recipient of this.#pending) this.#report(recipient, { ...why, kind: "deferred" });
  }

  /** A deferral stands until another server says something else; the rest is final. */
  #report(recipient: StoredRecipient, verdict: Verdict, session?: SmtpSession): void {
    const now = performance.now();
    const server = session?.server;
    const report: RecipientReport = {
      recipient,
      outcome: {
        recipient: recipient.number,
        kind: verdict.kind,
        status: verdict.status,
        reason: verdict.reason,
        ...(server === undefined ? {} : { remote: remoteOf(server, verdict.reply) }),
      },
      ...(server === undefined ? {} : { server }),
      uses: session?.uses ?? 0,
      setupMs: this.#sessionReadyMs - this.#startedMs,
      transmissionMs: now - this.#sessionReadyMs,
    };
    if (verdict.kind === "deferred") {
      this.#deferred.set(recipient.number, report);
      return;
    }
    this.#settled.push(report);
    this.#deferred.delete(recipient.number);
    this.#pending = this.#pending.filter((other) => other !== recipient);
  }

  #siteTrouble({ status, reason }: Trouble): void {
    this.#trouble = { status, reason };
  }

  #result(): AttemptResult {
    const isTried = this.#end === "tried";
    return {
      end: this.#end,
      reports: isTried ? [...this.#settled, ...this.#deferred.values()] : this.#settled,
      feedback: isTried ? this.#feedback() : { kind: "none" },
      isCrowded: this.#isCrowded,
      ...(this.#unreadableReason === undefined ? {} : { reason: this.#unreadableReason }),
      ...(this.#kept === undefined ? {} : { session: this.#kept }),
    };
  }

  #feedback(): SiteFeedback {
    if (this.#isCompleted) return { kind: "good" };
    return this.#trouble === undefined ? { kind: "none" } : { ...this.#trouble, kind: "trouble" };
  }
}

function isSameServer(
  one: ServerAddress,
  other: Pick<ServerAddress, "address" | "port"> | undefined,
): boolean {
  return one.address === other?.address && one.port === other.port;
}

const lostStatus = enhancedStatus("4.4.2");

function remoteOf(server: ServerName, reply: string | undefined): RemoteReply {
  const { host, address, port } = server;
  return reply === undefined ? { host, address, port } : { host, address, port, reply };
}

/** The header section, as bytes; headers longer than the first chunk are judged by what is in it. */
function headText(content: Buffer): string {
  const end = content.indexOf("\r\n\r\n");
  return content.toString("latin1", 0, end < 0 ? content.length : end);
}
