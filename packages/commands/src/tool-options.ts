/** Options of Postfix's tools, and how these say that one is wrong: getopt's own line, then the usage as the failure. */
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { getopt } from "./getopt.ts";
import type { GivenArguments } from "./getopt.ts";

/** @throws CommandFailure with the usage, having complained about the option */
export function toolOptions(
  context: Pick<CommandContext, "args" | "complain" | "name">,
  letters: string,
  usage: { readonly text: string; readonly exitCode: number },
): GivenArguments {
  try {
    return getopt(context.args, letters);
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    context.complain(`${context.name}: ${error.message}\n`);
    throw new CommandFailure(usage.exitCode, usage.text, error);
  }
}
