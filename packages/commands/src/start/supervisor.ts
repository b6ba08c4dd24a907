/**
 * Runs a whole postmq on this machine: its Redis, and every service as a process of its own.
 *
 * The order is Redis, then all services at once; the way back is all services (each drains), then Redis. What
 * dies is started again (KeptProcess). A service that refuses its configuration before the system was ever ready
 * would only refuse it again: that ends the start. If the supervisor itself is killed, each service sees its IPC
 * channel close and drains by itself, and the next start ends the Redis that was left.
 *
 * Source: DESIGN §7 `npm start`, P10; master(8) for the words of its warnings.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { exitCodes, type Clock, type ServiceName } from "@postmq/vocabulary";
import { withSettings } from "./child-environment.ts";
import { KeptProcess, type Death } from "./kept-process.ts";
import {
  endLeftRedis,
  endOfRedisLog,
  lastWordsOfRedis,
  mendTornFile,
  prepareOwnRedis,
  spawnOwnRedis,
  untilRedisAnswers,
  type OwnRedisPlace,
} from "./own-redis.ts";
import type { PlannedProcess } from "./service-plan.ts";
import type { ProcessState } from "./start-status.ts";

/** How long services may drain before they are killed, and then Redis may write. Source: P10. */
export const drainGraceMs = 30_000;

