/**
 * The kill -9 journey: services and Redis die at seeded moments while mail flows, and the ledger is settled at the end.
 *
 * Two kinds of moment are drawn: any time, and right after one of the victim's next writes to Redis (through a proxy
 * that stops after so many pieces), since most of the time a process waits and a blind kill rarely falls between two
 * steps. After each kill the records are read, and every step at which a kill fell is counted: stored but not rung,
 * claimed, dot-sent, and 250 read by the worker but not recorded. Requests at dot-sent in that moment are the only ones
 * whose recipients may get a second copy.
 */
import { setTimeout as delay } from "node:timers/promises";

import {
  FakeSmtpServer,
  Ledger,
  MailFlow,
  seededRandom,
  startPostmq,
  startRedis,
  TcpProxy,
  waitFor,
} from "@postmq/testing";
import type { LedgerReport, PostmqSystem, RedisServer, SeededRandom } from "@postmq/testing";
import type { ServiceName } from "@postmq/vocabulary";

import { settleAccount } from "./account.ts";
import { endLooking, isConnected, probeRequests, probeUnrung } from "./redis-probe.ts";

export type Victim = ServiceName | "redis";

/** Steps between which a kill fell, counted over the run. */
export type Hits = {
  storedNotRung: number;
  claimed: number;
  dotSent: number;
  answeredNotRecorded: number;
};

export type KillRun = {
  readonly seed: number;
  readonly kills: readonly Victim[];
  readonly hits: Hits;
  /** Deliveries in flight at the sink at each kill. */
  readonly inFlight: readonly number[];
  /** From each kill to the next delivery of mail that was accepted after it. */
  readonly recoveriesMs: readonly number[];
  readonly report: LedgerReport;
  /** Everything that breaks a promise, in words; empty when the run went well. */
  readonly problems: readonly string[];
};

export type KillOptions = {
  readonly seed: number;
  /** Killed in this order; then more, drawn from `more`, until every step was hit. */
  readonly victims: readonly Victim[];
  readonly more: readonly [Victim, ...(readonly Victim[])];
  readonly mostKills: number;
  readonly parameters?: Readonly<Record<string, string>>;
  /** How long the sink takes to answer a dot. */
  readonly dotDelayMs: number;
  /** How long the ledger may take to settle after the last kill. */
  readonly settleMs: number;
};

/** Whose frozen reader shows that a ring is missing: the queue that the victim writes to, and who reads it. */
const nextReader: Readonly<
  Partial<Record<Victim, { readonly queue: "maildrop" | "incoming"; readonly reader: ServiceName }>>
> = {
  pickup: { queue: "maildrop", reader: "cleanup" },
  smtpd: { queue: "incoming", reader: "qmgr" },
  cleanup: { queue: "incoming", reader: "qmgr" },
};

/** Of every message of the flow, so the recipient of every report. */
const sender = "sender@src.example.com";
const leastInFlight = 20;
/** Before the moment of the kill is sought, during which deliveries end and a frozen reader lets none begin. */
const enoughInFlight = 40;
const longestSearchMs = 400;
const mostWaiting = 100;
const longestRecoveryMs = 30_000;

export async function runKills(options: KillOptions): Promise<KillRun> {
  const run = await KillJourney.start(options);
  await using _ = run;
  return await run.play();
}

/** One line for the log of the test. */
export function describeRun({ report, ...run }: KillRun): string {
  const seconds = run.recoveriesMs.map((ms) => (ms / 1000).toFixed(1));
  return (
    `seed ${run.seed}: ${report.accepted} accepted, ${report.delivered} delivered, ` +
    `${report.bounced} bounced, ${report.lost.length} lost, ${report.duplicates.size} doubled; ` +
    `kills: ${run.kills.join(" ")}; hits: ${JSON.stringify(run.hits)}; ` +
    `in flight: ${run.inFlight.join(" ")}; recovered after s: ${seconds.join(" ")}`
  );
}

class KillJourney implements AsyncDisposable {
  readonly #options: KillOptions;
  readonly #random: SeededRandom;
  readonly #sinkRandom: SeededRandom;
  readonly #stack: AsyncDisposableStack;
  readonly #sink: FakeSmtpServer;
  readonly #redis: RedisServer;
  readonly #proxies: ReadonlyMap<string, TcpProxy>;
  readonly #system: PostmqSystem;
  readonly #ledger = new Ledger();
  readonly #kills: Victim[] = [];
  readonly #inFlight: number[] = [];
  readonly #recoveriesMs: number[] = [];
  /** Recipients (and queue ids of reports) whose request stood at dot-sent when its worker died. */
  readonly #mayRepeat = new Set<string>();
  readonly #hits: Hits = { storedNotRung: 0, claimed: 0, dotSent: 0, answeredNotRecorded: 0 };
  #dotDelayMs: number;
  /** Of the sink's messages: how many were looked at, whose they were, and how many without copies. */
  #looked = 0;
  readonly #seen = new Set<string>();
  #arrived = 0;

