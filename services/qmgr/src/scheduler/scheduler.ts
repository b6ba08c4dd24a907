/**
 * Which requests go to the workers next: Postfix's scheduler, for all workers together.
 *
 * Transports take turns; within a transport the first job that can go goes, unless a small one overtakes it; within a
 * job its destinations take turns; a destination has as many places as its window says. No more jobs are out than
 * the live workers can soon take (twice what they run at once), so that the choice is made as late as possible.
 *
 * It is pure: no I/O, the time is passed in, what happened is told to it. Its nouns are Postfix's, a file for each:
 * entry, peer, job, destination, transport; the decisions stand beside them (candidate, feedback, fair-share,
 * job-size, surplus). A step costs at most the logarithm of what waits.
 *
 * Departs: Postfix gives an agent one request at a time and has two connections to agents of a transport pending (S19).
 * Here a delivery job carries several requests of one destination when many wait (see job-size), and what is pending is
 * bounded by what workers can take.
 *
 * Source: DESIGN §4; spec S19 to S32; SCHEDULER_README.
 */
import type { DestinationReport } from "@postmq/queue-store";
import type { Destination, SiteFeedback } from "@postmq/vocabulary";
import { mustGoAlone } from "../message.ts";
import type { ActiveMessage } from "../message.ts";
import { DestinationQueue } from "./destination.ts";
import type { Suspension } from "./destination.ts";
import type { Entry } from "./entry.ts";
import { FairShare } from "./fair-share.ts";
import { Heap } from "./heap.ts";
import { jobSize } from "./job-size.ts";
import type { Peer } from "./peer.ts";
import { shareOfActive, Surplus } from "./surplus.ts";
import type { Recall } from "./surplus.ts";
import { Transport } from "./transport.ts";
import type { TransportRules } from "./transport.ts";

/** A place taken at a destination, to be given back once. */
export type Slot = { readonly destination: DestinationQueue; readonly isAlone: boolean };

/** Requests of one destination, to be served in series by one worker. */
export type DeliveryJob = {
  readonly slot: Slot;
  readonly entries: readonly Entry[];
  readonly isAlone: boolean;
  /** Its connection is worth keeping (S32). */
  readonly keepsConnection: boolean;
};

/**
 * What a job tells of its destination's speed: so many requests ended in so many ms after the first one had. So the
 * time that it waited for a worker does not count, and a job of one request tells nothing.
 */
export type JobPace = { readonly requests: number; readonly tookMs: number };

export type SchedulerOptions = {
  readonly rulesOf: (transport: string) => TransportRules;
  /** qmgr_message_active_limit. */
  readonly activeLimit: number;
  /** Records of destinations that are kept for their dead mark alone: twice qmgr_message_recipient_limit (S28). */
  readonly mostDestinations: number;
  /** Weight of a key of fair_share_key; undefined: order of arrival. */
  readonly weightOf?: ((key: string) => number) | undefined;
  /** qmgr_clog_warn_time; 0: never. */
  readonly clogWarnMs: number;
  readonly onClogged: (destination: DestinationQueue, held: number) => void;
  /** destination_concurrency_feedback_debug: told after each report of a site. */
  readonly onFeedback?: ((destination: DestinationReport) => void) | undefined;
  /** Requests in a delivery job; only tests of the order set another. */
  readonly sizeOfJob?: typeof jobSize;
};

/** Jobs out for each delivery that workers can run: one running, one on its way. */
const jobsPerPlace = 2;
/** Messages that must go alone take this part of the places at most: their processes are dear (DESIGN §3). */
const alonePart = 4;
/** What an earlier leader left of a destination is kept so long without use. */
const restoredKeptMs = 60_000;
/** Destinations told of at once; the others follow with the next call. */
const mostReports = 500;

type Wake = { readonly atMs: number; readonly target: DestinationQueue | Transport };

