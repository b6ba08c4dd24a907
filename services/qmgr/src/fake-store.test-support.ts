/**
 * The leader's side of the store in memory, for simulations: the same answers as the scripts give, no Redis.
 *
 * Around it stand the others of the play: workers that claim and end requests, a bounce service, operators who hold
 * and release. Each of their acts is one method, so that a test can call them in any order.
 */
import assert from "node:assert/strict";
import type {
  DeliveryBell,
  DestinationReport,
  Fence,
  ImportedMessage,
  Leadership,
  LeaderEvent,
  LeaderEvents,
  NewRequest,
  OpenRequest,
  Recalled,
  Operating,
  ReportKind,
  SchedulerReport,
  Scheduling,
  SettleAnswer,
  Settlement,
  Survey,
} from "@postmq/queue-store";
import { destinationKey, enhancedStatus, parseQueueId, PostmqError } from "@postmq/vocabulary";
import type {
  Destination,
  QueueId,
  RecipientOutcome,
  RecipientState,
  RequestEnd,
  RequestName,
  SiteFeedback,
  StoredRecipient,
} from "@postmq/vocabulary";

type FakeRequest = {
  generation: number;
  state: "queued" | "claimed" | "dotSent";
  claim: string;
  readonly destination: Destination;
  readonly recipients: readonly number[];
  /** What was recorded of it while it went on (D6), to be told with its end. */
  readonly recorded: Told;
};

type Told = { sent: number; deferred: number; failed: number; owedSuccesses: number };

export type FakeOutcome = "sent" | "owing" | "deferred" | "failed";

export type FakeRecord = {
  readonly id: QueueId;
  readonly sender: string;
  readonly createdMs: number;
  readonly recipients: readonly {
    readonly address: string;
    state: RecipientState;
    sends: number;
    /** Success reports owed and written. */
    successes: { owed: number; reported: number };
  }[];
  readonly requests: Map<number, FakeRequest>;
  queue: "incoming" | "active" | "deferred" | "hold" | "corrupt";
  generation: number;
  lastRequest: number;
  crashes: number;
  lastCrash?: string;
  dueMs: number;
  /** The index of due times names it; `mendDue` sees to that. */
  isInDueIndex: boolean;
  /** When it entered the queue it is in. */
  enteredMs: number;
  owed: ReportKind | undefined;
  isFinished: boolean;
  isForceExpired: boolean;
  wasWarned: boolean;
  isUnthrottling: boolean;
  /** For whose room it waits in deferred. */
  surplusOf: string | undefined;
  attempts: number;
};

/** What the leader published last. */
export type Published = {
  readonly scheduler: SchedulerReport;
  readonly changed: readonly DestinationReport[];
  readonly gone: readonly string[];
};

/** qmgr_message_recipient_minimum. */
const defaultMinRecipients = 10;

/** A delivery job that a worker runs. */
export type RunningJob = {
  readonly worker: string;
  /** The leader under which it was claimed. */
  readonly fence: number;
  readonly names: RequestName[];
  readonly key: string;
};

export class FakeStore implements Scheduling, Leadership, Operating {
  nowMs = 1_000_000;
  readonly records = new Map<QueueId, FakeRecord>();
  readonly bells: DeliveryBell[] = [];
  readonly running: RunningJob[] = [];
  readonly liveWorkers = new Set<string>();
  readonly perWorker: number;
  /** Ids of messages that ended, with how. */
  readonly ended = new Map<QueueId, string>();
  readonly removed: FakeRecord[] = [];
  readonly rungSeconds: number[] = [];
  calls: Record<string, number> = {};
  /** A call that is to fail once, by name. */
  failing: string | undefined;
  /** Redis is at its limit: records can be moved, but no bell takes a ring. */
  isFull = false;
  holder: Fence | undefined;
  fence = 0;
  /** The last report, and all destinations as those who look on see them. */
  published: Published | undefined;
  readonly destinations = new Map<string, DestinationReport>();
  /** Messages that wait for room at a destination, by its name. */
  readonly surplus = new Map<string, Set<QueueId>>();
  /** When the flush was asked for that is not yet carried out. */
  flushMs: number | undefined;
  /** When a site was flushed last. */
  unthrottledAtMs: number | undefined;
  /** Recipients of one message that one answer brings at most. */
  mostRecipientsRead = Number.POSITIVE_INFINITY;
  #events: LeaderEvent[] = [];
  #hasGap = false;
  #arrival = Promise.withResolvers<void>();
  #made = 0;

