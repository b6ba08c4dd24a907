/**
 * A child process that is kept running: started again whenever it dies, until it is told to stop.
 *
 * Owns the child and the timer of the pause between two runs. States: resting (a timer is set) and running (a
 * child exists), alternating until `stop`, after which nothing is started any more.
 *
 * Source: DESIGN §7 `npm start`; master(8) "abnormal termination".
 */
import type { ChildProcess } from "node:child_process";
import type { Clock } from "@postmq/vocabulary";
import { nextRestartPauseMs } from "./restart-pause.ts";

export type KeptProcessOptions = {
  /** What people call it: a service's name, with the copy's number from the second on. */
  readonly name: string;
  readonly clock: Clock;
  readonly spawn: () => ChildProcess;
  /** Told of each run that has begun. */
  readonly onStart?: () => void;
  /** Told of each end that nobody asked for. @returns whether to start it again. */
  readonly onDeath: (death: Death) => boolean;
  /** What the child sent over its IPC channel, if it has one. */
  readonly onMessage?: (message: unknown) => void;
};

/** How a run ended: by a signal, with an exit status, or not even begun. */
export type Death = {
  readonly name: string;
  readonly pid: number | undefined;
  readonly exitStatus: number | undefined;
  /** "exit status 70", "killed by SIGKILL", "can't be started: …". */
  readonly how: string;
};

export class KeptProcess {
  readonly #options: KeptProcessOptions;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = 0;
  #startedMs = 0;
  #isStopping = false;
  #onGone: (() => void) | undefined;

  constructor(options: KeptProcessOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  /** Of the present run; undefined between two. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    this.#timer = undefined;
    this.#startedMs = this.#options.clock.nowMs();
    const child = this.#options.spawn();
    this.#child = child;
    child.once("error", (error) => this.#ended(child, `can't be started: ${error.message}`));
    child.once("exit", (status, signal) => {
      this.#ended(child, signal === null ? `exit status ${status}` : `killed by ${signal}`);
    });
    child.on("message", (message) => this.#options.onMessage?.(message));
    this.#options.onStart?.();
  }

  /** SIGTERM, and SIGKILL to one that outlives the grace. @returns whether it ended by itself. */
  async stop(graceMs: number): Promise<boolean> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined) return true;
    const gone = new Promise<void>((resolve) => (this.#onGone = resolve));
    let wasPatient = true;
    const impatience = setTimeout(() => {
      wasPatient = false;
      child.kill("SIGKILL");
    }, graceMs);
    child.kill("SIGTERM");
    await gone;
    clearTimeout(impatience);
    return wasPatient;
  }

  #ended(child: ChildProcess, how: string): void {
    // "error" and "exit" may both come for one run; an error of a running child (a failed kill) ends nothing.
    if (this.#child !== child || (child.pid !== undefined && isRunning(child))) return;
    this.#child = undefined;
    this.#onGone?.();
    if (this.#isStopping) return;
    const ranMs = this.#options.clock.nowMs() - this.#startedMs;
    const exitStatus = child.exitCode ?? undefined;
    if (!this.#options.onDeath({ name: this.name, pid: child.pid, exitStatus, how })) return;
    this.#pauseMs = nextRestartPauseMs(this.#pauseMs, ranMs);
    this.#timer = setTimeout(() => this.start(), this.#pauseMs);
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
