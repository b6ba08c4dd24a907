import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { acts } from "@postmq/queue-store";
import type {
  Acting,
  Delivering,
  Fence,
  ImportedMessage,
  Looking,
  Operating,
  Scheduling,
  Settlement,
} from "@postmq/queue-store";
import { seededRandom, startRedis, withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { OutcomeKind, QueueId, RecipientOutcome, RequestName } from "@postmq/vocabulary";
import { assertConsistent, newMessage, stored } from "./store.test-support.ts";

const steps = 250;
const heartbeatMs = 300;
const timelines = { mostBytes: 64 * 1024 * 1024, retentionMs: 86_400_000 };
const statuses = { sent: "2.0.0", deferred: "4.2.0", failed: "5.1.1" } as const;

/** One leader and some workers that do legal things in random order; workers die, leaders are replaced. */
class History {
  readonly #under: StoreUnderTest;
  readonly #random: ReturnType<typeof seededRandom>;
  readonly #scheduling: Scheduling;
  readonly #operating: Operating;
  readonly #looking: Looking;
  readonly #acting: Acting;
  readonly #arrived: QueueId[] = [];
  readonly #active = new Map<QueueId, ImportedMessage>();
  #out: RequestName[] = [];
  #workers: { readonly delivering: Delivering; readonly die: () => Promise<void> }[] = [];
  #held: {
    readonly name: RequestName;
    readonly recipients: readonly number[];
    readonly worker: Delivering;
  }[] = [];
  #fence: Fence = "";

  constructor(under: StoreUnderTest, seed: number) {
    this.#under = under;
    this.#random = seededRandom(seed);
    this.#scheduling = under.store.scheduling();
    this.#operating = under.store.operating();
    this.#looking = under.store.looking();
    this.#acting = under.store.acting();
  }

  #below(limit: number): number {
    return Math.floor(this.#random.next() * limit);
  }

  async elect(): Promise<void> {
    await this.#under.redis.cli("DEL", `postmq:{${this.#under.instanceName}}:leader`);
    this.#fence = (await this.#under.store.leadership().acquire()) ?? "";
    await this.#scheduling.reopenActive(this.#fence);
    this.#active.clear();
    this.#out = [];
  }

  async hire(): Promise<void> {
    const store = await this.#under.openAnother({ processName: `worker${this.#below(1e6)}` });
    this.#workers.push({
      delivering: await store.delivering({ concurrency: 5 }),
      die: async () => {
        await store[Symbol.asyncDispose]();
      },
    });
  }

  async step(): Promise<void> {
    const actions = [
      () => this.#arrive(),
      () => this.#import("incoming"),
      () => this.#import("deferred"),
      () => this.#dispatch(),
      () => this.#claim(),
      () => this.#claim(),
      () => this.#record(),
      () => this.#end(),
      () => this.#end(),
      () => this.#settle(),
      () => this.#reap(),
      () => this.#operate(),
      () => this.#act(),
      () => this.#recall(),
    ];
    const chance = this.#random.next();
    if (chance < 0.02) return this.elect();
    if (chance < 0.06 && this.#workers.length > 0) return this.#kill();
    if (chance < 0.1 && this.#workers.length < 3) return this.hire();
    await actions[this.#below(actions.length)]?.();
  }

  async #arrive(): Promise<void> {
    const recipients = Array.from(
      { length: 1 + this.#below(5) },
      (_, i) => `u${i}@d${this.#below(3)}.example.com`,
    );
    this.#arrived.push(await stored(this.#under.store.intake(), { recipients }));
  }

  async #import(from: "incoming" | "deferred"): Promise<void> {
    const isFlush = from === "deferred" && this.#random.next() < 0.3;
    const imported = await this.#scheduling.importMessages({
      fence: this.#fence,
      from,
      maxMessages: 5,
      maxRecipients: 100,
      ...(this.#random.next() < 0.5 ? { maxRecipientsInAll: 1, minRecipients: 1 } : {}),
      ...(isFlush ? { enteredBeforeMs: this.#under.store.clock.nowMs() } : {}),
    });
    // Else the next import says that this one is in hand.
    if (this.#random.next() < 0.2) await this.#scheduling.closeImport(this.#fence);
    for (const message of imported) {
      this.#active.set(message.id, message);
      this.#out.push(...message.openRequests.map((request) => request.name));
    }
  }

  async #dispatch(): Promise<void> {
    const requests = [...this.#active.values()].flatMap((message) => {
      const busy = new Set(message.openRequests.flatMap((request) => request.recipients));
      const free = message.recipients
        .map((recipient) => recipient.number)
        .filter((number) => !busy.has(number));
      const isOut = this.#out.some((name) => name.id === message.id);
      if (isOut || free.length === 0 || this.#random.next() < 0.5) return [];
      const cut = 1 + this.#below(free.length);
      return [free.slice(0, cut), free.slice(cut)]
        .filter((recipients) => recipients.length > 0)
        .map((recipients) => ({
          id: message.id,
          messageGeneration: message.generation,
          destination: { transport: "smtp", nexthop: "x" },
          recipients,
        }));
    });
    const names = await this.#scheduling.dispatch(this.#fence, requests);
    this.#out.push(...names.filter((name) => name !== undefined));
  }

  async #claim(): Promise<void> {
    const worker = this.#workers[this.#below(this.#workers.length)];
    if (worker === undefined || this.#out.length === 0) return;
    const names = this.#out.filter(() => this.#random.next() < 0.5);
    const answers = await worker.delivering.claim(names);
    for (const answer of answers) {
      if (typeof answer === "string") continue;
      const isNew = !this.#held.some(
        (held) => held.name.id === answer.name.id && held.name.number === answer.name.number,
      );
      const recipients = answer.recipients.map((recipient) => recipient.number);
      if (isNew) this.#held.push({ name: answer.name, recipients, worker: worker.delivering });
    }
  }

  #outcome(recipient: number): RecipientOutcome {
    const kinds: readonly OutcomeKind[] = ["sent", "sent", "deferred", "failed"];
    const kind = kinds[this.#below(kinds.length)] ?? "sent";
    const isOwed = kind === "sent" && this.#random.next() < 0.5;
    const outcome = { recipient, kind, status: enhancedStatus(statuses[kind]), reason: "x" };
    return isOwed ? { ...outcome, owesReport: "relayed" } : outcome;
  }

  /** One server has spoken, and another is asked (D6). */
  async #record(): Promise<void> {
    const held = this.#held[this.#below(this.#held.length)];
    if (held === undefined) return;
    const some = held.recipients.filter(() => this.#random.next() < 0.4);
    await held.worker.record(
      held.name,
      some.map((recipient) => this.#outcome(recipient)),
    );
  }

  async #end(): Promise<void> {
    const [held] = this.#held.splice(this.#below(this.#held.length), 1);
    if (held === undefined) return;
    if (this.#random.next() < 0.7 && !(await held.worker.markDotSent(held.name))) return;
    await held.worker.end({
      name: held.name,
      end: this.#random.next() < 0.9 ? "tried" : "putBack",
      outcomes: held.recipients.map((recipient) => this.#outcome(recipient)),
      feedback: { kind: "good" },
    });
    this.#out = this.#out.filter(
      (name) => name.id !== held.name.id || name.number !== held.name.number,
    );
  }

  async #settle(): Promise<void> {
    const settlements: Settlement[] = [];
    for (const { id, generation } of this.#active.values()) {
      if (this.#out.some((name) => name.id === id)) continue;
      const dueMs = this.#under.store.clock.nowMs() - 1;
      const isSurplus = this.#random.next() < 0.5;
      const defer = {
        id,
        generation,
        action: "defer",
        dueMs: isSurplus ? dueMs + 3_600_000 : dueMs,
        countAttempt: !isSurplus,
        ...(isSurplus ? { surplusOf: "smtp:x" } : {}),
      } as const;
      const kinds = ["failure", "delay", "success"] as const;
      const kind = kinds[this.#below(kinds.length)] ?? "failure";
      const owe = { id, generation, action: "report", kind } as const;
      settlements.push(
        { id, generation, action: "remove" },
        this.#random.next() < 0.5 ? owe : defer,
      );
    }
    const answers = await this.#scheduling.settle(this.#fence, settlements);
    for (const [i, settlement] of settlements.entries()) {
      if (answers[i] === "done" && settlement.action !== "report")
        this.#active.delete(settlement.id);
      if (answers[i] === "done" && settlement.action === "report")
        await this.#report(settlement.id);
    }
  }

  async #report(id: QueueId): Promise<void> {
    const reporting = this.#reporting;
    const opened = await reporting.open(id);
    if (typeof opened !== "object") return;
    const intake = this.#under.store.intake();
    const count = this.#random.next() < 0.2 ? this.#below(3) : 0;
    const reports = await Promise.all(Array.from({ length: count }, () => newMessage(intake)));
    await reporting.queue(opened, reports);
  }

  get #reporting() {
    this.#cachedReporting ??= this.#under.store.reporting();
    return this.#cachedReporting;
  }
  #cachedReporting: ReturnType<StoreUnderTest["store"]["reporting"]> | undefined;

  async #operate(): Promise<void> {
    const operating = this.#operating;
    await operating.flushSite(`d${this.#below(3)}.example.com`);
    const { messages } = await this.#looking.list("deferred", { limit: 2 });
    for (const { id } of messages) await operating.flushMessage(id);
  }

  async #act(): Promise<void> {
    const act = acts[this.#below(acts.length)] ?? "hold";
    const some = this.#arrived.filter(() => this.#random.next() < 0.1);
    await this.#acting.act(act, some);
  }

  /** What the timelines tell is where the records are. */
  async assertTold(): Promise<void> {
    for (const id of this.#arrived) {
      const events = await this.#under.store.timelines().timeline(id);
      assert.deepEqual([events[0]?.kind, events[0]?.queue], ["accepted", "incoming"]);
      const last = events.findLast(({ kind, queue }) => queue !== undefined || kind === "removed");
      const message = await this.#looking.message(id);
      assert.equal(last?.queue, message?.queue, `${id}: ${JSON.stringify(events)}`);
    }
  }

  async #recall(): Promise<void> {
    await this.#scheduling.recall(this.#fence, "smtp:x", 1 + this.#below(3));
    await this.#scheduling.mendDue(this.#fence, "");
  }

  async #kill(): Promise<void> {
    const [worker] = this.#workers.splice(this.#below(this.#workers.length), 1);
    if (worker === undefined) return;
    await worker.die();
    this.#held = this.#held.filter((held) => held.worker !== worker.delivering);
  }

  async #reap(): Promise<void> {
    const names = [...this.#out];
    if (names.length === 0) return;
    const answers = await this.#scheduling.reap(this.#fence, names, "retry");
    const isOver = (name: RequestName) => {
      const answer = answers[names.indexOf(name)];
      return answer === "reaped" || answer === "ambiguous";
    };
    this.#out = this.#out.filter((name) => !isOver(name));
  }
}

describe("random histories", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ appendfsync: "no" });
  });
  after(() => redis.stop());

  for (const seed of [1, 20_261_121]) {
    it(`P2 P12 D6 D31 keep every message in one queue, every index true, and tell of each move (seed ${seed})`, () =>
      withStore(
        async (under) => {
          const history = new History(under, seed);
          await history.elect();
          await history.hire();
          for (let step = 0; step < steps; step += 1) {
            await history.step();
            if (step % 10 === 0) await assertConsistent(under);
          }
          await assertConsistent(under);
          await history.assertTold();
        },
        { redis, store: { heartbeatMs, timelines } },
      ));
  }
});
