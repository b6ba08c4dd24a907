/** `--instance NAME`: every command takes it, to work on another queue system of the same Redis (DESIGN §5). */
import { exitCodes } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";

/** The arguments without the option, and the environment in which it is set. */
export function withInstance(
  args: readonly string[],
  env: CommandContext["env"],
): Pick<CommandContext, "args" | "env"> {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const at = args.findIndex((word, i) => i < end && /^--instance(=|$)/.test(word));
  const word = args[at];
  if (word === undefined) return { args, env };
  const isApart = word === "--instance";
  const name = isApart ? args[at + 1] : word.slice("--instance=".length);
  if (name === undefined) throw new CommandFailure(exitCodes.usage, "--instance needs a name");
  return { args: args.toSpliced(at, isApart ? 2 : 1), env: inInstance(name, env) };
}

/** The environment for the queue system of that name. */
export function inInstance(name: string, env: CommandContext["env"]): CommandContext["env"] {
  return { ...env, POSTMQ_INSTANCE_NAME: name, POSTMQ_INSTANCE_NAME_FILE: undefined };
}
