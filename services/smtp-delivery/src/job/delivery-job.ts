/**
 * One delivery job: requests of one destination, claimed in one call and served in series over one connection.
 *
 * Important: `end` is called for a request as soon as its attempt is over, before anything is logged and before the
 * next message goes out: a 250 that was read is a fact that only this process knows. The job is over when all of
 * its ends are written; the bell rings no sooner than that.
 *
 * What a crash leaves: a claim, which the leader reaps; one at dot-sent is ambiguous (DESIGN §3). Each message's final
 * dot is written only after `markDotSent` said that the claim is still ours.
 *
 * Source: DESIGN §3; faults.md 7, 9, 40.
 */
import type { ClaimedRequest, Delivering, RequestResult } from "@postmq/queue-store";
import type { RecipientOutcome, RequestName } from "@postmq/vocabulary";
import { destinationKey } from "@postmq/vocabulary";

import { attempt } from "../attempt/attempt.ts";
import type { AttemptResult, AttemptSettings } from "../attempt/attempt.ts";
import type { ConnectionCache } from "../session/connection-cache.ts";
import type { ConnectionRules } from "../session/connection-rules.ts";
import { mayTryNext } from "./job-budget.ts";
import type { ProtocolNotices } from "./protocol-notice.ts";
import type { SmtpSession } from "../session/smtp-session.ts";

export type JobTools = {
  readonly delivering: Pick<
    Delivering,
    "claim" | "markDotSent" | "record" | "end" | "readContent" | "connections"
  >;
  readonly connectionRules: ConnectionRules;
  readonly settings: AttemptSettings;
  readonly cache: ConnectionCache;
  /** undefined: notify_classes has no protocol (D9). */
  readonly protocolNotices: ProtocolNotices | undefined;
  /** Minds an attempt until it is over. */
  readonly watch: (name: RequestName) => Disposable;
  /** Fires when no further request may be tried. */
  readonly draining: AbortSignal;
  /** Told of each attempt once its end is on its way. */
  readonly onAttempt: (request: ClaimedRequest, result: AttemptResult, startedMs: number) => void;
  readonly onNotice: (level: "info" | "warning", text: string, name?: RequestName) => void;
  /** Redis TIME, as far as known. */
  readonly nowMs: () => number;
};

type HeldSession = {
  /** In the cache. */
  readonly key: string;
  readonly session: SmtpSession;
  readonly keepsIdle: boolean;
};

/** takeFacts: what came of it so far, and is not recorded yet. */
type Revocable = {
  readonly name: RequestName;
  readonly takeFacts: () => readonly RecipientOutcome[];
};

export class DeliveryJob {
  readonly #tools: JobTools;
  readonly #startedMs = performance.now();
  readonly #ends: Promise<void>[] = [];
  #held: HeldSession | undefined;
  #tried = 0;
  /** Trouble with the site, or no place there: the rest would only meet the same. */
  #hasSiteTrouble = false;
  /** The request that is being tried, but not while its dot may be out without a reply. */
  #revocable: Revocable | undefined;
  #givenBack: RequestName | undefined;
  #isGivenUp = false;

  readonly #keepsConnection: boolean;

  /** @param keepsConnection the scheduler wants the connection kept (S32) */
  constructor(tools: JobTools, keepsConnection: boolean) {
    this.#tools = tools;
    this.#keepsConnection = keepsConnection;
  }

