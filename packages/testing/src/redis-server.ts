/**
 * A redis-server of a test's own: in a directory of its own, on a port of its own, killed and started again at will.
 *
 * The settings are those that promise P1 needs: `appendonly yes`, `appendfsync always`, `noeviction`, no snapshots.
 */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Child, run } from "./child-process.ts";
import { freePort } from "./free-port.ts";
import { waitFor } from "./wait-for.ts";

export type RedisOptions = {
  /** Default always. */
  readonly appendfsync?: "always" | "everysec" | "no";
  /** Data of an earlier server. Default: a new directory, removed at the end. */
  readonly dir?: string;
  /** Sets `requirepass`; the url then carries it. */
  readonly password?: string;
  /** More arguments, e.g. ["--maxmemory", "64mb"]. They win over the defaults. */
  readonly args?: readonly string[];
  /** A command in front, e.g. ["strace", "-f"]. */
  readonly wrapper?: readonly string[];
};

type Running = { readonly child: Child; readonly pid: number };

const startTries = 5;

/** Data of servers that were stopped but never disposed of goes with the process. */
const ownDirectories = new Set<string>();

process.on("exit", () => {
  for (const dir of ownDirectories) rmSync(dir, { recursive: true, force: true });
});

export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly dir: string;
  readonly url: string;
  readonly #options: RedisOptions;
  #child: Child;
  #pid: number;

  constructor(port: number, dir: string, options: RedisOptions, { child, pid }: Running) {
    this.port = port;
    this.dir = dir;
    this.#options = options;
    this.#child = child;
    this.#pid = pid;
    const credentials = options.password === undefined ? "" : `:${options.password}@`;
    this.url = `redis://${credentials}127.0.0.1:${port}`;
  }

  /** Of the redis-server itself, also when it runs under a wrapper. */
  get pid(): number {
    return this.#pid;
  }

  get log(): string {
    return this.#child.stdout;
  }

  /** Dies at once, as in a crash. The data directory stays. */
  async kill9(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#child.exited;
  }

  /** SIGTERM and wait. The data directory stays. */
  async stop(): Promise<void> {
    this.#signal("SIGTERM");
    await this.#child.exited;
  }

  /** Starts again on the same data and port. Call after `kill9` or `stop`. @throws if it does not come up. */
  async restart(): Promise<void> {
    const child = spawnRedis(this.port, this.dir, this.#options);
    const pid = await pidOnceUp(child, this.port, this.#options.password);
    if (pid === undefined) {
      throw new Error(`redis-server did not come back:\n${child.stdout}${child.stderr}`);
    }
    this.#child = child;
    this.#pid = pid;
  }

  /** Frozen by SIGSTOP: connections stay open, nothing answers. */
  pause(): void {
    this.#signal("SIGSTOP");
  }

  resume(): void {
    this.#signal("SIGCONT");
  }

  /** One command by redis-cli. @returns its raw output without the last newline. @throws on an error reply. */
  async cli(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await redisCli(this.port, this.#options.password, args);
    if (code !== 0) throw new Error(`redis-cli ${args.join(" ")}: ${stderr}${stdout}`);
    return stdout.replace(/\n$/, "");
  }

  /** Ends the server and removes its data unless the directory was given. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
    if (this.#options.dir === undefined) await rm(this.dir, { recursive: true, force: true });
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#child.isRunning) process.kill(this.#pid, signal);
  }
}

/** Starts a redis-server and waits until it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "postmq-redis-")));
  if (options.dir === undefined) ownDirectories.add(dir);
  let trouble = "";
  for (let tried = 0; tried < startTries; tried += 1) {
    const port = await freePort();
    const child = spawnRedis(port, dir, options);
    const pid = await pidOnceUp(child, port, options.password);
    if (pid !== undefined) return new RedisServer(port, dir, options, { child, pid });
    trouble = child.stdout + child.stderr;
  }
  throw new Error(`redis-server did not start:\n${trouble}`);
}

function spawnRedis(port: number, dir: string, options: RedisOptions): Child {
  const settings = {
    port: String(port),
    bind: "127.0.0.1",
    dir,
    save: "",
    appendonly: "yes",
    appendfsync: options.appendfsync ?? "always",
    "maxmemory-policy": "noeviction",
    "hash-max-listpack-value": "1024",
    "hash-max-listpack-entries": "128",
    ...(options.password === undefined ? {} : { requirepass: options.password }),
  };
  const [command, ...args] = [
    ...(options.wrapper ?? []),
    "redis-server",
    ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ...(options.args ?? []),
  ];
  return new Child(command ?? "redis-server", args);
}

/** The process id that it tells once it answers; undefined when it ended instead. */
async function pidOnceUp(
  child: Child,
  port: number,
  password: string | undefined,
): Promise<number | undefined> {
  const { pid } = await waitFor(
    async () => {
      if (!child.isRunning) return { pid: undefined };
      if (!child.stdout.includes("Ready to accept connections")) return undefined;
      const { stdout } = await redisCli(port, password, ["INFO", "server"]);
      const told = /^process_id:(\d+)/m.exec(stdout)?.[1];
      return told === undefined ? undefined : { pid: Number(told) };
    },
    { describe: "redis-server to answer" },
  );
  return pid;
}

function redisCli(port: number, password: string | undefined, args: readonly string[]) {
  const login = password === undefined ? {} : { env: { REDISCLI_AUTH: password } };
  return run("redis-cli", ["-e", "-h", "127.0.0.1", "-p", String(port), ...args], login);
}
