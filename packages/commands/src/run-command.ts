/**
 * Finds the command that was asked for, runs it, and says how it ended.
 *
 * Commands are imported only when they run: `sendmail` is started once per mail.
 */
import { exitCodes, isPostmqError } from "@postmq/vocabulary";
import type { ErrorCode } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { Command, CommandContext } from "./command.ts";
import { withInstance } from "./instance-option.ts";

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  sendmail: async () => (await import("./sendmail/sendmail.ts")).sendmail,
  mailq: async () => (await import("./sendmail/sendmail.ts")).sendmail,
  postqueue: async () => (await import("./postqueue.ts")).postqueue,
  qshape: async () => (await import("./qshape.ts")).qshape,
  start: async () => {
    const { start } = await import("./start/start.ts");
    return ({ args }) => start(args);
  },
};

const verbs = Object.keys(commands).toSorted().join(", ");
const usageText = `usage: postmq <verb> [argument]...\nverbs: ${verbs}\n`;

/** @param process the first of `args` is the name it was called by, or a verb of `postmq` */
export async function runCommand(process: Omit<CommandContext, "name">): Promise<number> {
  const [called = "", ...rest] = process.args;
  const [verb = "", ...args] = called === "postmq" ? rest : process.args;
  if (verb === "help" || verb === "--help") {
    process.print(usageText);
    return exitCodes.ok;
  }
  const load = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
  if (load === undefined) {
    process.complain(verb === "" ? usageText : `postmq: unknown verb ${verb}\n${usageText}`);
    return exitCodes.usage;
  }
  try {
    const command = await load();
    return await command({ ...process, name: verb, ...withInstance(args, process.env) });
  } catch (error) {
    return explain(error, (text) => process.complain(`${verb}: fatal: ${text}\n`));
  }
}

/** Says what went wrong. @returns the exit status. @throws what is no failure but a bug */
function explain(error: unknown, complain: (text: string) => void): number {
  if (error instanceof CommandFailure) {
    complain(error.message);
    return error.exitCode;
  }
  if (!isPostmqError(error)) throw error;
  complain(error.message);
  return exitCodeOf(error.code);
}

function exitCodeOf(code: ErrorCode): number {
  switch (code) {
    case "PMQ_USAGE":
      return exitCodes.usage;
    case "PMQ_CONFIG_INVALID":
      return exitCodes.config;
    case "PMQ_MESSAGE_REFUSED":
    case "PMQ_MESSAGE_UNREADABLE":
      return exitCodes.dataErr;
    default:
      return exitCodes.unavailable;
  }
}
