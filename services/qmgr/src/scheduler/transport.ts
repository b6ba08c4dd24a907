/**
 * The jobs of one transport, and which of their requests goes next.
 *
 * The order of the jobs is that of their messages' arrival in active (or of their fair share), but for those that
 * overtake. The next request belongs to the first job in that order that has a place free at one of its
 * destinations. That job is found from the destinations' side: each destination lists its waiting peers in the order of
 * their jobs, and the transport lists the destinations that may start in the order of their first peers. So a job
 * that is blocked (S20) is never looked at, and each step costs the logarithm of what waits, however many wait.
 *
 * Source: spec S19 to S22, S30; Postfix src/qmgr/qmgr_job.c, qmgr_transport.c.
 */
import type { ActiveMessage } from "../message.ts";
import { mustGoAlone } from "../message.ts";
import { bestCandidate, canPayFor, mayBeOvertaken, payForCompany } from "./candidate.ts";
import type { SlotRules } from "./candidate.ts";
import { Candidates } from "./candidates.ts";
import type { DestinationQueue, DestinationRules, Suspension } from "./destination.ts";
import type { Entry } from "./entry.ts";
import type { FairShare } from "./fair-share.ts";
import { Heap } from "./heap.ts";
import { Job } from "./job.ts";
import { compareKeys } from "./order.ts";
import type { JobKey } from "./order.ts";
import { Peer } from "./peer.ts";

export type TransportRules = SlotRules & {
  readonly destination: DestinationRules;
  /** transport_rate_delay; above 0 one request of the transport is out at a time. */
  readonly rateDelayMs: number;
};

type Ready = {
  readonly key: JobKey;
  readonly turn: number;
  readonly destination: DestinationQueue;
};

export class Transport {
  readonly name: string;
  readonly rules: TransportRules;
  /** Places taken at its destinations together. */
  busy = 0;
  #pausedUntilMs: number | undefined;
  #throttle: (Suspension & { readonly untilMs: number }) | undefined;
  readonly #fairShare: FairShare | undefined;
  readonly #destinationOf: (name: string) => DestinationQueue | undefined;
  /** Jobs with requests that are not over. */
  readonly #jobs = new Map<ActiveMessage, Job>();
  /** Those of them with requests still to be sent. */
  readonly #unsent = new Candidates();
  readonly #ready = new Heap<Ready>((a, b) => compareKeys(a.key, b.key) || a.turn - b.turn);
  #turns = 0;
  /** The job whose turn it was at the last choice, whether or not it was overtaken then. */
  #current: Job | undefined;
  /** The last choice of a candidate, for whom and when; it stands until something changes. */
  #candidate:
    | { readonly current: Job; readonly second: number; readonly best: Job | undefined }
    | undefined;

  constructor(parts: {
    readonly name: string;
    readonly rules: TransportRules;
    /** undefined: plain order of arrival. */
    readonly fairShare: FairShare | undefined;
    readonly destinationOf: (name: string) => DestinationQueue | undefined;
  }) {
    this.name = parts.name;
    this.rules = parts.rules;
    this.#fairShare = parts.fairShare;
    this.#destinationOf = parts.destinationOf;
  }

  get hasReady(): boolean {
    if (this.#throttle !== undefined || this.#pausedUntilMs !== undefined) return false;
    if (this.rules.rateDelayMs > 0 && this.busy > 0) return false;
    return this.#firstReady() !== undefined;
  }

  // ------------------------------------------------------------------------------------------- requests

  /** A request to be, or one that comes back untried. */
  enqueue(entry: Entry, destination: DestinationQueue): void {
    const job = this.#job(entry.message);
    const peer = this.#peer(job, entry, destination);
    if (entry.isOpen) {
      job.selected -= 1;
    } else {
      job.read += 1;
      peer.open += 1;
      entry.isOpen = true;
      this.#fairShare?.charge(entry.message.shareKey);
    }
    peer.push(entry);
    destination.waiting += 1;
    this.#unsent.add(job);
    this.#candidate = undefined;
    destination.list(peer);
    this.settle(destination);
  }

  #job(message: ActiveMessage): Job {
    const known = this.#jobs.get(message);
    if (known !== undefined) return known;
    const share = this.#fairShare?.start(message.shareKey);
    const job = new Job(message, share === undefined ? [message.order] : [share, message.order]);
    this.#jobs.set(message, job);
    return job;
  }

