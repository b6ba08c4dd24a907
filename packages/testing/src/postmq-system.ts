/**
 * The whole product as a test runs it: every service a real process over a real Redis, each of them killable alone.
 *
 * Listeners are on 127.0.0.1, port 0; the services tell their addresses over IPC (service-kit). A service that was
 * killed keeps its ports when it is started again, so that clients and tests find it where it was.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { serviceNames } from "@postmq/vocabulary";
import type { ServiceName } from "@postmq/vocabulary";

import { Child, run } from "./child-process.ts";
import type { ChildExit, ChildOptions, Finished } from "./child-process.ts";
import { freePort } from "./free-port.ts";
import { startRedis } from "./redis-server.ts";
import type { RedisServer } from "./redis-server.ts";
import { waitFor } from "./wait-for.ts";

export type PostmqOptions = {
  /** Default: all seven, one of each. */
  readonly services?: readonly ServiceName[];
  readonly scale?: Readonly<Partial<Record<ServiceName, number>>>;
  /** Parameters for all, by Postfix name: { relayhost: "[127.0.0.1]:2526" }. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Other environment variables, for all. */
  readonly env?: Readonly<Record<string, string>>;
  /** Arguments of node: ["--import", "/some/module.mjs"]. */
  readonly nodeArgs?: (name: ServiceName) => readonly string[];
  /** Logs go to files in this directory instead of to this process. */
  readonly logDirectory?: string;
  /** Default: one of its own, which ends with the system. */
  readonly redis?: RedisServer;
  /** The url to give instead of the redis server's own, e.g. of a proxy before it. */
  readonly redisUrl?: string;
  /** Parameters for one service alone; they win. */
  readonly parametersOf?: (
    name: ServiceName,
    index: number,
  ) => Readonly<Record<string, string>> | undefined;
  /** Other environment variables for one service alone; they win. */
  readonly envOf?: (
    name: ServiceName,
    index: number,
  ) => Readonly<Record<string, string>> | undefined;
  /** Default 60 000. */
  readonly readyTimeoutMs?: number;
};

type Listening = { readonly service: string; readonly address: string };

/** One run of one service. */
export class ServiceProcess {
  readonly name: ServiceName;
  readonly child: Child;
  /** Addresses told so far, in order; the metrics listener among them. */
  readonly listening: Listening[] = [];
  #isReady = false;

  constructor(
    name: ServiceName,
    args: readonly string[],
    options: Pick<ChildOptions, "env" | "outputFile">,
  ) {
    this.name = name;
    this.child = new Child(process.execPath, args, {
      ...options,
      onMessage: (message) => this.#receive(message),
    });
  }

  get pid(): number {
    return this.child.pid;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  get isRunning(): boolean {
    return this.child.isRunning;
  }

  /** What it wrote to both outputs. */
  get log(): string {
    return this.child.stdout + this.child.stderr;
  }

  async kill9(): Promise<void> {
    await this.child.kill9();
  }

  async terminate(): Promise<ChildExit> {
    return await this.child.terminate();
  }

  freeze(): void {
    this.child.signal("SIGSTOP");
  }

  thaw(): void {
    this.child.signal("SIGCONT");
  }

  #receive(message: unknown): void {
    if (typeof message !== "object" || message === null || !("type" in message)) return;
    if (message.type === "ready") this.#isReady = true;
    if (message.type !== "listening") return;
    if (!("service" in message) || !("address" in message)) return;
    this.listening.push({ service: String(message.service), address: String(message.address) });
  }
}

type Slot = {
  readonly name: ServiceName;
  readonly index: number;
  readonly ports: Readonly<Record<string, number>>;
  readonly runs: ServiceProcess[];
};

/** The parameter of the main listener of a service that has one. */
const listenParameter: Readonly<Partial<Record<ServiceName, string>>> = {
  pickup: "pickup_listen",
  smtpd: "smtpd_listen",
  showq: "showq_listen",
};

export class PostmqSystem implements AsyncDisposable {
  readonly redis: RedisServer;
  /** A directory of its own: data_directory, the configuration. */
  readonly directory: string;
  readonly #options: PostmqOptions;
  readonly #slots: Slot[] = [];

  constructor(redis: RedisServer, directory: string, options: PostmqOptions) {
    this.redis = redis;
    this.directory = directory;
    this.#options = options;
  }

