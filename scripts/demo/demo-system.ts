/**
 * postmq as `npm start` runs it, in a directory of the demo's own: nothing that is here already is touched.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { MailHost } from "./outside-world.ts";

const program = join(import.meta.dirname, "../../packages/commands/src/main.ts");
const usualPorts = [2525, 8025, 8080, 9151, 9152, 9153, 9154, 9155, 9156, 9157];

/** What the demo sets: mail goes to the hosts above, and is tried again soon. */
export const demoParameters = {
  myhostname: "mail.demo.example",
  minimal_backoff_time: "3s",
  maximal_backoff_time: "10s",
  queue_run_delay: "1s",
} as const;

export class DemoSystem implements AsyncDisposable {
  readonly directory: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #addresses = new Map<string, string>();
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(directory: string, env: NodeJS.ProcessEnv) {
    this.directory = directory;
    this.#env = env;
    // A process group of its own: Ctrl-C reaches the demo alone, which then ends this in its turn.
    this.#child = spawn(process.execPath, [program, "postmq", "start"], {
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#exited = once(this.#child, "exit");
  }

  /** @throws Error with the end of the log when it does not come up. */
  static async start(directory: string, hosts: readonly MailHost[]): Promise<DemoSystem> {
    mkdirSync(directory, { recursive: true });
    writeConfiguration(directory, hosts);
    const listeners = (await areFree(usualPorts)) ? {} : anyPorts;
    const system = new DemoSystem(directory, {
      ...withoutPostmq(process.env),
      ...listeners,
      POSTMQ_CONFIG: join(directory, "main.cf"),
    });
    await system.#untilReady();
    return system;
  }

  get logFile(): string {
    return join(this.directory, "postmq.log");
  }

  /** Where a service listens: `smtpd`, `pickup`, `qmgr/metrics` … */
  address(listener: string): string {
    return this.#addresses.get(listener) ?? "";
  }

  get metricsUrls(): readonly string[] {
    return [...this.#addresses]
      .filter(([listener]) => listener.endsWith("/metrics"))
      .map(([, address]) => `http://${address}/metrics`);
  }

  /** Runs one of postmq's commands on this system. @returns its output. */
  async command(name: string, ...args: readonly string[]): Promise<string> {
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [program, name, ...args], { env: this.#env });
    return stdout;
  }

  /** Resolves when it ended without being asked to. */
  async untilExit(): Promise<void> {
    await this.#exited;
  }

  /** SIGTERM; the supervisor drains. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#exited;
  }

  async #untilReady(): Promise<void> {
    const { stdout, stderr } = this.#child;
    if (stdout === null || stderr === null) throw new Error("no output to read");
    const log = createWriteStream(this.logFile);
    stdout.pipe(log, { end: false });
    stderr.pipe(log, { end: false });
    const ready = new Promise<boolean>((resolve) => {
      createInterface(stdout).on("line", (line) => {
        const [, listener, address] = /^listening (\S+) (\S+)$/.exec(line) ?? [];
        if (listener !== undefined && address !== undefined) this.#addresses.set(listener, address);
        if (line === "ready") resolve(true);
      });
    });
    if (await Promise.race([ready, this.#exited.then(() => false)])) return;
    const tail = readFileSync(this.logFile, "utf8").split("\n").slice(-20).join("\n");
    throw new Error(`postmq did not start:\n${tail}`);
  }
}

const anyPorts = {
  POSTMQ_SMTPD_LISTEN: "127.0.0.1:0",
  POSTMQ_PICKUP_LISTEN: "127.0.0.1:0",
  POSTMQ_SHOWQ_LISTEN: "127.0.0.1:0",
  POSTMQ_METRICS_LISTEN: "127.0.0.1:0",
};

/** Each domain has a mail host with a port of its own, so that each is a destination of its own. */
function writeConfiguration(directory: string, hosts: readonly MailHost[]): void {
  const routes = hosts.map(({ domain, server }) => `${domain} smtp:[127.0.0.1]:${server.port}`);
  writeFileSync(join(directory, "transport"), `${routes.join("\n")}\n`);
  const settings = {
    ...demoParameters,
    mynetworks: "127.0.0.0/8",
    transport_maps: `texthash:${join(directory, "transport")}`,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}\n`);
  writeFileSync(join(directory, "main.cf"), lines.join(""));
}

/** The demo shall be the same whatever parameters are set around it. */
function withoutPostmq(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("POSTMQ_")));
}

async function areFree(ports: readonly number[]): Promise<boolean> {
  const free = await Promise.all(ports.map(isFree));
  return free.every(Boolean);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
