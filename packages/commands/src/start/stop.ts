/**
 * `postmq stop`: ends the system that runs on a data directory, and waits until it has ended.
 *
 * Its end shows by the lock of the directory: it is held until the last process is gone, the Redis too.
 *
 * Source: postfix(1) "stop"; P10.
 */
import { setTimeout as pause } from "node:timers/promises";
import { exitCodes } from "@postmq/vocabulary";
import { CommandFailure } from "../command.ts";
import type { CommandContext } from "../command.ts";
import { lockHolder } from "./data-lock.ts";
import { runningStart } from "./running-start.ts";
import { drainGraceMs } from "./supervisor.ts";

/** Services may drain, then Redis may write, each for the grace; then they are killed. */
const patienceMs = 3 * drainGraceMs;
const lookEveryMs = 50;

/** @returns the exit status: 0 it has ended; 1 nothing runs there; 75 it does not end */
export async function stop(context: CommandContext): Promise<number> {
  const about =
    "Ends what `npm start` or `postmq start` runs on a data directory: all services drain first.";
  const running = runningStart(context, about);
  if (typeof running === "number") return running;
  const { dataDirectory, pid } = running;
  const ending = Number.isNaN(pid) ? await untilItSays(dataDirectory) : pid;
  if (ending === undefined) return exitCodes.ok;
  terminate(ending);
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += lookEveryMs) {
    if (lockHolder(dataDirectory) !== ending) return exitCodes.ok;
    await pause(lookEveryMs);
  }
  throw new CommandFailure(exitCodes.tempFail, `process ${ending} does not end`);
}

/** It writes its process id just after it took the lock. @returns undefined: it ended */
async function untilItSays(dataDirectory: string): Promise<number | undefined> {
  for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += lookEveryMs) {
    const pid = lockHolder(dataDirectory);
    if (pid === undefined || !Number.isNaN(pid)) return pid;
    await pause(lookEveryMs);
  }
  throw new CommandFailure(
    exitCodes.tempFail,
    `whoever runs on ${dataDirectory} does not say its process id`,
  );
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    // It has ended meanwhile.
    if (error.code === "ESRCH") return;
    if (error.code !== "EPERM") throw error;
    throw new CommandFailure(exitCodes.noPermission, `not allowed to end process ${pid}`, error);
  }
}