  /** Environment under which services and commands of this system run. */
  get env(): Readonly<Record<string, string>> {
    const parameters = {
      redis_url: this.#options.redisUrl ?? this.redis.url,
      data_directory: join(this.directory, "data"),
      drop_directory: join(this.directory, "data", "maildrop"),
      myhostname: "mail.example.com",
      mynetworks: "127.0.0.0/8",
      ...this.#options.parameters,
    };
    return { ...this.#options.env, ...asEnvironment(parameters) };
  }

  get smtpPort(): number {
    return this.#port("smtpd", "smtpd_listen");
  }

  /** HTTP submission: http://127.0.0.1:port. */
  get submissionUrl(): string {
    return `http://127.0.0.1:${this.#port("pickup", "pickup_listen")}`;
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.#port("showq", "showq_listen")}`;
  }

  metricsUrl(name: ServiceName, index = 0): string {
    return `http://127.0.0.1:${this.#port(name, "metrics_listen", index)}`;
  }

  /** The latest run of the nth copy of a service. */
  service(name: ServiceName, index = 0): ServiceProcess {
    const service = this.#slot(name, index).runs.at(-1);
    if (service === undefined) throw new Error(`${name} was never started`);
    return service;
  }

  /** Every run of every service, ended ones too. */
  get runs(): readonly ServiceProcess[] {
    return this.#slots.flatMap((slot) => slot.runs);
  }

  /** Everything that all services wrote. */
  get logs(): string {
    return this.runs.map((run) => run.log).join("");
  }

  /** The latest lines of all services by their time stamps, for the message of a failure. */
  lastLines(count = 40): string {
    const lines = this.logs.split("\n").filter((line) => line !== "");
    return lines.toSorted().slice(-count).join("\n");
  }

  /** Starts a further copy. @returns its index. */
  async add(name: ServiceName): Promise<number> {
    const index = this.#slots.filter((slot) => slot.name === name).length;
    const main = listenParameter[name];
    const slot: Slot = {
      name,
      index,
      ports: {
        ...(main === undefined ? {} : { [main]: await freePort() }),
        metrics_listen: await freePort(),
      },
      runs: [],
    };
    this.#slots.push(slot);
    this.#spawn(slot);
    return index;
  }

  /** Starts a service again that has ended, and waits until it is ready. */
  async restart(name: ServiceName, index = 0): Promise<ServiceProcess> {
    const slot = this.#slot(name, index);
    const last = slot.runs.at(-1);
    if (last?.isRunning === true) throw new Error(`${name} is still running`);
    this.#spawn(slot);
    await this.ready();
    return this.service(name, index);
  }

  /** Starts a service again without waiting for it. */
  respawn(name: ServiceName, index = 0): void {
    this.#spawn(this.#slot(name, index));
  }

  /** Waits until every service that should run is ready. @throws with the log of one that ended instead. */
  async ready(): Promise<void> {
    const latest = () => this.#slots.flatMap((slot) => slot.runs.at(-1) ?? []);
    await waitFor(
      () => {
        const dead = latest().find((service) => !service.isRunning && !service.isReady);
        if (dead !== undefined) throw new Error(`${dead.name} did not start:\n${dead.log}`);
        return latest().every((service) => service.isReady || !service.isRunning);
      },
      {
        timeoutMs: this.#options.readyTimeoutMs ?? 60_000,
        describe: () => {
          const late = latest().filter((service) => !service.isReady);
          return `ready of ${late.map((service) => `${service.name}:\n${service.log}`).join()}`;
        },
      },
    );
  }

  /** Runs a command of the product (sendmail, mailq, qshape, …) against this system. */
  async command(
    name: string,
    args: readonly string[] = [],
    options: {
      readonly input?: string | Buffer;
      readonly parameters?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Finished> {
    return await run(join(repository, "node_modules", ".bin", name), args, {
      env: { ...this.env, ...nodeFirstInPath, ...asEnvironment(options.parameters ?? {}) },
      ...(options.input === undefined ? {} : { input: options.input }),
    });
  }

  /** SIGTERM to all. @returns every run that did not exit 0 (those killed on purpose before are left out). */
  async stop(): Promise<readonly { readonly name: ServiceName; readonly exit: ChildExit }[]> {
    const running = this.runs.filter((service) => service.isRunning);
    const exits = await Promise.all(
      running.map(async (service) => ({ name: service.name, exit: await service.terminate() })),
    );
    return exits.filter(({ exit }) => exit.code !== 0);
  }

  /** Kills what is left and removes the directory. @throws nothing: a test's own failure must show. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.runs.map((service) => service.kill9()));
    if (this.#options.redis === undefined) await this.redis[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  #spawn(slot: Slot): void {
    const listeners = Object.entries(slot.ports).map(
      ([parameter, port]) => [parameter, `127.0.0.1:${port}`] as const,
    );
    const main = join(repository, "services", slot.name, "src", "main.ts");
    const args = [...(this.#options.nodeArgs?.(slot.name) ?? []), main];
    const env = {
      ...this.env,
      ...asEnvironment(Object.fromEntries(listeners)),
      ...asEnvironment(this.#options.parametersOf?.(slot.name, slot.index) ?? {}),
      ...this.#options.envOf?.(slot.name, slot.index),
    };
    const { logDirectory } = this.#options;
    const outputFile =
      logDirectory === undefined ? undefined : join(logDirectory, `${slot.name}-${slot.index}.log`);
    slot.runs.push(
      new ServiceProcess(slot.name, args, {
        env,
        ...(outputFile === undefined ? {} : { outputFile }),
      }),
    );
  }

  #slot(name: ServiceName, index: number): Slot {
    const slot = this.#slots.find((each) => each.name === name && each.index === index);
    if (slot === undefined) throw new Error(`no ${name} number ${index} in this system`);
    return slot;
  }

  #port(name: ServiceName, parameter: string, index = 0): number {
    const port = this.#slot(name, index).ports[parameter];
    if (port === undefined) throw new Error(`${name} has no ${parameter}`);
    return port;
  }
}

/** Starts the services and waits until all are ready. */
export async function startPostmq(options: PostmqOptions = {}): Promise<PostmqSystem> {
  const directory = await mkdtemp(join(tmpdir(), "postmq-test-"));
  const redis = options.redis ?? (await startRedis());
  const system = new PostmqSystem(redis, directory, options);
  try {
    for (const name of options.services ?? serviceNames) {
      for (let copies = options.scale?.[name] ?? 1; copies > 0; copies -= 1) await system.add(name);
    }
    await system.ready();
  } catch (error) {
    await system[Symbol.asyncDispose]();
    throw error;
  }
  return system;
}

const repository = join(import.meta.dirname, "..", "..", "..");

/** `#!/usr/bin/env node` of a command must find the node that runs the tests. */
const nodeFirstInPath = {
  PATH: `${join(process.execPath, "..")}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
};

function asEnvironment(
  parameters: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [`POSTMQ_${name.toUpperCase()}`, value]),
  );
}