  /** Serves the requests. Resolves when every end is written. */
  async serve(names: readonly RequestName[]): Promise<void> {
    const answers = await this.#tools.delivering.claim(names);
    for (const [index, name] of names.entries()) {
      const answer = answers[index] ?? "stale";
      if (typeof answer !== "string") await this.#serveOne(answer);
      else if (answer === "unreadable") this.#endUnreadable(name);
    }
    if (this.#held !== undefined) this.#layDown(this.#held);
    await Promise.all(this.#ends);
  }

  /**
   * The process must end: what has not sent its dot yet, or its next one, never will, and is put back with what came of it.
   *
   * @returns when that is written; what is after its dot is left to its claim
   */
  async giveUp(): Promise<void> {
    this.#isGivenUp = true;
    if (this.#revocable === undefined) return;
    const { name, takeFacts } = this.#revocable;
    this.#givenBack = name;
    this.#revocable = undefined;
    await this.#tools.delivering.end(putBack(name, takeFacts()));
  }

  async #serveOne(request: ClaimedRequest): Promise<void> {
    const { name } = request;
    if (request.recipients.length === 0) {
      this.#end({ name, end: "tried", outcomes: [], feedback: { kind: "none" } });
    } else if (this.#mayTry()) await this.#try(request);
    else this.#end(putBack(name));
  }

  #mayTry(): boolean {
    const state = {
      runningMs: performance.now() - this.#startedMs,
      hasSiteTrouble: this.#hasSiteTrouble,
      isDraining: this.#tools.draining.aborted || this.#isGivenUp,
    };
    return mayTryNext(state, this.#tried);
  }

  async #try(request: ClaimedRequest): Promise<void> {
    const { name } = request;
    const { settings, cache, delivering, connectionRules, draining } = this.#tools;
    const { onNotice, onAttempt, nowMs } = this.#tools;
    const startedMs = nowMs();
    this.#tried += 1;
    this.#revocable = { name, takeFacts: () => [] };
    const { destination } = request;
    const key = destinationKey(destination);
    const countsAt = connectionRules.nameOf(request);
    const limit = connectionRules.limitOf(destination.transport);
    const tools = {
      settings,
      cache,
      delivering,
      countsAt,
      takeToken: () => delivering.connections.take({ name: countsAt, limit, signal: draining }),
      keepsIdle: connectionRules.keeps(destination.nexthop, this.#keepsConnection),
      approveDot: () => this.#approveDot(name),
      onAnswered: (takeFacts: Revocable["takeFacts"]) => {
        if (!this.#isGivenUp) this.#revocable = { name, takeFacts };
      },
      onProtocolError: this.#tools.protocolNotices && this.#noteProtocolError,
      record: (outcomes: readonly RecipientOutcome[]) =>
        void this.#ends.push(delivering.record(name, outcomes)),
      onNotice: (level: "info" | "warning", text: string) => onNotice(level, text, name),
    };
    using _watchdog = this.#tools.watch(name);
    const result = await attempt(request, tools, this.#takeHeld(key));
    // The end first, before anything else: see the note at the top.
    this.#endAttempt(name, result);
    if (result.session !== undefined) {
      this.#held = { key, session: result.session, keepsIdle: tools.keepsIdle };
    }
    if (result.feedback.kind === "trouble" || result.isCrowded) this.#hasSiteTrouble = true;
    onAttempt(request, result, startedMs);
  }

  #endAttempt(name: RequestName, result: AttemptResult): void {
    this.#revocable = undefined;
    if (this.#givenBack === name) return;
    this.#end({
      name,
      end: result.end,
      outcomes: result.reports.map((report) => report.outcome),
      feedback: result.feedback,
      ...(result.reason === undefined ? {} : { reason: result.reason }),
    });
  }

  #endUnreadable(name: RequestName): void {
    const reason = "the message can't be read";
    this.#end({ name, end: "unreadable", outcomes: [], feedback: { kind: "none" }, reason });
    this.#tools.onNotice("warning", reason, name);
  }

  /** The fence of DESIGN §3: the claim is still ours, and nobody has given the request back meanwhile. */
  async #approveDot(name: RequestName): Promise<boolean> {
    const isOurs = await this.#tools.delivering.markDotSent(name);
    if (!isOurs || this.#isGivenUp) return false;
    this.#revocable = undefined;
    return true;
  }

  readonly #noteProtocolError = ({ server, transcript }: SmtpSession): void => {
    const noted = this.#tools.protocolNotices?.(server, transcript?.lines ?? []);
    if (noted !== undefined) this.#ends.push(noted);
  };

  #takeHeld(key: string): SmtpSession | undefined {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return undefined;
    if (held.key === key && this.#tools.cache.mayContinue(held.session)) return held.session;
    this.#layDown(held);
    return undefined;
  }

  /** The job needs it no more. */
  #layDown({ key, session, keepsIdle }: HeldSession): void {
    if (keepsIdle) this.#tools.cache.put(key, session);
    else session.quit();
  }

  #end(result: RequestResult): void {
    this.#ends.push(this.#tools.delivering.end(result));
  }
}

function putBack(name: RequestName, outcomes: readonly RecipientOutcome[] = []): RequestResult {
  return { name, end: "putBack", outcomes, feedback: { kind: "none" } };
}
