/**
 * One attempt to deliver one request: find servers, talk to them in turn, one outcome for each recipient.
 *
 * Recipients that get a 4xx, or whose conversation breaks, are tried at the next address within the same attempt; a
 * 5xx is final (D6). What nobody has said a final word about is deferred with the last reason. What one server said
 * is on its way to the store before another one is asked, so that a crash leaves no more in doubt than it must.
 *
 * Departs: after a conversation that broke when the dot was out, no other server is tried in this attempt: the message
 * may have been accepted, and it is better sent again after the backoff than at once (D11). Recipients that got a 452
 * while others were accepted go in a further transaction over the same connection (faults.md 30).
 *
 * An attempt is over by half of daemon_timeout, whatever drips in meanwhile: the watchdog, which ends the process with all
 * that it has in flight, is for bugs and not for servers.
 *
 * Source: spec D1 to D12, D26, S35, delivery.md §6, §8; faults.md 29; Postfix src/smtp/smtp_connect.c, smtp_trouble.c.
 */
import type { ClaimedRequest, ConnectionToken, Delivering } from "@postmq/queue-store";
import { siteOfHosts } from "@postmq/routing";
import { destinationKey, enhancedStatus, isPostmqError } from "@postmq/vocabulary";
import type {
  RecipientOutcome,
  RequestEnd,
  SiteFeedback,
  StoredRecipient,
} from "@postmq/vocabulary";

import type { OutgoingContent } from "../content/outgoing-content.ts";
import type { NoServer } from "../servers/find-servers.ts";
import type { ServerAddress } from "../servers/order-addresses.ts";
import { ServerPlan, softenOwnMistake } from "../servers/server-plan.ts";
import type {
  OperatorsChoice,
  PlannedHop,
  PlanSettings,
  ServerProtocol,
} from "../servers/server-plan.ts";
import type { ConnectionCache } from "../session/connection-cache.ts";
import { isFitForCommand } from "../session/mail-commands.ts";
import type {
  SessionSettings,
  SessionWishes,
  SmtpSession,
  Transaction,
} from "../session/smtp-session.ts";
import type { SourceAddress } from "../session/source-address.ts";
import { AttemptState } from "./attempt-state.ts";
import type { OutcomeRules, RecipientReport, Trouble } from "./attempt-state.ts";
import {
  changedContent,
  goesAsItIs,
  mailToSend,
  refuseWhatServerCannotTake,
} from "./mail-to-send.ts";
import type { ChangedContent, MailFor } from "./mail-to-send.ts";
import { openSession, withoutTls } from "./open-session.ts";
import type { OpenAnswer } from "./open-session.ts";
import { serves, sessionWishes } from "./session-wishes.ts";
import type { SecuritySettings } from "./session-wishes.ts";
import { successReportFor } from "./success-report.ts";
import { applyOwnTrouble, applyVerdicts } from "./transaction-verdicts.ts";
import { withVerpSender } from "./verp-request.ts";

