/**
 * A redis-server of a test's own: in a directory of its own, on a port of its own, killed and started again at will.
 *
 * The settings are those that promise P1 needs: `appendonly yes`, `appendfsync always`, `noeviction`, no snapshots.
 */
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

const startTries = 5;

export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly dir: string;
  readonly url: string;
  readonly #options: RedisOptions;
  #child: Child;

  constructor(port: number, dir: string, options: RedisOptions, child: Child) {
    this.port = port;
    this.dir = dir;
    this.#options = options;
    this.#child = child;
    const credentials = options.password === undefined ? "" : `:${options.password}@`;
    this.url = `redis://${credentials}127.0.0.1:${port}`;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get log(): string {
    return this.#child.stdout;
  }

  /** Dies at once, as in a crash. The data directory stays. */
  async kill9(): Promise<void> {
    await this.#child.kill9();
  }

  /** SIGTERM and wait. The data directory stays. */
  async stop(): Promise<void> {
    await this.#child.terminate();
  }

  /** Starts again on the same data and port. Call after `kill9` or `stop`. @throws if it does not come up. */
  async restart(): Promise<void> {
    const child = spawnRedis(this.port, this.dir, this.#options);
    if (!(await isUp(child, this.port, this.#options.password))) {
      throw new Error(`redis-server did not come back:\n${child.stdout}${child.stderr}`);
    }
    this.#child = child;
  }

  /** Frozen by SIGSTOP: connections stay open, nothing answers. */
  pause(): void {
    this.#child.signal("SIGSTOP");
  }

  resume(): void {
    this.#child.signal("SIGCONT");
  }

  /** One command by redis-cli. @returns its raw output without the last newline. @throws on an error reply. */
  async cli(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await redisCli(this.port, this.#options.password, args);
    if (code !== 0) throw new Error(`redis-cli ${args.join(" ")}: ${stderr}${stdout}`);
    return stdout.replace(/\n$/, "");
  }

  /** Ends the server and removes its data unless the directory was given. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.kill9();
    if (this.#options.dir === undefined) await rm(this.dir, { recursive: true, force: true });
  }
}

/** Starts a redis-server and waits until it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "postmq-redis-")));
  let trouble = "";
  for (let tried = 0; tried < startTries; tried += 1) {
    const port = await freePort();
    const child = spawnRedis(port, dir, options);
    if (await isUp(child, port, options.password)) {
      return new RedisServer(port, dir, options, child);
    }
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

/** True once it answers PING from its own process; false when it ended instead. */
async function isUp(child: Child, port: number, password: string | undefined): Promise<boolean> {
  return await waitFor(
    async () => {
      if (!child.isRunning) return { isUp: false };
      if (!child.stdout.includes("Ready to accept connections")) return undefined;
      const { stdout } = await redisCli(port, password, ["PING"]);
      return stdout.startsWith("PONG") ? { isUp: true } : undefined;
    },
    { timeoutMs: 60_000, describe: "redis-server to answer" },
  ).then((answer) => answer.isUp);
}

function redisCli(port: number, password: string | undefined, args: readonly string[]) {
  const login = password === undefined ? {} : { env: { REDISCLI_AUTH: password } };
  return run("redis-cli", ["-e", "-h", "127.0.0.1", "-p", String(port), ...args], login);
}
