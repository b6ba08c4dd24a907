/**
 * `sendmail -q…`: runs of the queue, once or at intervals, of everything or of some messages.
 *
 * A run makes mail due that waits in deferred; what is in incoming is due already, and hold is never touched. Whoever
 * schedules delivers it. An instance that was named with -oQ and that nobody schedules is run by this process itself.
 *
 * Source: spec sendmail-queue.md §4, §5, §7; sendmail(1) -q.
 */
import { setTimeout as pause } from "node:timers/promises";

import { exitCodes, isPostmqError } from "@postmq/vocabulary";

import { CommandFailure } from "../command.ts";
import type { CommandContext } from "../command.ts";
import { flush } from "../flush.ts";
import type { FlushRequest } from "../flush.ts";
import { withQueue } from "../open-queue.ts";
import { readParameters } from "../read-parameters.ts";
import { untilStopped } from "../stop-signal.ts";
import type { SendmailRequest } from "./arguments.ts";

const openWithinMs = 3_000;

export type RunRequest = Pick<SendmailRequest, "run" | "instance" | "config">;

export async function runQueue(context: CommandContext, request: RunRequest): Promise<number> {
  const { intervalMs } = request.run;
  return await untilStopped((signal) =>
    intervalMs === undefined
      ? once(context, request, signal)
      : repeat(context, request, { intervalMs, signal }),
  );
}

async function once(
  context: CommandContext,
  { run, config, instance }: RunRequest,
  signal: AbortSignal,
): Promise<number> {
  const { contains, isVerbose } = run;
  const wanted: FlushRequest =
    contains.length === 0 ? { what: "all" } : { what: "selected", contains };
  if (instance !== undefined && !(await isScheduled(context, config))) {
    const { runInstance } = await import("../run-instance.ts");
    return await runInstance(context, { isOnce: true, isVerbose, config, flush: wanted });
  }
  if (!isVerbose) return await flush(context, wanted, { config, signal });
  const { watchRun } = await import("./watch-run.ts");
  return await watchRun(context, { flush: wanted, config, signal });
}

/** Until it is told to stop. A run that fails, since Redis is away, is told of and tried again at the next interval. */
async function repeat(
  context: CommandContext,
  request: RunRequest,
  { intervalMs, signal }: { readonly intervalMs: number; readonly signal: AbortSignal },
): Promise<number> {
  while (!signal.aborted) {
    try {
      await once(context, request, signal);
    } catch (error) {
      const isAway = error instanceof CommandFailure && error.exitCode === exitCodes.unavailable;
      const mayPass = isPostmqError(error) && error.code !== "PMQ_CONFIG_INVALID";
      if (!isAway && !mayPass) throw error;
      context.complain(`${context.name}: warning: ${error.message}\n`);
    }
    await pause(intervalMs, undefined, { signal }).catch(() => undefined);
  }
  return exitCodes.ok;
}

async function isScheduled(context: CommandContext, config: string | undefined): Promise<boolean> {
  const parameters = readParameters(context.env, config);
  return await withQueue(parameters, { command: "sendmail", withinMs: openWithinMs }, (store) =>
    store.copying().isLed(),
  );
}
