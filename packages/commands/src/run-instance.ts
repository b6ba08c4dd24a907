/**
 * `postmq run --instance NAME`: runs a queue system that nobody runs, until it is empty.
 *
 * Starts a qmgr, one smtp-delivery, bounce and cleanup for it, without listeners, flushes it, and ends them when nothing
 * is left to be delivered; or, with --once, when everything was tried once, as `sendmail -q` does. What is in hold or
 * corrupt stays, and is told of. Mail of other instances flows meanwhile. Should this process be killed, its services see
 * that and drain; what they had claimed falls with them.
 *
 * Source: spec sendmail-queue.md §5, §7, §8; DESIGN §5.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { readSettings } from "@postmq/config";
import type { Parameters } from "@postmq/config";
import { printable, whileReachable } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { exitCodes, systemClock } from "@postmq/vocabulary";
import type { MessageQueue, ServiceName } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { finishOthers, openWithinMs, rest } from "./copying-progress.ts";
import type { CopyingSide } from "./copying-progress.ts";
import { flush } from "./flush.ts";
import type { FlushRequest } from "./flush.ts";
import { redisUrl, withQueue } from "./open-queue.ts";
import { installation, parameterSource, readParameters } from "./read-parameters.ts";
import { withSettings } from "./start/child-environment.ts";
import { KeptProcess } from "./start/kept-process.ts";
import { drainGraceMs } from "./start/supervisor.ts";
import { untilStopped } from "./stop-signal.ts";
import { assertAllowed } from "./user-access.ts";

const usageText = `usage: postmq run --instance NAME [--once] [-v] [-c config]

Runs the queue system NAME until nothing is left in it to be delivered.
  --once  until everything was tried once; what is deferred stays
  -v      prints each delivery as it ends
`;
const services = [
  "cleanup",
  "qmgr",
  "smtp-delivery",
  "bounce",
] as const satisfies readonly ServiceName[];
const lookEveryMs = 300;
/** Looks in a row that find nothing left: a message may be between two queues at one of them. */
const looksAtRest = 3;

export type RunOptions = {
  /** End when everything was tried once. */
  readonly isOnce: boolean;
  /** Print each delivery. */
  readonly isVerbose: boolean;
  readonly config?: string | undefined;
  /** What is made due at its beginning; default: all. What falls due by itself is tried in any case. */
  readonly flush?: FlushRequest;
};

export async function run(context: CommandContext): Promise<number> {
  const given = parsed(context.args);
  if (given.help === true) {
    context.print(usageText);
    return exitCodes.ok;
  }
  return await runInstance(context, {
    isOnce: given.once === true,
    isVerbose: given.verbose === true,
    config: given.config,
  });
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        once: { type: "boolean" },
        verbose: { type: "boolean", short: "v" },
        config: { type: "string", short: "c" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new CommandFailure(exitCodes.usage, `${printable(text)}\n${usageText}`, error);
  }
}

/**
 * Runs the instance that the environment names.
 *
 * @returns the exit status: 0 at its end; 75 when it was told to stop before
 * @throws CommandFailure: 69 somebody runs it already; 77 the user may not flush; 78 its services refuse to start
 */
export async function runInstance(context: CommandContext, options: RunOptions): Promise<number> {
  const parameters = readParameters(context.env, options.config);
  const items = parameters.authorized_flush_users;
  assertAllowed(context.user, { parameter: "authorized_flush_users", items }, "run a mail queue");
  return await untilStopped((signal) =>
    withQueue(parameters, { command: "run", withinMs: openWithinMs }, async (store) => {
      await whileReachable(store, async () => {
        const copying = store.copying();
        await assertNobodyRuns(store, copying);
        await finishOthers(context, store, copying, options.config);
      });
      const { flush: wanted = { what: "all" }, config } = options;
      const code = await flush(context, wanted, { config, signal });
      if (code !== exitCodes.ok) return code;
      await using running = new RunningInstance(context, parameters, options);
      running.start();
      const isOver = await untilOver(store, options, AbortSignal.any([signal, running.failed]));
      await running.stop();
      if (running.failed.aborted)
        throw new CommandFailure(exitCodes.config, "a service can't start");
      await whileReachable(store, () => tellOfRest(context, store));
      return isOver ? exitCodes.ok : exitCodes.tempFail;
    }),
  );
}