  constructor(perWorker: number) {
    this.perWorker = perWorker;
  }

  // ------------------------------------------------------------------------------------------ the others

  submit(sender: string, addresses: readonly string[]): QueueId {
    this.#made += 1;
    const id = parseQueueId(`M${this.#made}`);
    assert(id !== undefined);
    this.records.set(id, {
      id,
      sender,
      createdMs: this.nowMs,
      recipients: addresses.map((address) => ({
        address,
        state: { kind: "todo" },
        sends: 0,
        successes: { owed: 0, reported: 0 },
      })),
      requests: new Map(),
      queue: "incoming",
      generation: 1,
      lastRequest: 0,
      crashes: 0,
      dueMs: 0,
      isInDueIndex: false,
      enteredMs: this.nowMs,
      owed: undefined,
      isFinished: false,
      isForceExpired: false,
      wasWarned: false,
      isUnthrottling: false,
      surplusOf: undefined,
      attempts: 0,
    });
    return id;
  }

  record(id: QueueId): FakeRecord {
    const record = this.records.get(id);
    assert(record !== undefined, `${id} is gone`);
    return record;
  }

  /** A worker takes the bell at this place. */
  claim(worker: string, at: number): RunningJob | undefined {
    const [bell] = this.bells.splice(at, 1);
    if (bell === undefined) return undefined;
    const names = bell.requests.filter((name) => {
      const record = this.records.get(name.id);
      const request = record?.requests.get(name.number);
      if (request === undefined || request.generation !== name.generation) return false;
      return request.state === "queued" && record?.queue === "active";
    });
    const [first] = names;
    if (first === undefined) return undefined;
    for (const name of names) {
      const request = this.#request(name);
      request.state = "claimed";
      request.claim = worker;
    }
    const key = destinationKey(this.#request(first).destination);
    const job = { worker, fence: this.fence, names, key };
    this.running.push(job);
    return job;
  }

  markDotSent(job: RunningJob): void {
    const [name] = job.names;
    if (name !== undefined) this.#request(name).state = "dotSent";
  }

  /** The worker records one outcome of the first request of its job, and goes on with the others (D6). */
  recordEarly(job: RunningJob, outcome: FakeOutcome): void {
    const [name] = job.names;
    const record = name === undefined ? undefined : this.records.get(name.id);
    const request = name === undefined ? undefined : record?.requests.get(name.number);
    const number = request?.recipients.find((one) => this.#isUndoneIn(record, one));
    if (record === undefined || request === undefined || number === undefined) return;
    this.#recordOne(record, number, outcome, request.recorded);
  }

  #isUndoneIn(record: FakeRecord | undefined, number: number): boolean {
    const recipient = record?.recipients[number];
    return recipient !== undefined && isUndone(recipient.state);
  }

  #recordOne(record: FakeRecord, number: number, outcome: FakeOutcome, told: Told): void {
    const recipient = record.recipients[number];
    if (recipient === undefined || !isUndone(recipient.state)) return;
    const kind = outcome === "owing" ? "sent" : outcome;
    told[kind] += 1;
    if (kind === "sent") recipient.sends += 1;
    if (outcome !== "owing") {
      recipient.state = kind === "sent" ? { kind: "done" } : troubled(kind);
      return;
    }
    told.owedSuccesses += 1;
    recipient.successes.owed += 1;
    recipient.state = owing();
  }

