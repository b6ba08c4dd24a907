/**
 * The scheduler against everything that may happen around it, in random order, by seed: workers die, or none lives
 * for a while; outcomes are recorded before a request ends; sites are in trouble; leaders take over; operators hold, release and flush; active is small, so that
 * mail goes back as surplus; destinations rest after each request.
 *
 * Properties: a destination never has more jobs than its limit; no recipient is in the hands of two workers; nobody is
 * sent a second copy; every success that is to be reported is reported, once (D31); and when the faults stop, every
 * message ends: removed, or in corrupt.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { enhancedStatus } from "@postmq/vocabulary";
import { FakeStore } from "./fake-store.test-support.ts";
import type { FakeOutcome, RunningJob } from "./fake-store.test-support.ts";
import { Leading, limits } from "./leading.test-support.ts";
import { Chance, firstSeed, rounds } from "./scheduler/random.test-support.ts";

const trouble = {
  kind: "trouble",
  status: enhancedStatus("4.4.1"),
  reason: "Connection refused",
} as const;

const domains = [
  "a.example",
  "b.example",
  "c.example",
  "d.example",
  "error.example",
  "retry.example",
];

class Play {
  readonly store = new FakeStore(4);
  readonly chance: Chance;
  readonly leading: Leading;
  /** Jobs at one destination. */
  readonly limit: number;
  /** A site that is in trouble now and then. */
  troubled = "";
  workers = 0;

  constructor(seed: number) {
    this.chance = new Chance(seed);
    const rests = this.chance.is(0.25) ? { concurrencyLimit: 1, rateDelayMs: 1500 } : {};
    this.limit = rests.concurrencyLimit ?? limits.destination;
    // A large message comes in batches, and more of it is read while others are out.
    if (this.chance.is(0.5)) this.store.mostRecipientsRead = 4;
    this.leading = new Leading(this.store, {
      activeLimit: this.chance.is(0.5) ? 10 + this.below(15) : limits.activeLimit,
      delayWarningMs: this.chance.is(0.5) ? 20_000 : 0,
      destination: rests,
    });
  }

  random(): number {
    return this.chance.next();
  }

  below(n: number): number {
    return this.chance.below(n);
  }

  pick<T>(items: readonly T[]): T | undefined {
    return this.chance.pick(items);
  }

  submit(): void {
    const count = 1 + this.below(this.random() < 0.1 ? 30 : 3);
    const addresses = Array.from({ length: count }, (_, n) => `u${n}@${this.pick(domains) ?? ""}`);
    this.store.submit(this.random() < 0.2 ? "" : "s@x.example", addresses);
    if (this.random() < 0.9) this.leading.ring("incoming");
  }

  startWorker(): void {
    this.workers += 1;
    this.store.liveWorkers.add(`w${this.workers}`);
  }

  claim(): void {
    const worker = this.pick([...this.store.liveWorkers]);
    if (worker === undefined) return;
    this.store.claim(worker, this.below(this.store.bells.length));
    this.checkLimits();
  }

  checkLimits(): void {
    // Those from before a take-over count against the limit too, but only once their message is imported.
    const ours = this.store.running.filter(({ fence }) => fence === this.store.fence);
    const jobs = Map.groupBy(ours, ({ key }) => key);
    for (const [key, running] of jobs) {
      assert(running.length <= this.limit, `${running.length} jobs at ${key}`);
    }
    const held = new Set<string>();
    for (const { names } of this.store.running) {
      for (const name of names) {
        const request = this.store.records.get(name.id)?.requests.get(name.number);
        for (const recipient of request?.recipients ?? []) {
          const key = `${name.id} ${recipient}`;
          assert(!held.has(key), `${key} is in two hands`);
          held.add(key);
        }
      }
    }
  }

  end(job: RunningJob | undefined, isKind: boolean): void {
    if (job === undefined) return;
    const chance = this.random();
    if (!isKind && chance < 0.05) this.store.end(job, "unreadable", () => "sent");
    else if (!isKind && chance < 0.2) this.store.end(job, "putBack", () => "sent");
    else if (!isKind && job.key === `smtp:${this.troubled}`) {
      this.store.end(job, "tried", () => "deferred", trouble);
    } else this.store.end(job, "tried", () => this.outcome(isKind), { kind: "good" });
  }

  /** One server has said what it has to say, and another is asked for the rest (D6). */
  recordEarly(): void {
    const job = this.pick(this.store.running);
    if (job !== undefined) this.store.recordEarly(job, this.outcome(false));
  }

  async flush(): Promise<void> {
    const record = this.pick([...this.store.records.values()]);
    if (this.chance.is(0.4)) await this.store.flushAll();
    else if (this.chance.is(0.5)) await this.store.flushSite(this.pick(domains) ?? "");
    else if (record !== undefined) await this.store.flushMessage(record.id);
    if (this.chance.is(0.8)) this.leading.ring("incoming");
  }

  /** Longer than transport_retry_time, so that mail is deferred for want of workers (S35). */
  async haveNoWorkers(): Promise<void> {
    while (this.store.liveWorkers.size > 0) this.killWorker();
    for (let n = 0; n < 8; n += 1) {
      this.submit();
      await this.leading.ticker.advance(10_000);
    }
    this.startWorker();
  }

  outcome(isKind: boolean): FakeOutcome {
    const chance = this.random();
    if (chance < 0.15) return "owing";
    if (isKind || chance < 0.5) return "sent";
    return chance < 0.8 ? "deferred" : "failed";
  }

  killWorker(): void {
    const worker = this.pick([...this.store.liveWorkers]);
    if (worker === undefined) return;
    const job = this.store.running.find((one) => one.worker === worker);
    if (job !== undefined && this.random() < 0.3) this.store.markDotSent(job);
    this.store.killWorker(worker);
  }

  operate(): void {
    const record = this.pick([...this.store.records.values()]);
    if (record === undefined || record.queue === "corrupt") return;
    if (record.queue === "hold") this.store.move(record.id, "incoming");
    else this.store.move(record.id, "hold");
  }

  report(): void {
    const owed = [...this.store.records.values()].filter(({ owed }) => owed !== undefined);
    const record = this.pick(owed);
    if (record !== undefined) this.store.report(record.id);
  }

  async act(): Promise<void> {
    const chance = this.random() * 100;
    if (chance < 15) this.submit();
    else if (chance < 45) this.claim();
    else if (chance < 50) this.recordEarly();
    else if (chance < 72) this.end(this.pick(this.store.running), false);
    else if (chance < 78) this.report();
    else if (chance < 82) this.operate();
    else if (chance < 84) this.store.bells.splice(this.below(this.store.bells.length), 1);
    else if (chance < 86) this.store.bells.push(...this.store.bells.slice(0, 1));
    else if (chance < 88) this.killWorker();
    else if (chance < 90) this.startWorker();
    else if (chance < 90.5) this.store.loseEvents();
    else if (chance < 91) await this.leading.takeOver();
    else if (chance < 92) this.troubled = this.pick([...domains.slice(0, 4), "", ""]) ?? "";
    else if (chance < 93.5) await this.flush();
    else if (chance < 93.7) await this.haveNoWorkers();
    else await this.leading.ticker.advance(250 * (1 + this.below(8)));
    if (this.random() < 0.5) await this.leading.ticker.advance(1);
  }

  /** No more faults: whoever is asked does their work. */
  async finish(): Promise<void> {
    this.startWorker();
    for (const record of this.store.records.values()) {
      if (record.queue === "hold") this.store.move(record.id, "incoming");
    }
    for (let turn = 0; turn < 600 && this.left() > 0; turn += 1) {
      while (this.store.bells.length > 0 && this.store.running.length < 40) this.claim();
      while (this.store.running.length > 0) this.end(this.store.running[0], true);
      this.report();
      await this.leading.ticker.advance(1000);
    }
  }

  left(): number {
    return [...this.store.records.values()].filter(({ queue }) => queue !== "corrupt").length;
  }
}