export type SupervisorOptions = {
  readonly planned: readonly PlannedProcess[];
  /** The file that is a service's process. */
  readonly entryOf: (service: ServiceName) => string;
  /** What services read besides what is planned for each. */
  readonly env: NodeJS.ProcessEnv;
  /** Where a Redis of its own keeps its data; absent: `env` names another Redis. */
  readonly ownRedisIn?: string;
  /** Patience with each process that is told to end. */
  readonly graceMs: number;
  readonly clock: Clock;
  /** A line for whoever started it: `listening …`, `ready`. */
  readonly say: (line: string) => void;
  /** A line for the log. */
  readonly warn: (text: string) => void;
  /** Told how the processes stand, whenever that has changed. */
  readonly onChange?: (processes: readonly ProcessState[]) => void;
};

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #ending = new AbortController();
  /** Those that were never ready. */
  readonly #notReady = new Set<string>();
  /** Those whose present run is. */
  readonly #ready = new Set<string>();
  #redis: KeptProcess | undefined;
  #services: readonly KeptProcess[] = [];
  #exitStatus: number = exitCodes.ok;
  #wasReady = false;
  #hasRedisAnswered = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** Ends it all; `run` returns when it has. May be called at any time, more than once. */
  end(): void {
    this.#ending.abort();
  }

  /** Runs until `end`, or until it can't go on. @returns the exit status. */
  async run(): Promise<number> {
    const { signal } = this.#ending;
    const ended = signal.aborted ? Promise.resolve() : once(signal, "abort");
    try {
      const redisUrl = await this.#startRedis();
      if (!signal.aborted) this.#startServices(redisUrl);
      await ended;
    } finally {
      await this.#stopAll();
    }
    return this.#exitStatus;
  }

  async #startRedis(): Promise<string | undefined> {
    const dataDirectory = this.#options.ownRedisIn;
    if (dataDirectory === undefined) return undefined;
    const place = prepareOwnRedis(dataDirectory);
    if (await endLeftRedis(place, this.#options.graceMs)) {
      this.#options.warn("ended a Redis that an earlier start had left running");
    }
    let mended = Promise.resolve();
    this.#redis = new KeptProcess({
      name: "redis",
      clock: this.#options.clock,
      spawn: () => {
        const logFrom = endOfRedisLog(place);
        const redis = spawnOwnRedis(place);
        mended = this.#mendRedis(place, logFrom, redis);
        return redis;
      },
      onStart: () => this.#changed(),
      onDeath: (death) => this.#redisDied(death, place),
    });
    this.#redis.start();
    await untilRedisAnswers(place, this.#ending.signal).catch((error: unknown) => {
      if (!this.#ending.signal.aborted) throw error;
    });
    this.#hasRedisAnswered = true;
    await mended;
    return `unix://${place.socketPath}`;
  }

  /** Once it answers. Never rejects: a run that ends before has nothing to mend. */
  async #mendRedis(place: OwnRedisPlace, logFrom: number, redis: ChildProcess): Promise<void> {
    const ended = new AbortController();
    redis.once("exit", () => ended.abort());
    const signal = AbortSignal.any([ended.signal, this.#ending.signal]);
    try {
      await untilRedisAnswers(place, signal);
      const outcome = await mendTornFile(place, logFrom, signal);
      if (outcome === "mended") {
        this.#options.warn("Redis found its append-only file torn at the end, and wrote it anew");
      } else if (outcome === "failed") {
        this.#options.warn(
          "Redis found its append-only file torn at the end, and can't write it anew: do BGREWRITEAOF before it ends",
        );
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #redisDied(death: Death, place: OwnRedisPlace): boolean {
    this.#warnOfDeath(death);
    this.#changed();
    if (this.#hasRedisAnswered) return true;
    this.#options.warn(`Redis did not come up:\n${lastWordsOfRedis(place)}`);
    this.#fail(exitCodes.unavailable);
    return false;
  }

  #startServices(redisUrl: string | undefined): void {
    this.#services = this.#options.planned.map((planned) => this.#keptService(planned, redisUrl));
    for (const service of this.#services) this.#notReady.add(service.name);
    for (const service of this.#services) service.start();
  }

  #keptService(planned: PlannedProcess, redisUrl: string | undefined): KeptProcess {
    const { env, entryOf, clock } = this.#options;
    const childEnv = withSettings(env, {
      ...(redisUrl === undefined ? {} : { POSTMQ_REDIS_URL: redisUrl }),
      POSTMQ_METRICS_LISTEN: planned.metricsListen,
    });
    return new KeptProcess({
      name: planned.name,
      clock,
      spawn: () => forkService(entryOf(planned.service), childEnv),
      onStart: () => this.#changed(),
      onDeath: (death) => this.#serviceDied(death),
      onMessage: (message) => this.#heard(planned, message),
    });
  }

  #serviceDied(death: Death): boolean {
    this.#warnOfDeath(death);
    this.#ready.delete(death.name);
    this.#changed();
    if (this.#wasReady || death.exitStatus !== exitCodes.config) return true;
    this.#fail(exitCodes.config);
    return false;
  }

  #heard(planned: PlannedProcess, message: unknown): void {
    const report = parseReport(message);
    if (report === undefined) return;
    if (report.type === "listening") {
      this.#options.say(`listening ${listenerName(planned, report)} ${report.address}`);
      return;
    }
    this.#notReady.delete(planned.name);
    this.#ready.add(planned.name);
    this.#changed();
    if (this.#wasReady || this.#notReady.size > 0) return;
    this.#wasReady = true;
    this.#options.say("ready");
  }

  #changed(): void {
    const redis = this.#redis === undefined ? [] : [this.#redis];
    const states = [...redis, ...this.#services].map(({ name, pid }) => ({
      name,
      pid,
      isReady: name === "redis" ? this.#hasRedisAnswered : this.#ready.has(name),
    }));
    this.#options.onChange?.(states);
  }

  async #stopAll(): Promise<void> {
    await Promise.all(this.#services.map((service) => this.#stop(service)));
    if (this.#redis !== undefined) await this.#stop(this.#redis);
  }

  async #stop(kept: KeptProcess): Promise<void> {
    const { graceMs } = this.#options;
    if (await kept.stop(graceMs)) return;
    this.#options.warn(`process ${kept.name} did not end within ${graceMs / 1000} s: killed`);
  }

  #fail(exitStatus: number): void {
    this.#exitStatus = exitStatus;
    this.end();
  }

  #warnOfDeath(death: Death): void {
    this.#options.warn(`process ${death.name} pid ${death.pid ?? "-"} ${death.how}`);
  }
}

function forkService(entry: string, env: NodeJS.ProcessEnv): ChildProcess {
  return fork(entry, [], { env, execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
}

/** What service-kit sends to whoever started the service. */
type Listening = {
  readonly type: "listening";
  readonly listener: string;
  readonly address: string;
};
type Report = Listening | { readonly type: "ready" };

/** The service's name for the listener that it is known for; `smtpd/metrics` beside it. */
function listenerName(planned: PlannedProcess, { listener }: Listening): string {
  return listener === "metrics" ? `${planned.name}/metrics` : planned.name;
}

function parseReport(message: unknown): Report | undefined {
  if (typeof message !== "object" || message === null || !("type" in message)) return undefined;
  if (message.type === "ready") return { type: "ready" };
  if (message.type !== "listening" || !("address" in message)) return undefined;
  const listener = "listener" in message ? String(message.listener) : "";
  return { type: "listening", listener, address: String(message.address) };
}
