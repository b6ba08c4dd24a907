/**
 * Trying a message in a process of its own, because earlier tries killed their worker.
 *
 * The parent keeps the bell until the child is gone, whatever its end, and takes no harm from it. The child claims for
 * itself; when it dies, the leader reaps its claim and counts the crash (faults.md 39). A child that no longer answers
 * is killed: a blocked event loop is a crash too.
 *
 * Source: DESIGN §3 "A message whose worker crashed".
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

import type { RequestName } from "@postmq/vocabulary";
import { parseQueueId } from "@postmq/vocabulary";

/** How often a child says that it lives, and after which silence it is killed. postmq's own. */
export const aliveIntervalMs = 2_000;
const silenceLimitMs = 30_000;
/** Such processes that a daemon has at once; each costs as much memory as the daemon. postmq's own. */
const mostAtOnce = 3;
/** Jobs that run so or wait for it, as a part of what the daemon delivers at once (one at least); the rest is for other mail. */
const shareOfJobs = 1 / 4;

export type AloneOptions = {
  /** The program to run; it gets the request's name as its argument. */
  readonly entry: URL;
  /** Deliveries that the daemon runs at once. */
  readonly concurrency: number;
  /** Whether a request that has waited for its place is still to be tried. */
  readonly isWanted: (name: RequestName) => Promise<boolean>;
  /** Passes the end of service on to the child. */
  readonly draining: AbortSignal;
  readonly onNotice: (level: "info" | "warning", text: string, name: RequestName) => void;
  readonly silenceLimitMs?: number;
};

/**
 * A daemon's places for processes that try one message each. Few wait for one, so that other mail is not kept from
 * the daemon; for the rest the leader rings again later.
 */
export class AlonePlaces {
  readonly #options: AloneOptions;
  readonly #mostHeld: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: AloneOptions) {
    this.#options = options;
    this.#mostHeld = Math.max(1, Math.floor(options.concurrency * shareOfJobs));
  }

  /** Jobs that run so or wait for it. */
  get held(): number {
    return this.#running + this.#waiting.length;
  }

  /** @returns why it was not tried: the daemon drains; passed over, since too many wait or it is tried elsewhere */
  async run(name: RequestName): Promise<"tried" | "draining" | "passed"> {
    const { draining, isWanted } = this.#options;
    if (this.held >= this.#mostHeld) return "passed";
    const mustWait = this.#running >= mostAtOnce;
    // Whoever ends hands its place on.
    if (mustWait) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#running += 1;
    try {
      // The leader may have rung again meanwhile, and another daemon have tried it.
      const isStill = !mustWait || draining.aborted || (await orAborted(isWanted(name), draining));
      if (draining.aborted) return "draining";
      if (!isStill) return "passed";
      await runAlone(name, this.#options);
      return "tried";
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}

/** The answer, or undefined when the signal fires first. */
async function orAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const answered = new AbortController();
  const aborted = once(signal, "abort", { signal: answered.signal }).then(
    () => undefined,
    () => undefined,
  );
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    answered.abort();
  }
}

/** Resolves when the child has gone. */
function runAlone(name: RequestName, options: AloneOptions): Promise<void> {
  const { onNotice } = options;
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = fork(options.entry, [formatRequestName(name)], {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
    } catch (error) {
      // The machine has no room for it now; the leader rings again.
      onNotice("warning", `trying it alone failed: ${String(error)}`, name);
      resolve();
      return;
    }
    const limitMs = options.silenceLimitMs ?? silenceLimitMs;
    const onSilence = () => {
      onNotice("warning", `process ${child.pid} that tries it alone is silent: killing it`, name);
      child.kill("SIGKILL");
    };
    let watchdog = setTimeout(onSilence, limitMs);
    child.on("message", () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(onSilence, limitMs);
    });
    const onDraining = () => child.kill("SIGTERM");
    options.draining.addEventListener("abort", onDraining);
    const finish = () => {
      clearTimeout(watchdog);
      options.draining.removeEventListener("abort", onDraining);
      resolve();
    };
    child.once("error", (error) => {
      onNotice("warning", `trying it alone failed: ${error.message}`, name);
      if (child.pid === undefined) finish();
    });
    child.once("exit", (code, signal) => {
      const how = signal === null ? `status ${code}` : `signal ${signal}`;
      if (code !== 0) {
        onNotice("warning", `the process that tried it alone ended with ${how}`, name);
      }
      finish();
    });
  });
}

/** `<id>/<number>/<generation>`. */
export function formatRequestName(name: RequestName): string {
  return `${name.id}/${name.number}/${name.generation}`;
}

export function parseRequestName(text: string): RequestName | undefined {
  const match = /^([^/]+)\/(\d{1,15})\/(\d{1,15})$/.exec(text);
  const id = parseQueueId(match?.[1] ?? "");
  if (match === null || id === undefined) return undefined;
  return { id, number: Number(match[2]), generation: Number(match[3]) };
}