  /** The worker ends the first request of its job, with one outcome for each recipient that is not done. */
  end(
    job: RunningJob,
    end: RequestEnd,
    outcome: () => FakeOutcome,
    feedback: SiteFeedback = { kind: "none" },
  ): void {
    const name = job.names.shift();
    assert(name !== undefined);
    if (job.names.length === 0) this.running.splice(this.running.indexOf(job), 1);
    const record = this.records.get(name.id);
    const request = record?.requests.get(name.number);
    if (record === undefined || request === undefined) return;
    const told = { ...request.recorded };
    if (end === "tried") {
      for (const number of request.recipients) {
        if (this.#isUndoneIn(record, number)) this.#recordOne(record, number, outcome(), told);
      }
    }
    record.requests.delete(name.number);
    this.#tell({ kind: "ended", request: name, end, ...told, feedback });
  }

  /** kill -9: its claims stay until they are reaped. */
  killWorker(worker: string): void {
    this.liveWorkers.delete(worker);
    for (const job of this.running.filter((one) => one.worker === worker)) {
      this.running.splice(this.running.indexOf(job), 1);
    }
  }

  /** An operator moves a message. */
  move(id: QueueId, queue: "hold" | "incoming"): void {
    const record = this.record(id);
    if (record.queue === "active") this.#tell({ kind: "left", id });
    this.#enter(record, queue);
  }

  #enter(record: FakeRecord, queue: FakeRecord["queue"]): void {
    record.queue = queue;
    record.generation += 1;
    record.enteredMs = this.nowMs;
    record.isInDueIndex = queue === "deferred";
    for (const ids of this.surplus.values()) ids.delete(record.id);
  }

  /** Operators flush the whole queue. */
  async flushAll(): Promise<void> {
    // The moment passes: what is deferred from now on entered later.
    this.nowMs += 1;
    this.flushMs = this.nowMs;
    this.#tell({ kind: "flush" });
  }

  async flushSite(domain: string): Promise<number> {
    const found = [...this.records.values()].filter(
      ({ queue, recipients }) =>
        queue === "deferred" &&
        recipients.some(
          ({ address, state }) =>
            isUndone(state) && address.toLowerCase().endsWith(`@${domain.toLowerCase()}`),
        ),
    );
    for (const record of found) this.#enter(record, "incoming");
    this.unthrottledAtMs = this.nowMs;
    this.#tell({ kind: "unthrottle" });
    return found.length;
  }

  async unthrottle(): Promise<void> {
    this.#tell({ kind: "unthrottle" });
  }

  async flushMessage(id: QueueId): Promise<"moved" | "not deferred"> {
    const record = this.records.get(id);
    if (record?.queue !== "deferred") return "not deferred";
    this.#enter(record, "incoming");
    record.isUnthrottling = true;
    return "moved";
  }

  /** The bounce service queues the report that is owed, or finds that nobody wants it. */
  report(id: QueueId): void {
    const record = this.record(id);
    const told = toldIn(record.owed);
    for (const recipient of record.recipients) {
      if (!told.includes(recipient.state.kind)) continue;
      if (recipient.state.kind === "sent") recipient.successes.reported += 1;
      recipient.state = { kind: "done" };
    }
    if (record.owed === "expired") record.isFinished = true;
    if (record.owed === "delay") record.wasWarned = true;
    record.owed = undefined;
    if (record.queue === "active") this.#tell({ kind: "reported", id });
  }

  loseEvents(): void {
    if (this.#events.length === 0) return;
    this.#events = [];
    this.#hasGap = true;
  }

  /** Ends a wait for events that do not come. */
  nudge(): void {
    this.#arrival.resolve();
    this.#arrival = Promise.withResolvers();
  }

  #tell(event: LeaderEvent): void {
    this.#events.push(event);
    this.nudge();
  }

