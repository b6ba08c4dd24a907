/**
 * Processes started by tests: their output is kept, signals go to exactly this process, and none outlives the test.
 *
 * Where util-linux's `setpriv` is installed, the kernel kills the child when the test process dies, however it dies.
 * The environment is only what the caller gives, plus a PATH: a developer's own POSTMQ_ variables never leak in.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";

const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const setpriv = "/usr/bin/setpriv";
/** How long output may still come after the end: a process that it started may hold the pipe open for ever. */
const lastOutputMs = 1000;
const living = new Set<ChildProcess>();

process.on("exit", () => {
  for (const child of living) child.kill("SIGKILL");
});

export type ChildOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string | Buffer;
  /** Gets messages that the child sends over an IPC channel, which exists only if this is given. */
  readonly onMessage?: (message: unknown) => void;
  /** A file that takes both outputs, as of a process whose log nobody reads along; `stdout` then reads it. */
  readonly outputFile?: string;
};

export type ChildExit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** A running (or ended) process and everything it wrote. */
export class Child {
  readonly command: string;
  readonly pid: number;
  /** Resolves when the process has ended and its output was read. */
  readonly exited: Promise<ChildExit>;
  /** Resolves when the process has ended. */
  readonly #gone: Promise<void>;
  readonly #process: ChildProcess;
  readonly #outputFile: string | undefined;
  #stdout: Buffer[] = [];
  #stderr: Buffer[] = [];
  #exit: ChildExit | undefined;

  constructor(command: string, args: readonly string[], options: ChildOptions = {}) {
    this.command = [command, ...args].join(" ");
    const [file, argv] = existsSync(setpriv)
      ? [setpriv, ["--pdeathsig", "KILL", command, ...args]]
      : [command, args];
    this.#outputFile = options.outputFile;
    const output = options.outputFile === undefined ? "pipe" : openSync(options.outputFile, "a");
    this.#process = spawn(file, argv, {
      env: { PATH: path, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ["pipe", output, output, ...(options.onMessage === undefined ? [] : ["ipc" as const])],
    });
    if (typeof output === "number") closeSync(output);
    living.add(this.#process);
    this.pid = this.#process.pid ?? 0;
    this.#process.stdout?.on("data", (bytes: Buffer) => this.#stdout.push(bytes));
    this.#process.stderr?.on("data", (bytes: Buffer) => this.#stderr.push(bytes));
    // A child that ends before it has read its input is an exit like any other.
    this.#process.stdin?.on("error", () => {});
    this.#process.stdin?.end(options.input ?? "");
    if (options.onMessage !== undefined) this.#process.on("message", options.onMessage);
    const gone = Promise.withResolvers<void>();
    this.#gone = gone.promise;
    this.exited = new Promise((resolve) => {
      const finish = (exit: ChildExit) => {
        living.delete(this.#process);
        this.#exit = exit;
        gone.resolve();
        return exit;
      };
      this.#process.once("error", (error) => {
        this.#stderr.push(Buffer.from(`${error.message}\n`));
        if (this.#process.pid === undefined) resolve(finish({ code: 127, signal: null }));
      });
      this.#process.once("exit", (code, signal) => {
        const exit = finish({ code, signal });
        // Whatever has come by then is read first, should this process itself have been late.
        const late = setTimeout(() => setImmediate(() => resolve(exit)), lastOutputMs);
        this.#process.once("close", () => {
          clearTimeout(late);
          resolve(exit);
        });
      });
    });
  }

  get isRunning(): boolean {
    return this.#exit === undefined;
  }

  get exit(): ChildExit | undefined {
    return this.#exit;
  }

  /** What it wrote to standard output so far. */
  get stdout(): string {
    if (this.#outputFile !== undefined) return readFileSync(this.#outputFile, "utf8");
    return Buffer.concat(this.#stdout).toString("utf8");
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString("utf8");
  }

  /** Called with each piece of standard output from now on. */
  onOutput(listener: (bytes: Buffer) => void): void {
    this.#process.stdout?.on("data", listener);
  }

  /** @returns false when the process had already ended. */
  signal(signal: NodeJS.Signals): boolean {
    return this.isRunning && this.#process.kill(signal);
  }

  async kill9(): Promise<void> {
    this.signal("SIGKILL");
    await this.#gone;
  }

  /** SIGTERM; SIGKILL if it is still there after `graceMs`. @returns how it ended. */
  async terminate(graceMs = 30_000): Promise<ChildExit> {
    this.signal("SIGTERM");
    this.signal("SIGCONT");
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }
}

export type Finished = ChildExit & { readonly stdout: string; readonly stderr: string };

/** Runs a command to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: ChildOptions & { readonly timeoutMs?: number } = {},
): Promise<Finished> {
  const child = new Child(command, args, options);
  const timer = setTimeout(() => child.signal("SIGKILL"), options.timeoutMs ?? 180_000);
  const exit = await child.exited;
  clearTimeout(timer);
  return { ...exit, stdout: child.stdout, stderr: child.stderr };
}