async function assertNobodyRuns(store: Store, copying: CopyingSide): Promise<void> {
  if (!(await copying.isLed())) return;
  const text = `already running: a qmgr leads the instance ${store.instanceName}`;
  throw new CommandFailure(exitCodes.unavailable, text);
}

/** @returns false: told to stop before */
async function untilOver(
  store: Store,
  { isOnce }: RunOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const looking = store.looking();
  const scheduling = store.scheduling();
  const busy: readonly MessageQueue[] = ["maildrop", "incoming", "active"];
  const wanted = isOnce ? busy : [...busy, "deferred"];
  for (let quiet = 0; !signal.aborted;) {
    const depths = await looking.depths();
    const isEmpty = depths.every(
      ({ queue, messages }) => messages === 0 || !wanted.includes(queue),
    );
    // The flush stands until the leader has taken up everything that was there.
    const isTried = !isOnce || (await scheduling.pendingFlush()) === undefined;
    quiet = isEmpty && isTried ? quiet + 1 : 0;
    if (quiet >= looksAtRest) return true;
    await rest(lookEveryMs, signal);
  }
  return false;
}

async function tellOfRest(context: CommandContext, store: Store): Promise<void> {
  const depths = (await store.looking().depths()).filter(({ messages }) => messages > 0);
  const left = depths.map(({ queue, messages }) => `${messages} in ${queue}`).join(", ");
  context.complain(
    `${context.name}: instance ${store.instanceName}: ${left === "" ? "empty" : `left: ${left}`}\n`,
  );
}

/** The services of one instance, as children of this process. */
class RunningInstance implements AsyncDisposable {
  readonly #context: CommandContext;
  readonly #isVerbose: boolean;
  readonly #kept: readonly KeptProcess[];
  readonly #failed = new AbortController();
  #isStopped = false;

  constructor(context: CommandContext, parameters: Parameters, options: RunOptions) {
    this.#context = context;
    this.#isVerbose = options.isVerbose;
    const env = childEnvironment(context, parameters, options.config);
    this.#kept = services.map(
      (name) =>
        new KeptProcess({
          name,
          clock: systemClock,
          spawn: () => this.#spawn(name, env),
          onDeath: ({ exitStatus, how }) => {
            context.complain(`${context.name}: warning: process ${name} ${how}\n`);
            if (exitStatus === exitCodes.config) this.#failed.abort();
            return !this.#failed.signal.aborted;
          },
        }),
    );
  }

  /** Fires when a service refuses its configuration. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  start(): void {
    for (const kept of this.#kept) kept.start();
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    await Promise.all(this.#kept.map((kept) => kept.stop(drainGraceMs)));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #spawn(name: ServiceName, env: NodeJS.ProcessEnv): ChildProcess {
    const entry = join(installation, "services", name, "src", "main.ts");
    // Ctrl-C reaches the group of this process; the children drain when they are told to, in order.
    const child = fork(entry, [], {
      env,
      execArgv: [],
      detached: true,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on("line", (line) => this.#tell(line));
    }
    if (child.stderr !== null) {
      const say = (line: string) => this.#context.complain(`${name}: ${line}\n`);
      createInterface({ input: child.stderr }).on("line", say);
    }
    return child;
  }

  #tell(line: string): void {
    if (/(\]|[A-Za-z0-9]): (warning|error|fatal|panic): |"level":"(warning|error)"/.test(line)) {
      this.#context.complain(`${line}\n`);
    } else if (this.#isVerbose && isDelivery(line)) {
      this.#context.print(`${line}\n`);
    }
  }
}

/** A line of the log that says what came of a recipient, or that a message is gone. */
function isDelivery(line: string): boolean {
  return (
    / status=\S+ \(|: removed$|notification: /.test(line) ||
    /"event":"(delivery|removed)/.test(line)
  );
}

function childEnvironment(
  context: CommandContext,
  parameters: Parameters,
  config: string | undefined,
): NodeJS.ProcessEnv {
  const { configFile } = readSettings(parameterSource(context.env, config));
  const { data_directory: data, instance_name: name } = parameters;
  return withSettings(
    { ...context.env },
    {
      ...(configFile === undefined ? {} : { POSTMQ_CONFIG: configFile }),
      POSTMQ_INSTANCE_NAME: name,
      POSTMQ_REDIS_URL: redisUrl(parameters),
      POSTMQ_METRICS_LISTEN: "",
      // Outcomes that a worker could not write are of one instance only.
      ...(data === "" ? {} : { POSTMQ_DATA_DIRECTORY: join(data, "instances", name) }),
    },
  );
}
