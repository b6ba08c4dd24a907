/**
 * One destination: its window, the places that are taken at it, the requests that wait for it, and whether it is dead.
 *
 * A place is one delivery job, and so one connection at a time, however many requests the job carries.
 *
 * States:  ready  --failed cohorts-->  dead  --time, a success, a flush-->  ready
 *          ready  --a request ended, rate delay-->  paused  --time-->  ready
 *
 * Source: spec S16, S23 to S32; Postfix src/qmgr/qmgr_queue.c.
 */
import type { DestinationReport } from "@postmq/queue-store";
import type { Destination, EnhancedStatus, SiteFeedback } from "@postmq/vocabulary";
import { EndedRate } from "./ended-rate.ts";
import type { Entry } from "./entry.ts";
import { afterGood, afterTrouble, freshWindow, revivedWindow, rounded } from "./feedback.ts";
import type { WindowRules, WindowState } from "./feedback.ts";
import { Heap } from "./heap.ts";
import { compareKeys } from "./order.ts";
import type { JobKey } from "./order.ts";
import type { ListedPeer, Peer } from "./peer.ts";

export type DestinationRules = WindowRules & {
  /** destination_rate_delay; above 0 the limit is one. */
  readonly rateDelayMs: number;
  /** How long it stays dead: minimal_backoff_time. */
  readonly deadMs: number;
};

/** Why mail is not tried. */
export type Suspension = { readonly status: EnhancedStatus; readonly reason: string };

/** How much one new measurement of speed counts against the ones before it. */
const paceWeight = 0.5;
/** A request that starts so soon after the last one ended comes back to back (S32). */
const backToBackMs = 1000;

export class DestinationQueue {
  readonly name: string;
  readonly destination: Destination;
  readonly rules: DestinationRules;
  /** Places taken. Adopted ones may exceed the window: they were taken before this leader. */
  busy = 0;
  /** Requests that wait. */
  waiting = 0;
  /** Jobs (messages) with requests here that are not over. */
  readonly openPeers = new Set<Peer>();
  /** Messages that went back to deferred because this one holds its share of active (S31). */
  surplus = 0;
  /** Under which its transport lists it as one that may start. */
  readyAs: { readonly key: JobKey; readonly turn: number } | undefined;
  /** When it is looked at whether it may be forgotten; undefined: not planned. */
  forgetAtMs: number | undefined;
  /** When its share of active was last warned of. */
  warnedMs = Number.NEGATIVE_INFINITY;
  #window: WindowState;
  #dead: DestinationReport["dead"];
  #pausedUntilMs: number | undefined;
  #lastTrouble: DestinationReport["lastTrouble"];
  #lastDoneMs = Number.NEGATIVE_INFINITY;
  #keepsConnection = false;
  #paceMs: number | undefined;
  readonly #ended = new EndedRate();
  readonly #peers = new Heap<ListedPeer>((a, b) => compareKeys(a.key, b.key));

  constructor(name: string, destination: Destination, rules: DestinationRules) {
    this.name = name;
    this.destination = destination;
    this.rules = rules;
    this.#window = freshWindow(rules);
  }

  /** Places that may be taken at once; 0 while it is dead or rests (S24). */
  get window(): number {
    return this.#pausedUntilMs === undefined ? this.#window.window : 0;
  }

  get mayStart(): boolean {
    return this.busy < this.window && this.waiting > 0;
  }

  /** Nothing of it is left to look after: it may be forgotten (S23). */
  get isIdle(): boolean {
    return this.busy === 0 && this.openPeers.size === 0 && this.surplus === 0;
  }

  /** Until then its pace, and that its deliveries come back to back, are worth remembering (S32). */
  get rememberedUntilMs(): number {
    return this.#lastDoneMs + backToBackMs;
  }

  /** It is idle: whoever comes next begins at the initial window again (S23). */
  rest(): void {
    if (!this.isDead) this.#window = freshWindow(this.rules);
  }

  get isDead(): boolean {
    return this.#dead !== undefined;
  }

  get isPaused(): boolean {
    return this.#pausedUntilMs !== undefined;
  }

  /** What a request took lately, in ms; undefined before a job of several has ended. */
  get msPerRequest(): number | undefined {
    return this.#paceMs;
  }