export class Scheduler {
  /** Deliveries that live workers can run at once. */
  capacity = 0;
  /** Requests that wait. */
  waiting = 0;
  /** Jobs out, adopted requests included. */
  jobsOut = 0;
  readonly #options: SchedulerOptions;
  readonly #share: number;
  readonly #sizeOfJob: typeof jobSize;
  readonly #transports = new Map<string, Transport>();
  /** In turns (S19): the first one's turn is next. */
  readonly #turns = new Set<Transport>();
  readonly #destinations = new Map<string, DestinationQueue>();
  readonly #wakes = new Heap<Wake>((a, b) => a.atMs - b.atMs);
  #aloneOut = 0;
  readonly #parked = new Set<Peer>();
  /** Messages in active by fair share key. */
  readonly #held = new Map<string, number>();
  readonly #surplus: Surplus;
  readonly #changed = new Set<DestinationQueue>();
  readonly #published = new Set<string>();
  #gone: string[] = [];

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#share = shareOfActive(options.activeLimit);
    this.#surplus = new Surplus(this.#share);
    this.#sizeOfJob = options.sizeOfJob ?? jobSize;
  }

  // ------------------------------------------------------------------------------------------- messages

  messageCame(message: ActiveMessage): void {
    if (this.#options.weightOf === undefined) return;
    this.#held.set(message.shareKey, (this.#held.get(message.shareKey) ?? 0) + 1);
  }

  messageLeft(message: ActiveMessage): void {
    const held = (this.#held.get(message.shareKey) ?? 0) - 1;
    if (held > 0) this.#held.set(message.shareKey, held);
    else this.#held.delete(message.shareKey);
  }

  /** Whose share of active is used up, so that the message should wait in deferred; undefined: none is (S31). */
  surplusAt(
    message: ActiveMessage,
    destination: Destination,
    queueName: string,
    nowMs: number,
  ): string | undefined {
    const { shareKey } = message;
    // Mail without a key is of many: nobody has had too much of it. What is under way goes on.
    const isNew = message.outstanding === 0 && !message.wasTried;
    if (isNew && shareKey !== "" && (this.#held.get(shareKey) ?? 0) > this.#share)
      return shareName(shareKey);
    const queue = this.#destinations.get(queueName);
    if (queue === undefined || queue.openPeers.size < this.#share) return undefined;
    if (this.#transport(destination.transport).holds(message, queueName)) return undefined;
    this.#warnOfClog(queue, nowMs);
    return queueName;
  }

  #warnOfClog(queue: DestinationQueue, nowMs: number): void {
    const { clogWarnMs, onClogged } = this.#options;
    if (clogWarnMs === 0 || nowMs < queue.warnedMs + clogWarnMs) return;
    queue.warnedMs = nowMs;
    onClogged(queue, queue.openPeers.size);
  }

  /** A message went back to deferred for that reason. */
  sentAway(name: string): void {
    this.#surplus.add(name);
    this.#showSurplus(name);
  }

  /** A message that had gone back for that reason is in active again, if only to be sent back anew. */
  cameBack(name: string): void {
    if (this.#surplus.cameBack(name)) this.#showSurplus(name);
  }

  /**
   * Whose messages may come back now; `recalled` must follow for each.
   *
   * @param room messages that active has room for
   */
  takeRecalls(room: number, isUrgent: boolean): readonly Recall[] {
    const heldBy = (name: string) =>
      name.startsWith(sharePrefix)
        ? (this.#held.get(name.slice(sharePrefix.length)) ?? 0)
        : (this.#destinations.get(name)?.openPeers.size ?? 0);
    return this.#surplus.takeRecalls(heldBy, room, isUrgent);
  }

  recalled({ name }: Recall, told: { readonly found: number; readonly left: number }): void {
    this.#surplus.recalled(name, told);
    this.#showSurplus(name);
  }

  /** All that was due has been imported, what was called back included. */
  recallsCame(): void {
    for (const name of this.#surplus.allCame()) this.#showSurplus(name);
  }

  #showSurplus(name: string): void {
    const queue = this.#destinations.get(name);
    if (queue === undefined) return;
    queue.surplus = this.#surplus.of(name);
    this.#changed.add(queue);
    this.#forgetIfIdle(queue);
  }

  // ------------------------------------------------------------------------------------------- requests

  /** A request to be, or one that was out and comes back untried. */
  enqueue(entry: Entry): void {
    const queue = this.#destination(entry.queueName, entry.destination);
    this.waiting += 1;
    this.#transport(entry.destination.transport).enqueue(entry, queue);
    this.#changed.add(queue);
  }

  /** A request is over: ended, given up, or never to be sent. */
  over(entry: Entry): void {
    const queue = this.#destinations.get(entry.queueName);
    if (queue === undefined) return;
    this.#transport(entry.destination.transport).over(entry, queue);
    this.#changed.add(queue);
    this.#forgetIfIdle(queue);
  }

  /** The waiting requests of a message that has left, taken out; `over` must follow for each. */
  abandon(message: ActiveMessage): readonly Entry[] {
    const entries = [...this.#transports.values()].flatMap((transport) =>
      transport.abandon(message),
    );
    this.waiting -= entries.length;
    return entries;
  }

  /** Why mail for it is to be deferred without an attempt, or undefined (S15, S28, S35). */
  suspensionOf(destination: Destination, queueName: string): Suspension | undefined {
    return (
      this.#transports.get(destination.transport)?.throttled ??
      this.#destinations.get(queueName)?.suspension
    );
  }

  isOvertaking(message: ActiveMessage, transport: string): boolean {
    return this.#transports.get(transport)?.isOvertaking(message) === true;
  }

  // --------------------------------------------------------------------------------------------- choice

  /** The jobs to dispatch now, of together at most `maxRequests` requests or one job. Each takes its place. */
  take(maxRequests: number, nowMs: number): readonly DeliveryJob[] {
    const jobs: DeliveryJob[] = [];
    let requests = 0;
    while (requests < maxRequests && this.jobsOut < this.capacity * jobsPerPlace) {
      const transport = this.#nextTransport();
      const queue = transport?.choose(nowMs);
      if (transport === undefined || queue === undefined) break;
      const isAlone = this.#mustGoAlone(queue);
      if (isAlone && this.#aloneOut >= this.#aloneLimit) {
        this.#park(queue);
        continue;
      }
      const entries = transport.take(queue, isAlone ? 1 : this.#jobSize(transport, queue));
      requests += entries.length;
      jobs.push(this.#jobOf(transport, queue, { entries, isAlone }, nowMs));
    }
    return jobs;
  }

  #jobOf(
    transport: Transport,
    destination: DestinationQueue,
    { entries, isAlone }: { readonly entries: readonly Entry[]; readonly isAlone: boolean },
    nowMs: number,
  ): DeliveryJob {
    const keepsConnection = destination.takePlace(nowMs);
    transport.busy += 1;
    this.jobsOut += 1;
    if (isAlone) this.#aloneOut += 1;
    this.waiting -= entries.length;
    this.#changed.add(destination);
    transport.settle(destination);
    const inOrder = byNexthop(entries);
    return { slot: { destination, isAlone }, entries: inOrder, isAlone, keepsConnection };
  }

  #nextTransport(): Transport | undefined {
    for (const transport of this.#turns) {
      if (!transport.hasReady) continue;
      this.#turns.delete(transport);
      this.#turns.add(transport);
      return transport;
    }
    return undefined;
  }

  #jobSize(transport: Transport, queue: DestinationQueue): number {
    if (queue.rules.rateDelayMs > 0 || transport.rules.rateDelayMs > 0) return 1;
    return this.#sizeOfJob({
      waiting: queue.waiting,
      window: queue.window,
      totalWaiting: this.waiting,
      capacity: this.capacity,
      msPerRequest: queue.msPerRequest,
    });
  }

  // --------------------------------------------------------------------------------- messages that go alone

  get #aloneLimit(): number {
    return Math.max(1, Math.floor(this.capacity / alonePart));
  }

  #mustGoAlone(queue: DestinationQueue): boolean {
    const peer = queue.firstPeer();
    return peer !== undefined && mustGoAlone(peer.message);
  }

  /** It waits until another one that goes alone has ended; what stands behind it goes on. */
  #park(queue: DestinationQueue): void {
    const peer = queue.firstPeer();
    if (peer === undefined) return;
    peer.isParked = true;
    this.#parked.add(peer);
  }

  /** All of them are looked at again: the first one may have left, or its destination may be full. */
  #unpark(): void {
    const parked = [...this.#parked];
    this.#parked.clear();
    for (const peer of parked) {
      peer.isParked = false;
      const queue = this.#destinations.get(peer.queueName);
      if (queue === undefined || peer.waiting === 0) continue;
      queue.list(peer);
      this.#transportOf(queue).settle(queue);
    }
  }

  // --------------------------------------------------------------------------------------------- places

  /** A request that was out before this leader counts as a job of its own. */
  adopt(queueName: string, destination: Destination, nowMs: number): Slot {
    const queue = this.#destination(queueName, destination);
    queue.takePlace(nowMs);
    this.#transportOf(queue).busy += 1;
    this.jobsOut += 1;
    this.#changed.add(queue);
    return { destination: queue, isAlone: false };
  }

  /** A job has ended. */
  release({ destination, isAlone }: Slot, pace: JobPace, nowMs: number): void {
    const transport = this.#transportOf(destination);
    destination.freePlace(nowMs);
    transport.placeFreed(nowMs);
    this.jobsOut -= 1;
    if (isAlone) this.#aloneOut -= 1;
    if (isAlone) this.#unpark();
    if (pace.requests > 0) destination.measure(pace);
    this.#wakeLater(destination);
    this.#wakeLater(transport);
    transport.settle(destination);
    this.#changed.add(destination);
    this.#forgetIfIdle(destination);
  }

  /**
   * A request ended, and this is what it said of its site. To be told before its place is given back.
   *
   * @returns requests that waited, taken out, since the destination is dead: to be deferred; `over` must follow for each.
   */
  ended({ destination }: Slot, feedback: SiteFeedback, nowMs: number): readonly Entry[] {
    destination.countEnded(nowMs);
    this.#changed.add(destination);
    const isDead = destination.takeFeedback(feedback, nowMs);
    this.#options.onFeedback?.(destination.report(nowMs));
    if (!isDead) {
      this.#transportOf(destination).settle(destination);
      return [];
    }
    this.#wakeLater(destination);
    return this.#drain(destination);
  }

  #drain(destination: DestinationQueue): readonly Entry[] {
    const entries = destination.drain();
    this.waiting -= entries.length;
    this.#transportOf(destination).takenOut(entries);
    return entries;
  }

  // -------------------------------------------------------------------------------- throttles and time

  /** No worker serves the transport: what waits for it, taken out, is to be deferred (S35). */
  throttle(name: string, why: Suspension, untilMs: number): readonly Entry[] {
    const transport = this.#transport(name);
    transport.throttle(why, untilMs);
    this.#wakes.push({ atMs: untilMs, target: transport });
    return [...this.#destinations.values()]
      .filter(({ destination }) => destination.transport === name)
      .flatMap((destination) => this.#drain(destination));
  }

  /** The names of transports with something to do. */
  get busyTransports(): readonly string[] {
    const names = [...this.#destinations.values()].map(({ destination }) => destination.transport);
    return [...new Set(names)];
  }

  get throttled(): readonly (Suspension & {
    readonly transport: string;
    readonly untilMs: number;
  })[] {
    return [...this.#transports.values()].flatMap(({ name, throttled }) =>
      throttled === undefined ? [] : [{ ...throttled, transport: name }],
    );
  }

  liftTransport(name: string): void {
    this.#transports.get(name)?.lift();
  }

  /** A flush: every throttle and dead mark is lifted (S29, S37). */
  liftAll(): void {
    for (const transport of this.#transports.values()) transport.lift();
    for (const queue of [...this.#destinations.values()]) this.#lift(queue);
  }

  /** A message that an operator flushed lifts what it meets (S29). */
  liftFor(destination: Destination, queueName: string): void {
    this.liftTransport(destination.transport);
    const queue = this.#destinations.get(queueName);
    if (queue !== undefined) this.#lift(queue);
  }

  #lift(queue: DestinationQueue): void {
    if (!queue.isDead) return;
    queue.lift();
    this.#changed.add(queue);
    this.#transportOf(queue).settle(queue);
    this.#forgetIfIdle(queue);
  }

  /** When `tick` has something to do next. */
  get nextWakeMs(): number | undefined {
    return this.#wakes.first?.atMs;
  }

  /** Ends dead marks, pauses and throttles that are over. */
  tick(nowMs: number): void {
    for (;;) {
      const wake = this.#wakes.first;
      if (wake === undefined || wake.atMs > nowMs) return;
      this.#wakes.pop();
      wake.target.wake(nowMs);
      if (wake.target instanceof DestinationQueue) this.#wakeDestination(wake.target, nowMs);
    }
  }

  #wakeDestination(queue: DestinationQueue, nowMs: number): void {
    if ((queue.forgetAtMs ?? Infinity) <= nowMs) queue.forgetAtMs = undefined;
    this.#changed.add(queue);
    this.#transportOf(queue).settle(queue);
    this.#forgetIfIdle(queue, nowMs);
  }

  #wakeLater(target: DestinationQueue | Transport): void {
    const atMs = target.wakeMs;
    if (atMs !== undefined) this.#wakes.push({ atMs, target });
  }

  // -------------------------------------------------------------------------------------------- reports

  /** What changed since the last call, a bounded part of it, for those who look on. */
  takeReports(nowMs: number): {
    readonly changed: readonly DestinationReport[];
    readonly gone: readonly string[];
  } {
    const changed: DestinationReport[] = [];
    for (const queue of this.#changed) {
      if (changed.length >= mostReports) break;
      this.#changed.delete(queue);
      if (this.#destinations.get(queue.name) !== queue) continue;
      this.#published.add(queue.name);
      changed.push(queue.report(nowMs));
    }
    const gone = this.#gone;
    this.#gone = [];
    return { changed, gone };
  }

  /**
   * Takes up what the leader before left of destinations that are worth it.
   *
   * @param liftedMs when an operator lifted all dead marks last
   */
  restore(reports: readonly DestinationReport[], nowMs: number, liftedMs = 0): void {
    for (const left of reports) {
      const { dead, ...alive } = left;
      const isLifted = dead !== undefined && dead.sinceMs <= liftedMs;
      const report: DestinationReport = isLifted ? alive : left;
      this.#published.add(report.name);
      const isRecent = report.updatedMs > nowMs - restoredKeptMs;
      const isDead = report.dead !== undefined && report.dead.untilMs > nowMs;
      if (!isDead && !isRecent && report.surplus === 0) {
        this.#noteGone(report.name);
        continue;
      }
      const queue = this.#destination(report.name, report.destination);
      queue.restore(report, nowMs);
      if (queue.surplus > 0) this.#surplus.add(queue.name, queue.surplus);
      this.#wakes.push({ atMs: queue.wakeMs ?? nowMs + restoredKeptMs, target: queue });
      this.#changed.add(queue);
    }
  }

  // ------------------------------------------------------------------------------------------- records

  #transport(name: string): Transport {
    const known = this.#transports.get(name);
    if (known !== undefined) return known;
    const { rulesOf, weightOf } = this.#options;
    const made = new Transport({
      name,
      rules: rulesOf(name),
      fairShare: weightOf === undefined ? undefined : new FairShare(weightOf),
      destinationOf: (queueName) => this.#destinations.get(queueName),
    });
    this.#transports.set(name, made);
    this.#turns.add(made);
    return made;
  }

  #transportOf(queue: DestinationQueue): Transport {
    return this.#transport(queue.destination.transport);
  }

  #destination(name: string, destination: Destination): DestinationQueue {
    const known = this.#destinations.get(name);
    if (known !== undefined) return known;
    const { rules } = this.#transport(destination.transport);
    const made = new DestinationQueue(name, shared(destination), rules.destination);
    this.#destinations.set(name, made);
    // What went away because of it before it was forgotten is counted at it again.
    made.surplus = this.#surplus.of(name);
    return made;
  }

  /**
   * S23, S28: an idle one begins anew, and goes a moment after its last request; a dead one stays for its mark, unless
   * there are too many.
   */
  #forgetIfIdle(queue: DestinationQueue, nowMs = Number.NEGATIVE_INFINITY): void {
    if (!queue.isIdle || queue.isPaused || this.#destinations.get(queue.name) !== queue) return;
    queue.rest();
    const isCrowded = this.#destinations.size > this.#options.mostDestinations;
    if (!isCrowded && queue.isDead) return;
    if (!isCrowded && queue.rememberedUntilMs > nowMs) {
      this.#forgetLater(queue);
      return;
    }
    this.#destinations.delete(queue.name);
    this.#changed.delete(queue);
    this.#noteGone(queue.name);
  }

  #forgetLater(queue: DestinationQueue): void {
    if (queue.forgetAtMs !== undefined) return;
    queue.forgetAtMs = queue.rememberedUntilMs;
    this.#wakes.push({ atMs: queue.forgetAtMs, target: queue });
  }

  #noteGone(name: string): void {
    if (this.#published.delete(name)) this.#gone.push(name);
  }
}

/** Requests of a site, those of one next hop together: they can share a connection. */
function byNexthop(entries: readonly Entry[]): readonly Entry[] {
  if (entries.length < 3 || entries[0]?.destination.site === undefined) return entries;
  const groups = Map.groupBy(entries, ({ destination }) => destination.nexthop);
  return [...groups.values()].flat();
}

/** A site stands for all its next hops. */
function shared(destination: Destination): Destination {
  const { transport, site } = destination;
  return site === undefined ? destination : { transport, nexthop: site };
}

const sharePrefix = "share:";

/** The name under which messages of a fair share key wait for room. */
function shareName(key: string): string {
  return sharePrefix + key;
}