  #request(name: RequestName): FakeRequest {
    const request = this.record(name.id).requests.get(name.number);
    assert(request !== undefined);
    return request;
  }

  // ------------------------------------------------------------------------------------------ leadership

  async acquire(): Promise<Fence | undefined> {
    await this.#call("acquire");
    if (this.holder !== undefined) return undefined;
    this.fence += 1;
    this.holder = String(this.fence);
    return this.holder;
  }

  async renew(fence: Fence): Promise<boolean> {
    await this.#call("renew");
    return this.holder === fence;
  }

  async release(fence: Fence): Promise<void> {
    await this.#call("release");
    if (this.holder === fence) this.holder = undefined;
  }

  async #call(name: string, fence?: Fence): Promise<void> {
    this.calls[name] = (this.calls[name] ?? 0) + 1;
    await Promise.resolve();
    if (this.failing === name) {
      this.failing = undefined;
      throw new PostmqError("PMQ_STORE_NO_REPLY", `no answer to ${name}`);
    }
    if (fence !== undefined && fence !== String(this.fence)) {
      throw new PostmqError("PMQ_STORE_FENCED", "another leader was elected");
    }
  }

  // ------------------------------------------------------------------------------------------ scheduling

  async importMessages(options: {
    readonly fence: Fence;
    readonly from: "incoming" | "deferred";
    readonly maxMessages: number;
    readonly maxRecipients: number;
    readonly maxRecipientsInAll?: number;
    readonly minRecipients?: number;
    readonly enteredBeforeMs?: number;
  }): Promise<readonly ImportedMessage[]> {
    await this.#call(`import ${options.from}`, options.fence);
    const { from, enteredBeforeMs, maxRecipients } = options;
    const isReady = (record: FakeRecord): boolean => {
      if (record.queue !== from) return false;
      if (from === "incoming") return true;
      if (enteredBeforeMs !== undefined) return record.enteredMs < enteredBeforeMs;
      return record.isInDueIndex && record.dueMs <= this.nowMs;
    };
    const ready = [...this.records.values()].filter(isReady);
    if (enteredBeforeMs !== undefined) ready.sort((a, b) => a.enteredMs - b.enteredMs);
    let left = options.maxRecipientsInAll ?? Number.POSITIVE_INFINITY;
    return ready.slice(0, options.maxMessages).map((record) => {
      this.#enter(record, "active");
      dropQueued(record);
      const least = Math.min(options.minRecipients ?? defaultMinRecipients, maxRecipients);
      const message = this.#imported(record, Math.max(least, Math.min(left, maxRecipients)));
      record.isUnthrottling = false;
      record.surplusOf = undefined;
      left -= message.recipients.length;
      return message;
    });
  }

  #imported(record: FakeRecord, maxRecipients: number): ImportedMessage {
    const states = record.recipients.map(({ state }) => state);
    return {
      id: record.id,
      generation: record.generation,
      arrivalMs: record.createdMs,
      createdMs: record.createdMs,
      envelope: { sender: record.sender, origin: "smtp" },
      sizeBytes: 100,
      totalRecipients: states.length,
      undoneRecipients: states.filter(isUndone).length,
      ...unreported(record),
      ...this.#undone(record, 0, maxRecipients),
      attempts: record.attempts,
      crashes: record.crashes,
      isFinished: record.isFinished,
      isForceExpired: record.isForceExpired,
      wasWarned: record.wasWarned,
      isUnthrottling: record.isUnthrottling,
      ...(record.surplusOf === undefined ? {} : { surplusOf: record.surplusOf }),
      isMoreBehind: false,
      openRequests: [...record.requests].map(([number, request]) =>
        open(record.id, number, request),
      ),
    };
  }

  #undone(record: FakeRecord, from: number, limit: number) {
    const recipients: StoredRecipient[] = [];
    const most = Math.min(limit, this.mostRecipientsRead);
    let number = from;
    for (; number < record.recipients.length && recipients.length < most; number += 1) {
      const recipient = record.recipients[number];
      if (recipient !== undefined && isUndone(recipient.state)) {
        recipients.push({ address: recipient.address, number, state: recipient.state });
      }
    }
    return { recipients, nextRecipient: number };
  }

  async closeImport(fence: Fence): Promise<void> {
    await this.#call("closeImport", fence);
  }

  async readRecipients(options: {
    readonly id: QueueId;
    readonly from: number;
    readonly limit: number;
  }) {
    await this.#call("readRecipients");
    const record = this.records.get(options.id);
    if (record === undefined) {
      return {
        recipients: [],
        nextRecipient: -1,
        unreportedRecipients: 0,
        unreportedSuccesses: 0,
      };
    }
    const read = record.isFinished
      ? { recipients: [], nextRecipient: record.recipients.length }
      : this.#undone(record, options.from, options.limit);
    return { ...read, ...unreported(record) };
  }

  async dispatch(fence: Fence, requests: readonly NewRequest[]) {
    await this.#call("dispatch", fence);
    return requests.map((request): RequestName | undefined => {
      const record = this.records.get(request.id);
      if (record?.queue !== "active" || record.generation !== request.messageGeneration) {
        return undefined;
      }
      record.lastRequest += 1;
      record.requests.set(record.lastRequest, {
        generation: 1,
        state: "queued",
        claim: "",
        destination: request.destination,
        recipients: request.recipients,
        recorded: { sent: 0, deferred: 0, failed: 0, owedSuccesses: 0 },
      });
      return { id: request.id, number: record.lastRequest, generation: 1 };
    });
  }

  async ringDelivery(bell: DeliveryBell): Promise<boolean> {
    await this.#call("ringDelivery");
    if (this.isFull) return false;
    this.bells.push(bell);
    return true;
  }

  async renewRequests(fence: Fence, names: readonly RequestName[]) {
    await this.#call("renewRequests", fence);
    return names.map((name): RequestName | undefined => {
      const request = this.records.get(name.id)?.requests.get(name.number);
      if (request?.state !== "queued" || request.generation !== name.generation) return undefined;
      request.generation += 1;
      return { ...name, generation: request.generation };
    });
  }

  async inspectRequests(names: readonly RequestName[]) {
    await this.#call("inspectRequests");
    return names.map((name): OpenRequest | undefined => {
      const request = this.records.get(name.id)?.requests.get(name.number);
      return request === undefined ? undefined : open(name.id, name.number, request);
    });
  }

  async reap(fence: Fence, names: readonly RequestName[]) {
    await this.#call("reap", fence);
    return names.map((name): "reaped" | "ambiguous" | "alive" | "gone" => {
      const record = this.records.get(name.id);
      const request = record?.requests.get(name.number);
      if (record === undefined || request === undefined) return "gone";
      if (request.generation !== name.generation || request.state === "queued") return "gone";
      if (this.liveWorkers.has(request.claim)) return "alive";
      record.requests.delete(name.number);
      if (record.lastCrash !== request.claim) record.crashes += 1;
      record.lastCrash = request.claim;
      const { crashes } = record;
      const undone = request.recipients.filter((number) => this.#isUndoneIn(record, number));
      const told = {
        ...request.recorded,
        deferred: 0,
        feedback: { kind: "none" },
        crashes,
      } as const;
      if (request.state === "claimed" || undone.length === 0) {
        const end = undone.length === 0 ? "tried" : "putBack";
        this.#tell({ kind: "ended", request: name, end, ...told });
        return "reaped";
      }
      for (const number of undone) {
        const recipient = record.recipients[number];
        if (recipient !== undefined) recipient.state = troubled("deferred");
      }
      this.#tell({ kind: "ended", request: name, end: "tried", ...told, deferred: undone.length });
      return "ambiguous";
    });
  }

  async settle(fence: Fence, settlements: readonly Settlement[]): Promise<readonly SettleAnswer[]> {
    await this.#call("settle", fence);
    return settlements.map((settlement) => this.#settleOne(settlement));
  }

  #settleOne(settlement: Settlement): SettleAnswer {
    const record = this.records.get(settlement.id);
    if (record?.queue !== "active" || record.generation !== settlement.generation) return "stale";
    const undone = record.recipients.filter(({ state }) => isUndone(state)).length;
    const failed = record.recipients.filter(({ state }) => state.kind === "failed").length;
    const succeeded = record.recipients.filter(({ state }) => state.kind === "sent").length;
    if (settlement.action !== "corrupt" && record.requests.size > 0) return "unfinished";
    switch (settlement.action) {
      case "remove":
        if ((!record.isFinished && undone + failed > 0) || succeeded > 0) return "unfinished";
        this.records.delete(record.id);
        this.removed.push(record);
        this.ended.set(record.id, "removed");
        return "done";
      case "defer":
        if (undone + failed + succeeded === 0) return "unfinished";
        this.#enter(record, "deferred");
        record.dueMs = settlement.dueMs;
        record.owed = undefined;
        record.surplusOf = settlement.surplusOf;
        if (settlement.surplusOf !== undefined) this.#addSurplus(settlement.surplusOf, record.id);
        if (settlement.countAttempt) record.attempts += 1;
        return "done";
      case "report":
        if (settlement.kind === "failure" && failed === 0) return "unfinished";
        if (settlement.kind === "success" && succeeded === 0) return "unfinished";
        if (settlement.kind === "delay" && undone === 0) return "unfinished";
        record.owed = settlement.kind;
        return "done";
      case "corrupt":
        this.#enter(record, "corrupt");
        this.ended.set(record.id, "corrupt");
        return "done";
    }
  }

  async recordOutcomes(id: QueueId, outcomes: readonly RecipientOutcome[]): Promise<void> {
    await this.#call("recordOutcomes");
    const record = this.records.get(id);
    for (const outcome of outcomes) {
      const recipient = record?.recipients[outcome.recipient];
      if (recipient === undefined || !isUndone(recipient.state)) continue;
      if (outcome.owesReport !== undefined) {
        recipient.successes.owed += 1;
        recipient.state = owing();
      } else recipient.state = outcome.kind === "sent" ? { kind: "done" } : troubled(outcome.kind);
    }
  }

  async survey(): Promise<Survey> {
    await this.#call("survey");
    return {
      capacity: this.liveWorkers.size * this.perWorker,
      liveWorkers: [...this.liveWorkers],
    };
  }

  async reopenActive(fence: Fence): Promise<number> {
    await this.#call("reopenActive", fence);
    const active = [...this.records.values()].filter(({ queue }) => queue === "active");
    for (const record of active) {
      this.#enter(record, "incoming");
      record.owed = undefined;
      dropQueued(record);
    }
    return active.length;
  }

  async pendingFlush(): Promise<number | undefined> {
    await this.#call("pendingFlush");
    return this.flushMs;
  }

  async endFlush(fence: Fence, requestedMs: number): Promise<void> {
    await this.#call("endFlush", fence);
    if (this.flushMs === requestedMs) this.flushMs = undefined;
  }

  #addSurplus(name: string, id: QueueId): void {
    const ids = this.surplus.get(name) ?? new Set();
    ids.add(id);
    this.surplus.set(name, ids);
  }

  async recall(fence: Fence, destination: string, most: number): Promise<Recalled> {
    await this.#call("recall", fence);
    const ids = this.surplus.get(destination) ?? new Set();
    const byArrival = [...ids].sort(
      (a, b) => arrival(this.records.get(a)) - arrival(this.records.get(b)),
    );
    let recalled = 0;
    for (const id of byArrival) {
      if (recalled === most) break;
      ids.delete(id);
      const record = this.records.get(id);
      if (record?.queue !== "deferred") continue;
      record.dueMs = this.nowMs;
      record.isInDueIndex = true;
      recalled += 1;
    }
    return { found: recalled, left: ids.size };
  }

  async unthrottledMs(): Promise<number | undefined> {
    await this.#call("unthrottledMs");
    return this.unthrottledAtMs;
  }

  async mendDue(fence: Fence, _cursor: string): Promise<string | undefined> {
    await this.#call("mendDue", fence);
    for (const record of this.records.values()) {
      if (record.queue === "deferred") record.isInDueIndex = true;
    }
    return undefined;
  }

  async publish(fence: Fence, report: Published): Promise<void> {
    await this.#call("publish", fence);
    this.published = report;
    for (const name of report.gone) this.destinations.delete(name);
    for (const one of report.changed) this.destinations.set(one.name, one);
  }

  async readDestinations(): Promise<readonly DestinationReport[]> {
    await this.#call("readDestinations");
    return [...this.destinations.values()];
  }

  async readEvents(waitMs: number): Promise<LeaderEvents> {
    await this.#call("readEvents");
    const { fence } = this;
    if (this.#events.length === 0 && !this.#hasGap && waitMs > 1) await this.#arrival.promise;
    if (fence !== this.fence) return { events: [], gap: false };
    const events = this.#events;
    const gap = this.#hasGap;
    this.#events = [];
    this.#hasGap = false;
    return { events, gap };
  }

  /** The same for one leader: each reads a stream position of its own, so one that was replaced takes no events away. */
  seenBy(fence: Fence): Scheduling {
    return new Proxy<Scheduling>(this, {
      get: (_, name: keyof Scheduling) => {
        if (name !== "readEvents") return this[name].bind(this);
        return async (waitMs: number): Promise<LeaderEvents> => {
          if (fence === String(this.fence)) return this.readEvents(waitMs);
          await this.#arrival.promise;
          return { events: [], gap: false };
        };
      },
    });
  }

  async startEvents(): Promise<void> {
    await this.#call("startEvents");
    this.#events = [];
    this.#hasGap = false;
  }

  async sweep(fence: Fence): Promise<number> {
    await this.#call("sweep", fence);
    return 0;
  }

  ringAt(dueMs: number): Promise<boolean> {
    if (!this.isFull) this.rungSeconds.push(dueMs / 1000);
    return Promise.resolve(!this.isFull);
  }

  counts(): Promise<{ readonly incoming: number; readonly due: number }> {
    return Promise.reject(new Error("the leader does not ask for counts"));
  }

  countActive(): Promise<number> {
    const active = [...this.records.values()].filter(({ queue }) => queue === "active");
    return Promise.resolve(active.length);
  }
}