  #peer(job: Job, entry: Entry, destination: DestinationQueue): Peer {
    const known = job.peers.get(entry.queueName);
    if (known !== undefined) return known;
    const { message, queueName } = entry;
    const peer = new Peer({ message, queueName, job, site: destination });
    peer.turn = this.#nextTurn();
    job.peers.set(queueName, peer);
    destination.openPeers.add(peer);
    return peer;
  }

  /** Behind all others of its job. */
  #nextTurn(): number {
    this.#turns += 1;
    return this.#turns;
  }

  /** The message's waiting requests, taken out. They are not over yet. */
  abandon(message: ActiveMessage): readonly Entry[] {
    const job = this.#jobs.get(message);
    if (job === undefined) return [];
    const entries: Entry[] = [];
    for (const [name, peer] of job.peers) {
      const drained = peer.drain();
      entries.push(...drained);
      const destination = this.#destinationOf(name);
      if (destination !== undefined) destination.waiting -= drained.length;
    }
    job.selected += entries.length;
    this.#retireIfSent(job);
    return entries;
  }

  /** Waiting requests of many messages were taken out at a destination. */
  takenOut(entries: readonly Entry[]): void {
    for (const { message } of entries) {
      const job = this.#jobs.get(message);
      if (job === undefined) continue;
      job.selected += 1;
      this.#retireIfSent(job);
    }
  }

  /** A request is over, whatever came of it. */
  over(entry: Entry, destination: DestinationQueue): void {
    const job = this.#jobs.get(entry.message);
    const peer = job?.peers.get(entry.queueName);
    if (job === undefined || peer === undefined || !entry.isOpen) return;
    entry.isOpen = false;
    peer.open -= 1;
    if (peer.open > 0) return;
    job.peers.delete(entry.queueName);
    destination.openPeers.delete(peer);
    if (job.peers.size > 0) return;
    this.#retire(job);
    this.#jobs.delete(entry.message);
  }

  holds(message: ActiveMessage, queueName: string): boolean {
    return this.#jobs.get(message)?.peers.has(queueName) === true;
  }

  /** Some of its jobs of this message has overtaken another (its recipients may use the extra pool). */
  isOvertaking(message: ActiveMessage): boolean {
    return this.#jobs.get(message)?.parent !== undefined;
  }

  // --------------------------------------------------------------------------------------------- choice

  /** Something changed at the destination: it may be one that may start. */
  settle(destination: DestinationQueue): void {
    if (!destination.mayStart) return;
    this.#unsent.freed(destination);
    const peer = destination.firstPeer();
    if (peer === undefined) return;
    const { key } = peer.job;
    const { readyAs } = destination;
    if (readyAs?.key === key && readyAs.turn === peer.turn) return;
    const ready: Ready = { key, turn: peer.turn, destination };
    destination.readyAs = ready;
    this.#ready.push(ready);
    this.#candidate = undefined;
  }

  /**
   * The destination whose first request goes next. One must be ready.
   *
   * Every call may let a small job overtake the one whose turn it would be (S21).
   */
  choose(nowMs: number): DestinationQueue | undefined {
    const ready = this.#firstReady();
    const job = ready && this.#jobOfFirst(ready.destination);
    this.#current = job;
    if (ready === undefined || job === undefined) return undefined;
    const overtaking = this.#overtaking(job, nowMs);
    if (overtaking === undefined) return ready.destination;
    overtaking.overtake(job, this.rules.slotCost);
    this.#candidate = undefined;
    for (const [name, peer] of overtaking.peers) {
      const destination = this.#destinationOf(name);
      destination?.list(peer);
      if (destination !== undefined) this.settle(destination);
    }
    return this.#firstReady()?.destination;
  }

  #jobOfFirst(destination: DestinationQueue): Job | undefined {
    const peer = destination.firstPeer();
    return peer && this.#jobs.get(peer.message);
  }

  #overtaking(current: Job, nowMs: number): Job | undefined {
    if (!mayBeOvertaken(current, this.rules)) return undefined;
    const second = Math.floor(nowMs / 1000);
    if (this.#candidate?.current !== current || this.#candidate.second !== second) {
      const best = bestCandidate(current, this.#unsent, this.rules, nowMs);
      this.#candidate = { current, second, best };
    }
    const { best } = this.#candidate;
    return best !== undefined && canPayFor(current, best, this.rules) ? best : undefined;
  }

  #firstReady(): Ready | undefined {
    for (;;) {
      const ready = this.#ready.first;
      if (ready === undefined) return undefined;
      const { destination, key, turn } = ready;
      if (destination.readyAs === ready) {
        const peer = destination.mayStart ? destination.firstPeer() : undefined;
        if (peer !== undefined && peer.job.key === key && peer.turn === turn) return ready;
        destination.readyAs = undefined;
        this.#ready.pop();
        this.settle(destination);
      } else this.#ready.pop();
    }
  }

  /** The destination's next requests, at most `most`; one that must go alone comes alone. */
  take(destination: DestinationQueue, most: number): readonly Entry[] {
    const taken: Entry[] = [];
    while (taken.length < most) {
      const peer = destination.firstPeer();
      if (peer === undefined) break;
      const isAlone = mustGoAlone(peer.message);
      if (taken.length > 0 && (isAlone || !this.#mayComeAlong(peer))) break;
      const entry = peer.shift();
      if (entry === undefined) break;
      taken.push(entry);
      destination.waiting -= 1;
      peer.turn = this.#nextTurn();
      this.#sent(peer.message);
      if (isAlone) break;
    }
    return taken;
  }

  /** It would go before requests of the job whose turn it is, which wait for other destinations. */
  #mayComeAlong(peer: Peer): boolean {
    const current = this.#current;
    if (current === undefined || compareKeys(peer.job.key, current.key) <= 0) return true;
    return payForCompany(current, this.rules);
  }

  #sent(message: ActiveMessage): void {
    const job = this.#jobs.get(message);
    if (job === undefined) return;
    job.countSlot();
    const [start] = job.key;
    if (start !== undefined) this.#fairShare?.served(start);
    if (this.#candidate?.best === job) this.#candidate = undefined;
    this.#retireIfSent(job);
  }

  #retireIfSent(job: Job): void {
    if (job.isSent) this.#retire(job);
  }

  #retire(job: Job): void {
    this.#unsent.delete(job);
    job.leaveStack(this.rules.slotCost);
    if (this.#candidate?.best === job || this.#candidate?.current === job)
      this.#candidate = undefined;
  }

  // --------------------------------------------------------------------------------------------- pauses

  /** A place at one of its destinations is free again; with a rate delay, all of them rest (S30). */
  placeFreed(nowMs: number): void {
    this.busy -= 1;
    if (this.rules.rateDelayMs > 0) this.#pausedUntilMs = nowMs + this.rules.rateDelayMs;
  }

  /** S35: what waits is to be deferred by the caller, and new mail likewise, until then. */
  throttle(why: Suspension, untilMs: number): void {
    this.#throttle = { ...why, untilMs };
  }

  lift(): void {
    this.#throttle = undefined;
  }

  get throttled(): (Suspension & { readonly untilMs: number }) | undefined {
    return this.#throttle;
  }

  /** When its pause ends (a throttle ends by a wake of its own). */
  get wakeMs(): number | undefined {
    return this.#pausedUntilMs;
  }

  wake(nowMs: number): void {
    if (this.#throttle !== undefined && this.#throttle.untilMs <= nowMs) this.#throttle = undefined;
    if (this.#pausedUntilMs !== undefined && this.#pausedUntilMs <= nowMs) {
      this.#pausedUntilMs = undefined;
    }
  }
}