describe("the scheduler under random faults", () => {
  it("P6 P7 D31 keeps to every limit, sends nobody a second copy, and brings every message to an end", async () => {
    for (let seed = firstSeed; seed < firstSeed + rounds(20); seed += 1) {
      const play = new Play(seed);
      play.startWorker();
      await play.leading.takeOver();
      try {
        for (let step = 0; step < 400; step += 1) await play.act();
        await play.finish();
        assert.equal(play.left(), 0, "messages were forgotten");
        for (const record of play.store.records.values()) {
          for (const recipient of record.recipients) assert(recipient.sends <= 1, "a second copy");
        }
        for (const { recipients } of play.store.removed) {
          for (const { sends, successes } of recipients) {
            assert(sends <= 1, "a second copy");
            assert.equal(successes.reported, successes.owed, "reports of success");
          }
        }
      } catch (error) {
        const states = [...play.store.records.values()]
          .filter(({ queue }) => queue !== "corrupt")
          .slice(0, 5);
        throw new Error(
          `seed ${seed}: ${JSON.stringify(states)}\n${play.leading.log.lines
            .filter((line) => /the term|events/.test(line))
            .slice(-5)
            .join("\n")}`,
          { cause: error },
        );
      }
      play.leading.stop();
      assert.equal(await play.leading.ended(), "in order");
      assert.equal(play.leading.ticker.running, 0, "timers are left");
    }
  });
});