  /** Why new mail for it is deferred without an attempt, or undefined (S28). */
  get suspension(): Suspension | undefined {
    if (this.#dead === undefined) return undefined;
    const { status, reason } = this.#dead;
    return { status, reason: `delivery temporarily suspended: ${reason}` };
  }

  // ------------------------------------------------------------------------------------------- requests

  /** The waiting peer whose job comes first. */
  firstPeer(): Peer | undefined {
    for (;;) {
      const listed = this.#peers.first;
      if (listed === undefined) return undefined;
      const { peer, key } = listed;
      if (peer.listedAs === key && peer.job.key === key && peer.waiting > 0 && !peer.isParked) {
        return peer;
      }
      this.#peers.pop();
      if (peer.listedAs === key) peer.listedAs = undefined;
      this.list(peer);
    }
  }

  /** The peer may have come to wait, or to another place in the order. */
  list(peer: Peer): void {
    const { key } = peer.job;
    if (peer.waiting === 0 || peer.isParked || peer.listedAs === key) return;
    peer.listedAs = key;
    this.#peers.push({ key, peer });
  }

  /** All that wait, taken out. */
  drain(): readonly Entry[] {
    const entries = [...this.openPeers].flatMap((peer) => peer.drain());
    this.waiting = 0;
    return entries;
  }

  // --------------------------------------------------------------------------------------------- places

  /** A place is taken. @returns whether its connection is worth keeping (S32). */
  takePlace(nowMs: number): boolean {
    this.busy += 1;
    const isBackToBack = nowMs <= this.#lastDoneMs + backToBackMs;
    if (isBackToBack) this.#keepsConnection = true;
    else if (this.busy === 1) this.#keepsConnection = false;
    return this.#keepsConnection;
  }

  /** A place is free again. With a rate delay, nobody takes it for a while (S30). */
  freePlace(nowMs: number): void {
    this.busy -= 1;
    this.#lastDoneMs = nowMs;
    if (this.rules.rateDelayMs > 0) this.#pausedUntilMs = nowMs + this.rules.rateDelayMs;
  }

  countEnded(nowMs: number): void {
    this.#ended.add(nowMs);
  }

  /** So many requests took so long, one after another. */
  measure(served: { readonly requests: number; readonly tookMs: number }): void {
    const pace = served.tookMs / served.requests;
    this.#paceMs =
      this.#paceMs === undefined ? pace : this.#paceMs + (pace - this.#paceMs) * paceWeight;
  }

  // ------------------------------------------------------------------------------------------- feedback

  /**
   * What a request said of the site. To be told before its place is free.
   *
   * @returns true: the destination is dead from now on, and what waits must be deferred.
   */
  takeFeedback(feedback: SiteFeedback, nowMs: number): boolean {
    switch (feedback.kind) {
      case "none":
        return false;
      case "good":
        if (this.isDead) this.#revive();
        else this.#window = afterGood(this.#window, this.rules, this.busy);
        return false;
      case "trouble":
        return this.#takeTrouble(feedback, nowMs);
      default:
        return feedback satisfies never;
    }
  }

  #takeTrouble({ status, reason }: Suspension, nowMs: number): boolean {
    this.#lastTrouble = { atMs: nowMs, status, reason };
    if (this.isDead) return false;
    this.#window = afterTrouble(this.#window, this.rules);
    if (this.#window.window > 0) return false;
    if (this.rules.rateDelayMs > 0) {
      // S30: it is revived, and rests like after any request.
      this.#revive();
      return false;
    }
    this.#dead = { sinceMs: nowMs, untilMs: nowMs + this.rules.deadMs, status, reason };
    return true;
  }

  #revive(): void {
    this.#dead = undefined;
    this.#window = revivedWindow(this.rules, this.busy);
  }

  /** An operator, or a message of one, lifts the dead mark (S29). */
  lift(): void {
    if (this.isDead) this.#revive();
  }

  /** When the next state ends by itself. */
  get wakeMs(): number | undefined {
    return this.#dead?.untilMs ?? this.#pausedUntilMs;
  }

  /** Ends what is over by the clock. */
  wake(nowMs: number): void {
    if (this.#dead !== undefined && this.#dead.untilMs <= nowMs) this.#revive();
    if (this.#pausedUntilMs !== undefined && this.#pausedUntilMs <= nowMs) {
      this.#pausedUntilMs = undefined;
    }
  }

  // -------------------------------------------------------------------------------------------- reports

  report(nowMs: number): DestinationReport {
    const { window, success, failure, failedCohorts } = this.#window;
    const { concurrencyLimit } = this.rules;
    return {
      name: this.name,
      destination: this.destination,
      window: this.isPaused ? 0 : window,
      limit: concurrencyLimit === 0 ? null : concurrencyLimit,
      inFlight: this.busy,
      waiting: this.waiting,
      surplus: this.surplus,
      success: rounded(success),
      failure: rounded(failure),
      failedCohorts: rounded(failedCohorts),
      ...(this.#dead === undefined ? {} : { dead: this.#dead }),
      ...(this.#pausedUntilMs === undefined ? {} : { pausedUntilMs: this.#pausedUntilMs }),
      ...(this.#lastTrouble === undefined ? {} : { lastTrouble: this.#lastTrouble }),
      endedPerMinute: this.#ended.perMinute(nowMs),
      updatedMs: nowMs,
    };
  }

  /** Takes up what an earlier leader left: its window, its dead mark, its surplus. Pauses are forgotten (S30). */
  restore(report: DestinationReport, nowMs: number): void {
    const { success, failure, failedCohorts, window, dead } = report;
    const most = this.rules.concurrencyLimit === 0 ? Infinity : this.rules.concurrencyLimit;
    if (window !== null && window > 0) {
      this.#window = { window: Math.min(window, most), success, failure, failedCohorts };
    }
    if (dead !== undefined && dead.untilMs > nowMs) {
      this.#dead = dead;
      this.#window = { ...this.#window, window: 0 };
    }
    this.#lastTrouble = report.lastTrouble;
    this.surplus = report.surplus;
  }
}
