/** The options of `postmq stop` and `postmq status`, and the start that they mean: the one on a data directory. */
import { parseArgs } from "node:util";
import { exitCodes } from "@postmq/vocabulary";
import { CommandFailure } from "../command.ts";
import type { CommandContext } from "../command.ts";
import { readParameters } from "../read-parameters.ts";
import { withSettings } from "./child-environment.ts";
import { lockHolder } from "./data-lock.ts";

export type RunningStart = {
  readonly dataDirectory: string;
  /** NaN: it has only just begun. */
  readonly pid: number;
};

/** @returns an exit status, when there is nothing more to do: only the usage was asked for, or nothing runs there */
export function runningStart(context: CommandContext, about: string): RunningStart | number {
  const usage = `usage: postmq ${context.name} [--data-directory DIR] [-c config]\n\n${about}\n`;
  const given = parsed(context.args, usage);
  if (given.help === true) {
    context.print(usage);
    return exitCodes.ok;
  }
  const directory = given["data-directory"];
  const env =
    directory === undefined
      ? context.env
      : withSettings({ ...context.env }, { POSTMQ_DATA_DIRECTORY: directory });
  const { data_directory: dataDirectory } = readParameters(env, given.config);
  const pid = lockHolder(dataDirectory);
  if (pid !== undefined) return { dataDirectory, pid };
  context.print(`not running on ${dataDirectory}\n`);
  return 1;
}

function parsed(args: readonly string[], usage: string) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        "data-directory": { type: "string" },
        config: { type: "string", short: "c" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (cause) {
    throw new CommandFailure(exitCodes.usage, usage, cause);
  }
}
