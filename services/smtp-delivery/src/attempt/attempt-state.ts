/**
 * What an attempt has come to so far: one verdict for each recipient, and what was learnt about the site.
 *
 * A 5xx and a 250 are final. A deferral stands until another server says something else (D6). So `pending` shrinks by
 * final verdicts only, and what is left at the end is deferred with the last reason.
 *
 * Source: spec D6, D13, D14, D31, delivery.md §6, §8.
 */
import { enhancedStatus, parseEnhancedStatus } from "@postmq/vocabulary";
import type {
  EnhancedStatus,
  OutcomeKind,
  RecipientOutcome,
  RemoteReply,
  RequestEnd,
  SiteFeedback,
  StoredRecipient,
  SuccessAction,
} from "@postmq/vocabulary";

import type { ServerName, SmtpSession } from "../session/smtp-session.ts";
import type { StatusFilter } from "./status-filter.ts";

/** What became of a recipient, with what the log says of it. */
export type RecipientReport = {
  readonly recipient: StoredRecipient;
  readonly outcome: RecipientOutcome;
  /** It would have bounced but for soft_bounce (D13). */
  readonly isSoftBounce: boolean;
  readonly server?: ServerName;
  readonly uses: number;
  /** From the start of the attempt until the session stood, and from then on. */
  readonly setupMs: number;
  readonly transmissionMs: number;
};

export type Trouble = { readonly status: EnhancedStatus; readonly reason: string };
export type Verdict = Trouble & {
  readonly kind: OutcomeKind;
  readonly reply?: string;
  readonly owesReport?: SuccessAction;
  /** A failure that another server may overcome: it is one only when no server is left. */
  readonly mayBeOvercome?: boolean;
};

export type OutcomeRules = {
  /** D13: what would bounce is deferred, and other servers are asked too. */
  readonly softBounce: boolean;
  /** D14; undefined: there is none. */
  readonly statusFilter: StatusFilter | undefined;
};

export class AttemptState {
  end: RequestEnd = "tried";
  unreadableReason: string | undefined;
  isCrowded = false;
  /** Some server has said what it had to say about somebody: then the site is in order. */
  isCompleted = false;
  trouble: Trouble | undefined;
  /** What happened is of no meaning for the destination at which the request counts. */
  tellsNothing = false;
  sessionReadyMs: number;
  readonly #startedMs: number;
  readonly #rules: OutcomeRules;
  #pending: readonly StoredRecipient[];
  readonly #settled: RecipientReport[] = [];
  readonly #deferred = new Map<number, RecipientReport>();
  #told = 0;

  constructor(recipients: readonly StoredRecipient[], rules: OutcomeRules) {
    this.#pending = recipients;
    this.#rules = rules;
    this.#startedMs = performance.now();
    this.sessionReadyMs = this.#startedMs;
  }

  /** Recipients without a final word, in order. */
  get pending(): readonly StoredRecipient[] {
    return this.#pending;
  }

  /** Some server, or its absence, has given a reason for a deferral. */
  isDeferred(recipient: StoredRecipient): boolean {
    return this.#deferred.has(recipient.number);
  }

  report(recipient: StoredRecipient, given: Verdict, session?: SmtpSession): void {
    const isSoftBounce = given.kind === "failed" && this.#rules.softBounce;
    const verdict = isSoftBounce ? softened(given) : given;
    const report = this.#describe(recipient, verdict, { isSoftBounce, session });
    const isOpen = verdict.kind === "deferred" || verdict.mayBeOvercome === true;
    if (isOpen) this.#deferred.set(recipient.number, report);
    else this.#settle(this.#filtered(report));
  }

  deferAll(why: Trouble): void {
    for (const recipient of this.#pending) this.report(recipient, { ...why, kind: "deferred" });
  }

  /** Final outcomes that this was not asked for before. */
  takeNewlyFinal(): readonly RecipientOutcome[] {
    const fresh = this.#settled.slice(this.#told).map(({ outcome }) => outcome);
    this.#told = this.#settled.length;
    return fresh;
  }

  /** One for each recipient that something was said about, at the end of the attempt. */
  reports(): readonly RecipientReport[] {
    if (this.end !== "tried") return this.#settled;
    const deferred = [...this.#deferred.values()].map((report) => this.#filtered(report));
    return [...this.#settled, ...deferred];
  }

  feedback(): SiteFeedback {
    if (this.end !== "tried" || this.tellsNothing) return { kind: "none" };
    if (this.isCompleted) return { kind: "good" };
    return this.trouble === undefined ? { kind: "none" } : { ...this.trouble, kind: "trouble" };
  }

  #settle(report: RecipientReport): void {
    this.#settled.push(report);
    this.#deferred.delete(report.recipient.number);
    this.#pending = this.#pending.filter((other) => other !== report.recipient);
  }

  #describe(
    recipient: StoredRecipient,
    verdict: Verdict,
    how: { readonly isSoftBounce: boolean; readonly session: SmtpSession | undefined },
  ): RecipientReport {
    const server = how.session?.server;
    return {
      recipient,
      outcome: {
        recipient: recipient.number,
        kind: verdict.kind,
        status: verdict.status,
        reason: verdict.reason,
        ...(server === undefined ? {} : { remote: remoteOf(server, verdict.reply) }),
        ...(verdict.owesReport === undefined ? {} : { owesReport: verdict.owesReport }),
      },
      isSoftBounce: how.isSoftBounce,
      ...(server === undefined ? {} : { server }),
      uses: how.session?.uses ?? 0,
      setupMs: this.sessionReadyMs - this.#startedMs,
      transmissionMs: performance.now() - this.sessionReadyMs,
    };
  }

  /** D14: at the last moment, so that it sees what would be recorded. */
  #filtered(report: RecipientReport): RecipientReport {
    const { statusFilter } = this.#rules;
    if (statusFilter === undefined) return report;
    return { ...report, outcome: statusFilter(report.outcome) };
  }
}

function softened(verdict: Verdict): Verdict {
  const status = parseEnhancedStatus(`4${verdict.status.slice(1)}`) ?? enhancedStatus("4.0.0");
  return { ...verdict, kind: "deferred", status };
}

function remoteOf(server: ServerName, reply: string | undefined): RemoteReply {
  const { host, address, port } = server;
  return reply === undefined ? { host, address, port } : { host, address, port, reply };
}
