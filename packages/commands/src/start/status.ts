/** `postmq status`: which services run on this machine, from this data directory. Source: postfix(1) "status". */
import { exitCodes } from "@postmq/vocabulary";
import type { CommandContext } from "../command.ts";
import { runningStart } from "./running-start.ts";
import { readStartStatus } from "./start-status.ts";

/** @returns the exit status: 0 it runs, 1 it does not */
export async function status(context: CommandContext): Promise<number> {
  const about =
    "Says whether `npm start` or `postmq start` runs on a data directory, and its processes.";
  const running = runningStart(context, about);
  if (typeof running === "number") return running;
  const { dataDirectory, pid } = running;
  const as = Number.isNaN(pid) ? "" : ` as process ${pid}`;
  const lines = readStartStatus(dataDirectory).map(
    ({ name, pid: own, isReady }) =>
      `${name.padEnd(18)} ${String(own ?? "-").padStart(8)}  ` +
      `${own === undefined ? "died, is started again" : isReady ? "ready" : "starting"}\n`,
  );
  context.print(`running${as} on ${dataDirectory}\n${lines.join("")}`);
  return exitCodes.ok;
}