/** Requests that nobody claimed do not outlast a stay in active. */
function dropQueued(record: FakeRecord): void {
  for (const [number, request] of record.requests) {
    if (request.state === "queued") record.requests.delete(number);
  }
}

function arrival(record: FakeRecord | undefined): number {
  return record?.createdMs ?? 0;
}

function isUndone(state: RecipientState): boolean {
  return state.kind === "todo" || state.kind === "deferred";
}

function unreported({ recipients }: FakeRecord) {
  const count = (kind: RecipientState["kind"]) =>
    recipients.filter(({ state }) => state.kind === kind).length;
  return { unreportedRecipients: count("failed"), unreportedSuccesses: count("sent") };
}

function owing(): RecipientState {
  return { kind: "sent", action: "relayed", status: enhancedStatus("2.0.0"), reason: "ok" };
}

/** Whom a report of that kind tells of, so that they are done. */
function toldIn(kind: ReportKind | undefined): readonly RecipientState["kind"][] {
  switch (kind) {
    case "failure":
      return ["failed"];
    case "expired":
      return ["failed", "deferred"];
    case "success":
      return ["sent"];
    case "delay":
    case undefined:
      return [];
  }
}

function troubled(kind: "deferred" | "failed"): RecipientState {
  const status = kind === "failed" ? "5.1.1" : "4.4.1";
  return { kind, status: enhancedStatus(status), reason: "in a simulation" };
}

function open(id: QueueId, number: number, request: FakeRequest): OpenRequest {
  return {
    name: { id, number, generation: request.generation },
    state: request.state,
    destination: request.destination,
    recipients: request.recipients,
    claim: request.claim,
  };
}