  private constructor(
    options: KillOptions,
    stack: AsyncDisposableStack,
    parts: {
      readonly sink: FakeSmtpServer;
      readonly redis: RedisServer;
      readonly proxies: ReadonlyMap<string, TcpProxy>;
      readonly system: PostmqSystem;
    },
  ) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#sinkRandom = seededRandom(options.seed + 1);
    this.#stack = stack;
    this.#sink = parts.sink;
    this.#redis = parts.redis;
    this.#proxies = parts.proxies;
    this.#system = parts.system;
    this.#dotDelayMs = options.dotDelayMs;
  }

  static async start(options: KillOptions): Promise<KillJourney> {
    await using stack = new AsyncDisposableStack();
    const sink = stack.use(await FakeSmtpServer.start());
    const redis = stack.use(await startRedis());
    const proxies = new Map<string, TcpProxy>();
    for (const name of ["pickup 0", "smtpd 0", "cleanup 0", "qmgr 0", "bounce 0", "showq 0"]) {
      proxies.set(name, stack.use(await TcpProxy.start(redis.port)));
    }
    for (const name of ["smtp-delivery 0", "smtp-delivery 1"]) {
      proxies.set(name, stack.use(await TcpProxy.start(redis.port)));
    }
    const system = stack.use(
      await startPostmq({
        redis,
        scale: { "smtp-delivery": 2 },
        parameters: {
          relayhost: sink.relayhost,
          minimal_backoff_time: "1s",
          maximal_backoff_time: "2s",
          queue_run_delay: "1s",
          default_destination_concurrency_limit: "60",
          ...options.parameters,
        },
        parametersOf: (name, index) => ({
          redis_url: `redis://127.0.0.1:${proxies.get(`${name} ${index}`)?.port ?? redis.port}`,
        }),
      }),
    );
    const journey = new KillJourney(options, stack.move(), { sink, redis, proxies, system });
    sink.decide = ({ stage, recipient }) => journey.#behave(stage, recipient);
    return journey;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async play(): Promise<KillRun> {
    const { victims, more, mostKills, seed, settleMs } = this.#options;
    const flow = new MailFlow({
      ledger: this.#ledger,
      random: this.#random,
      smtpPort: this.#system.smtpPort,
      submissionUrl: this.#system.submissionUrl,
      sessions: 3,
      pauseMs: 100,
      // More than are ever in flight, but no backlog that would hide when delivery goes on.
      mayGoOn: () => this.#ledger.accepted - this.#arrivedAtSink() < mostWaiting,
      refusedShare: 0.05,
    });
    try {
      for (const victim of victims) await this.#killOnce(victim);
      while (!this.#wasEverywhere() && this.#kills.length < mostKills) {
        await this.#killOnce(this.#random.pick(more));
      }
    } finally {
      await flow.stop();
    }
    this.#dotDelayMs = 0;
    const report = await settleAccount({
      ledger: this.#ledger,
      sink: this.#sink,
      system: this.#system,
      timeoutMs: settleMs,
    }).catch((error: Error) => {
      throw new Error(`seed ${seed}, killed ${this.#kills.join(" ")}: ${error.message}`);
    });
    const run = {
      seed,
      kills: this.#kills,
      hits: this.#hits,
      inFlight: this.#inFlight,
      recoveriesMs: this.#recoveriesMs,
      report,
    };
    return {
      ...run,
      problems: [...this.#problemsOf(run), ...report.brokenInvariants],
    };
  }

  #problemsOf({ report, hits, inFlight, recoveriesMs }: Omit<KillRun, "problems">): string[] {
    const unlawful = [...report.duplicates.keys()].filter((entry) => {
      const [message = "", recipient = ""] = entry.split(" ");
      return !this.#mayRepeat.has(recipient === sender ? message : recipient);
    });
    const missed = Object.entries(hits).filter(([, count]) => count === 0);
    return [
      ...report.lost.map((entry) => `lost: ${entry}`),
      ...report.contradictions.map((entry) => `delivered and bounced, or bounced twice: ${entry}`),
      ...report.unknown.map((entry) => `never handed in: ${entry}`),
      ...unlawful.map((entry) => `sent twice though not at dot-sent: ${entry}`),
      ...missed.map(([step]) => `no kill hit the step ${step}`),
      ...inFlight
        .filter((count) => count < leastInFlight)
        .map((count) => `only ${count} deliveries in flight at a kill`),
      ...recoveriesMs
        .filter((ms) => ms > longestRecoveryMs)
        .map((ms) => `delivery went on only after ${Math.round(ms)} ms`),
    ];
  }

  #behave(stage: string, recipient: string) {
    if (stage === "rcpt" && recipient.startsWith("nobody")) {
      return { reply: "550 5.1.1 no such user" };
    }
    if (stage !== "dot" || this.#dotDelayMs === 0) return undefined;
    const spreadMs = this.#dotDelayMs / 2;
    return { delayMs: spreadMs + this.#sinkRandom.between(0, this.#dotDelayMs) };
  }

  #wasEverywhere(): boolean {
    return Object.values(this.#hits).every((count) => count > 0);
  }

  /** Messages that the sink got, copies of one counted once. */
  #arrivedAtSink(): number {
    const { messages } = this.#sink;
    for (const { recipients } of messages.slice(this.#looked)) {
      const [recipient = ""] = recipients;
      // Reports go to the same sender all.
      if (recipient === sender || !this.#seen.has(recipient)) this.#arrived += 1;
      this.#seen.add(recipient);
    }
    this.#looked = messages.length;
    return this.#arrived;
  }

  /** Messages whose dot the sink has not answered yet. */
  #waitingAtSink(): number {
    return this.#sink.messages.filter(
      ({ answeredMs, receivedMs }) => answeredMs === undefined && Date.now() - receivedMs < 5000,
    ).length;
  }

  async #killOnce(victim: Victim): Promise<void> {
    // Some end before the kill comes.
    await waitFor(() => this.#waitingAtSink() >= enoughInFlight, {
      describe: () =>
        `${enoughInFlight} deliveries in flight before killing ${victim}, seed ${this.#options.seed}` +
        `, after ${this.#kills.join(" ")}\n${this.#system.lastLines()}`,
    });
    const startMs = performance.now();
    if (victim === "redis") await this.#killRedis();
    else await this.#killService(victim);
    this.#kills.push(victim);
    await this.#awaitRecovery(startMs, Date.now());
  }

  async #killRedis(): Promise<void> {
    await delay(this.#random.between(0, 300));
    this.#inFlight.push(this.#waitingAtSink());
    await this.#redis.kill9();
    await delay(this.#random.between(0, 1500));
    await this.#redis.restart();
  }

  async #killService(victim: ServiceName): Promise<void> {
    const index = victim === "smtp-delivery" ? this.#random.between(0, 1) : 0;
    const service = this.#system.service(victim, index);
    const proxy = this.#proxies.get(`${victim} ${index}`);
    const watched = nextReader[victim];
    const reader = watched && this.#system.service(watched.reader);
    reader?.freeze();
    try {
      if (watched?.queue === "incoming") await endLooking(this.#redis);
      const unrungBefore = new Set(watched && (await probeUnrung(this.#redis, watched.queue)));
      const stopped = proxy?.pauseAfter(this.#random.between(1, 12));
      await (this.#random.next() < 0.7
        ? Promise.race([stopped, delay(longestSearchMs)])
        : delay(this.#random.between(0, 300)));
      this.#inFlight.push(this.#waitingAtSink());
      await service.kill9();
      proxy?.cut();
      proxy?.resume();
      await waitFor(async () => !(await isConnected(this.#redis, service.pid)));
      if (victim === "smtp-delivery") await this.#countRequests(service.pid);
      if (watched !== undefined) {
        const unrung = await probeUnrung(this.#redis, watched.queue);
        this.#hits.storedNotRung += unrung.filter((id) => !unrungBefore.has(id)).length;
      }
    } finally {
      reader?.thaw();
    }
    this.#system.respawn(victim, index);
  }

  async #countRequests(pid: number): Promise<void> {
    const answered = new Set(
      this.#sink.messages
        .filter(({ answeredMs }) => answeredMs !== undefined)
        .flatMap(({ recipients }) => recipients),
    );
    const requests = await probeRequests(this.#redis);
    for (const { id, state, recipients } of requests.filter(({ worker }) =>
      worker.includes(`${pid}`),
    )) {
      if (state === "claimed") this.#hits.claimed += 1;
      if (state !== "dotSent") continue;
      this.#hits.dotSent += 1;
      if (recipients.some((recipient) => answered.has(recipient))) {
        this.#hits.answeredNotRecorded += 1;
      }
      // Every report goes to the same sender; it is told apart by its queue id.
      for (const recipient of recipients) {
        this.#mayRepeat.add(recipient === sender ? id : recipient.toLowerCase());
      }
    }
  }

  /** Until something that came in after the kill has gone out. */
  async #awaitRecovery(startMs: number, sinceMs: number): Promise<void> {
    const arrivalOf = (content: Buffer) => {
      const received = /^Received: [^;]*;\s*([^\r\n]+(?:\r\n[ \t][^\r\n]+)*)/m.exec(
        content.toString("latin1"),
      )?.[1];
      return Date.parse(received ?? "");
    };
    let read = this.#sink.messages.length;
    await waitFor(
      () => {
        const news = this.#sink.messages.slice(read);
        read = this.#sink.messages.length;
        return news.some(({ content }) => arrivalOf(content) >= sinceMs);
      },
      {
        describe: () => `mail to flow again\n${this.#system.lastLines()}`,
      },
    );
    this.#recoveriesMs.push(performance.now() - startMs);
  }
}
