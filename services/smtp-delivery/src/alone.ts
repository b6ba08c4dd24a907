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

import type { RequestName } from "@postmq/vocabulary";
import { parseQueueId } from "@postmq/vocabulary";

/** How often a child says that it lives, and after which silence it is killed. postmq's own. */
export const aliveIntervalMs = 2_000;
const silenceLimitMs = 30_000;
/** Such processes that a daemon has at once; each costs as much memory as the daemon. postmq's own. */
const mostAtOnce = 3;

export type AloneOptions = {
  /** The program to run; it gets the request's name as its argument. */
  readonly entry: URL;
  /** Passes the end of service on to the child. */
  readonly draining: AbortSignal;
  readonly onNotice: (level: "info" | "warning", text: string, name: RequestName) => void;
  readonly silenceLimitMs?: number;
};

/** A daemon's places for processes that try one message each. Whoever finds none free waits. */
export class AlonePlaces {
  readonly #options: AloneOptions;
  readonly #waiting: (() => void)[] = [];
  #free = mostAtOnce;

  constructor(options: AloneOptions) {
    this.#options = options;
  }

  /** @returns false when the daemon drains: then nothing was tried. */
  async run(name: RequestName): Promise<boolean> {
    if (this.#free === 0) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#free -= 1;
    try {
      if (this.#options.draining.aborted) return false;
      await runAlone(name, this.#options);
      return true;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/** Resolves when the child has gone. */
function runAlone(name: RequestName, options: AloneOptions): Promise<void> {
  const { onNotice } = options;
  return new Promise((resolve) => {
    const child = fork(options.entry, [formatRequestName(name)], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
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