export type AttemptSettings = {
  readonly session: SessionSettings;
  readonly plan: PlanSettings;
  /** Next hops that the operator chose for mail of this sender (D5). */
  readonly relayhostsFor: (sender: string) => readonly string[];
  readonly protocolOf: (transport: string) => ServerProtocol;
  readonly connectTimeoutMs: number;
  /** For a whole attempt, all of its servers. */
  readonly attemptLimitMs: number;
  readonly sourceFor: (transport: string, address: string) => SourceAddress;
  readonly security: SecuritySettings;
  /** 0: no limit. */
  readonly sessionLimit: number;
  readonly outgoing: OutgoingContent;
  readonly outcomes: OutcomeRules;
  readonly confirmDelayCleared: boolean;
  readonly lmtpAssumeFinal: boolean;
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
  /** The attempt goes on, and no dot is out without its reply. `takeFacts` gives the final outcomes not yet recorded. */
  readonly onAnswered: (takeFacts: () => readonly RecipientOutcome[]) => void;
  /** Sends final outcomes on their way while the attempt goes on. */
  readonly record: (outcomes: readonly RecipientOutcome[]) => void;
  /** The server spoke out of turn (D9); undefined: nobody wants to know. */
  readonly onProtocolError: ((session: SmtpSession) => void) | undefined;
  /** Something that an operator may want to see, about this message. */
  readonly onNotice: (level: "info" | "warning", text: string) => void;
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

type Refused = Extract<OpenAnswer, { readonly kind: "refused" }>;

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
  /** The sender of the message: that of the request names the recipient, with VERP. */
  readonly #messageSender: string;
  readonly #tools: AttemptTools;
  readonly #state: AttemptState;
  /** On the clock of `performance.now()`. */
  readonly #deadlineMs: number;
  #kept: SmtpSession | undefined;
  /** The first session that is still good is kept, and no other. */
  #hasKept = false;
  #sessions = 0;
  /** The server of the session that was there already, once it has been heard: it is not asked again (D26). */
  #knownServer: Pick<ServerAddress, "address" | "port"> | undefined;

  constructor(request: ClaimedRequest, tools: AttemptTools) {
    this.#request = withVerpSender(request);
    this.#messageSender = request.envelope.sender;
    this.#tools = tools;
    this.#state = new AttemptState(request.recipients, tools.settings.outcomes);
    this.#deadlineMs = performance.now() + tools.settings.attemptLimitMs;
  }

  async run(held: SmtpSession | undefined): Promise<AttemptResult> {
    this.#refuseUnfitAddresses();
    const course = this.#isDone ? "over" : await this.#tryKnownSession(held);
    if (course !== "over") await this.#tryNexthops();
    const { end, isCrowded, unreadableReason } = this.#state;
    return {
      end,
      reports: this.#state.reports(),
      feedback: this.#state.feedback(),
      isCrowded,
      ...(unreadableReason === undefined ? {} : { reason: unreadableReason }),
      ...(this.#kept === undefined ? {} : { session: this.#kept }),
    };
  }

  get #isDone(): boolean {
    return this.#state.pending.length === 0;
  }

  get #isLate(): boolean {
    return performance.now() >= this.#deadlineMs;
  }

  /** D15's commands can't be made of these; what is malformed is told to the sender. */
  #refuseUnfitAddresses(): void {
    const isSenderUnfit = !isFitForCommand(this.#request.envelope.sender);
    for (const recipient of this.#state.pending) {
      if (!isSenderUnfit && isFitForCommand(recipient.address)) continue;
      const status = enhancedStatus(isSenderUnfit ? "5.1.7" : "5.1.3");
      const reason = `bad ${isSenderUnfit ? "sender" : "recipient"} address syntax`;
      this.#state.report(recipient, { kind: "failed", status, reason });
    }
  }

  // --------------------------------------------------------------------------------- where to go

  async #tryKnownSession(held: SmtpSession | undefined): Promise<Course> {
    const cached = held === undefined ? this.#tools.cache.take(this.#cacheKey) : undefined;
    const session = held ?? cached;
    if (session === undefined) return "next";
    const { security } = this.#tools.settings;
    const isAlike = serves(session, this.#request.envelope.sender, security);
    if (isAlike !== true && !(await isAlike)) {
      session.quit();
      return "next";
    }
    const isCounted = session.countsAt === this.#tools.countsAt;
    if (!isCounted && !(await this.#countHere(session))) return "over";
    const course = await this.#converse(session, cached !== undefined);
    if (course === "next") this.#knownServer = session.server;
    return course;
  }

  get #cacheKey(): string {
    return destinationKey(this.#request.destination);
  }

  /** Where limits hold per recipient, a connection counts at the one whom it serves (S16). @returns false: no place */
  async #countHere(session: SmtpSession): Promise<boolean> {
    const { takeToken } = this.#tools;
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
    if (this.#state.pending.every((recipient) => this.#state.isDeferred(recipient))) return;
    this.#state.isCrowded = true;
    this.#state.end = "putBack";
    this.#tools.onNotice("info", `no connection to ${this.#tools.countsAt} came free: put back`);
  }

  async #tryNexthops(): Promise<void> {
    const { destination } = this.#request;
    const { plan, relayhostsFor, protocolOf } = this.#tools.settings;
    const protocol = protocolOf(destination.transport);
    const planned = ServerPlan.of(destination.nexthop, {
      ...plan,
      // There is none for LMTP.
      ...(protocol === "lmtp" ? { fallbackRelay: "" } : {}),
      protocol,
      relayhosts: relayhostsFor(this.#messageSender),
      recipients: this.#state.pending.map(({ address }) => address),
      onWarning: (text) => this.#tools.onNotice("warning", text),
    });
    if (!(planned instanceof ServerPlan)) {
      this.#applyNoServer(planned);
      return;
    }
    for (let hop = await planned.next(); hop !== undefined; hop = await planned.next()) {
      if ((await this.#tryHop(hop)) === "over") return;
    }
    if (planned.noServer !== undefined) this.#applyNoServer(planned.noServer);
  }

  /** No time is left for a server. */
  #applyLateness(): void {
    const status = enhancedStatus("4.4.2");
    const reason = "delivery timed out: no time was left for another server";
    for (const recipient of this.#state.pending) {
      if (!this.#state.isDeferred(recipient))
        this.#state.report(recipient, { kind: "deferred", status, reason });
    }
  }

  /** Only those that no server has spoken about. */
  #applyNoServer({ kind, status, reason }: NoServer): void {
    if (kind === "deferred") this.#noteOwnTrouble({ status, reason });
    else this.#state.isCompleted = true;
    for (const recipient of this.#state.pending) {
      if (this.#state.isDeferred(recipient)) continue;
      const outcome = kind === "bounced" ? "failed" : "deferred";
      this.#state.report(recipient, { kind: outcome, status, reason });
    }
  }

  /** D4: at most so many sessions for a next hop; those that fail before they stand do not count. */
  async #tryHop(hop: PlannedHop): Promise<Course> {
    const { sessionLimit } = this.#tools.settings;
    this.#state.tellsNothing ||= this.#isElsewhere(hop);
    for (const server of hop.servers) {
      if (isSameServer(server, this.#knownServer)) continue;
      if (sessionLimit > 0 && this.#sessions >= sessionLimit) break;
      if (this.#isLate) {
        this.#applyLateness();
        return "over";
      }
      this.#layAside();
      if ((await this.#tryServer(server, hop)) === "over") return "over";
    }
    this.#sessions = 0;
    return "next";
  }

  /**
   * The servers are not those of the site at which the request counts: DNS has changed its mind since the mail was
   * grouped. What they do must not be held against the site, lest anybody speak ill of one that is not theirs.
   */
  #isElsewhere({ hosts, chosenBy }: PlannedHop): boolean {
    const { site, nexthop } = this.#request.destination;
    if (site === undefined || chosenBy !== undefined) return false;
    return siteOfHosts(nexthop, hosts) !== site;
  }

  /** Trouble of the next hop's own making (its DNS, its policy) tells nothing of a site that it shares with others. */
  #noteOwnTrouble(trouble: Trouble): void {
    if (this.#request.destination.site === undefined) this.#state.trouble ??= trouble;
  }

  async #tryServer(server: ServerAddress, hop: PlannedHop): Promise<Course> {
    const wishes = await this.#wishesFor(server, hop);
    if ("reason" in wishes) {
      this.#noteOwnTrouble(wishes);
      this.#state.deferAll(wishes);
      return "next";
    }
    const course = await this.#tryWith(server, wishes, hop);
    if (course !== "plain") return course;
    if (this.#isLate) return "next";
    // D23: the session under TLS broke. The mail is not worth less for that.
    const again = await this.#tryWith(server, withoutTls(wishes), hop);
    return again === "plain" ? "next" : again;
  }

  async #wishesFor(server: ServerAddress, hop: PlannedHop): Promise<SessionWishes | Trouble> {
    const { sender } = this.#request.envelope;
    const { settings } = this.#tools;
    return await sessionWishes(settings.security, {
      server,
      hop,
      sender,
      protocol: settings.protocolOf(this.#request.destination.transport),
    });
  }

  async #tryWith(
    server: ServerAddress,
    wishes: SessionWishes,
    { chosenBy }: PlannedHop,
  ): Promise<Course | "plain"> {
    const { settings, takeToken, onNotice } = this.#tools;
    const mayTryPlain = this.#mayTryPlain(wishes);
    const { transport } = this.#request.destination;
    const opened = await openSession(server, {
      session: settings.session,
      wishes,
      connectTimeoutMs: settings.connectTimeoutMs,
      deadlineMs: this.#deadlineMs,
      sourceFor: (address) => settings.sourceFor(transport, address),
      takeToken,
      mayTryPlain,
      logsTls: settings.security.logsTls,
      onNotice,
    });
    this.#state.sessionReadyMs = performance.now();
    switch (opened.kind) {
      case "crowded":
        this.#crowd();
        return "over";
      case "refused":
        this.#noteProtocolError(opened.session);
        this.#applyRefusal(opened.isLoop ? this.#ownMistake(opened, chosenBy) : opened);
        return this.#isDone ? "over" : "next";
      case "open": {
        const { session } = opened;
        const course = await this.#converse(session, false);
        return course === "next" && mayTryPlain && session.hasFailedUnderTls ? "plain" : course;
      }
    }
  }

  /** D23: only where TLS is optional, for mail that has waited already, and not with a password in hand. */
  #mayTryPlain({ tls, login }: SessionWishes): boolean {
    const { activeMs, arrivalMs, envelope } = this.#request;
    const { plainAfterMs } = this.#tools.settings.security;
    const isFree = login === undefined && envelope.requireTls !== true;
    return tls?.level === "may" && isFree && activeMs - arrivalMs >= plainAfterMs;
  }

  /** D5: a relay host that turns out to be ourselves bounces no mail. */
  #ownMistake(refused: Refused, chosenBy: OperatorsChoice | undefined): Refused {
    const { onNotice } = this.#tools;
    const kind = refused.isPermanent ? "bounced" : "deferred";
    const softened = softenOwnMistake({ kind, ...refused.trouble }, chosenBy, (text) =>
      onNotice("warning", text),
    );
    const { status, reason } = softened;
    return { ...refused, isPermanent: softened.kind === "bounced", trouble: { status, reason } };
  }

  #applyRefusal(refused: Refused): void {
    const { trouble, isPermanent, isSiteTrouble, session } = refused;
    if (!isPermanent) this.#tools.onNotice("info", trouble.reason);
    if (isSiteTrouble) this.#state.trouble = trouble;
    for (const recipient of this.#state.pending) {
      const kind = isPermanent ? "failed" : "deferred";
      this.#state.report(recipient, { kind, ...trouble }, session);
    }
  }

  // --------------------------------------------------------------------------------- conversation

  async #converse(session: SmtpSession, wasIdle: boolean): Promise<Course> {
    const { delivering, approveDot, onNotice } = this.#tools;
    const { outgoing } = this.#tools.settings;
    session.deadlineMs = this.#deadlineMs;
    const mail = { request: this.#request, session, delivering, outgoing, approveDot, onNotice };
    const changed = goesAsItIs(mail) ? undefined : await this.#prepare(mail);
    if (changed === "unreadable") {
      // Nothing was said yet. One that was idle is not worth an RSET of its own.
      session.quit();
      return "over";
    }
    let wanted = changed === "refused" ? [] : this.#state.pending;
    let needsRset = wasIdle;
    while (wanted.length > 0) {
      this.#recordWhatIsFinal();
      const content = changed === "refused" ? undefined : changed;
      const transaction = await session.transact(mailToSend(wanted, mail, content), needsRset);
      if (transaction.wasStale) return "stale";
      needsRset = false;
      if (applyOwnTrouble(this.#state, transaction, onNotice)) return "over";
      const facts = { session, asked: wanted, transaction, owedFor: this.#owedFor, onNotice };
      wanted = applyVerdicts(this.#state, facts);
      if (transaction.broken?.stage === "dot" && !this.#isDone) return "over";
      if (!this.#isDone) this.#tools.onAnswered(() => this.#state.takeNewlyFinal());
      if (this.#isLate) break;
    }
    this.#sessions += 1;
    this.#noteProtocolError(session);
    this.#keep(session);
    return this.#isDone ? "over" : "next";
  }

  /** @returns content in place of the stored one; refused: nobody gets it; unreadable: it can't be read now, or ever */
  async #prepare(mail: MailFor): Promise<ChangedContent | "refused" | "unreadable" | undefined> {
    try {
      if (await refuseWhatServerCannotTake(this.#state, mail)) return "refused";
      return await changedContent(this.#state, mail);
    } catch (contentError) {
      if (!isPostmqError(contentError)) throw contentError;
      applyOwnTrouble(this.#state, { ...nothingSaid, contentError }, mail.onNotice);
      return "unreadable";
    }
  }

  /** Before a further dot can go out: a crash after that one must leave in doubt only those whom it is for (D6). */
  #recordWhatIsFinal(): void {
    const fresh = this.#state.takeNewlyFinal();
    if (fresh.length > 0) this.#tools.record(fresh);
  }

  readonly #owedFor = (recipient: StoredRecipient, session: SmtpSession) => {
    const { confirmDelayCleared, lmtpAssumeFinal } = this.#tools.settings;
    return successReportFor(recipient, {
      offersDsn: session.offers.has("DSN"),
      isLmtp: this.#tools.settings.protocolOf(this.#request.destination.transport) === "lmtp",
      assumesFinal: lmtpAssumeFinal,
      confirmsDelay: confirmDelayCleared && this.#request.wasWarned,
    });
  };

  /** Not for a notice itself, nor for a report: the postmaster may be behind that very server (D28). */
  #noteProtocolError(session: SmtpSession | undefined): void {
    if (session?.hasProtocolError !== true || this.#request.envelope.origin === "bounce") return;
    this.#tools.onProtocolError?.(session);
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
}

const nothingSaid: Transaction = { verdicts: [], wasStale: false, isDotRefused: false };

function isSameServer(
  one: ServerAddress,
  other: Pick<ServerAddress, "address" | "port"> | undefined,
): boolean {
  return one.address === other?.address && one.port === other.port;
}
