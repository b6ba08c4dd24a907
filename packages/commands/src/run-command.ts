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
  aside: async () => (await import("./aside.ts")).aside,
  export: async () => (await import("./export.ts")).exportQueue,
  import: async () => (await import("./import.ts")).importQueue,
  run: async () => (await import("./run-instance.ts")).run,
  sendmail: async () => (await import("./sendmail/sendmail.ts")).sendmail,
  mailq: async () => (await import("./sendmail/sendmail.ts")).sendmail,
  postcat: async () => (await import("./postcat.ts")).postcat,
  postconf: async () => (await import("./postconf.ts")).postconf,
  postqueue: async () => (await import("./postqueue.ts")).postqueue,
  postsuper: async () => (await import("./postsuper.ts")).postsuper,
  list: async () => (await import("./list-verb.ts")).list,
  ...actVerbs(),
  qshape: async () => (await import("./qshape.ts")).qshape,
  check: async () => (await import("./check.ts")).check,
  events: async () => (await import("./events.ts")).events,
  status: async () => (await import("./start/status.ts")).status,
  stop: async () => (await import("./start/stop.ts")).stop,
  start: async () => {
    const { start } = await import("./start/start.ts");
    return ({ args }) => start(args);
  },
};

/** hold, release, delete … Nothing is imported until one runs, so their names stand here and not in the store. */
function actVerbs(): Readonly<Record<string, () => Promise<Command>>> {
  const acts = ["delete", "expire", "hold", "release", "requeue", "retry"] as const;
  return Object.fromEntries(
    acts.map((act) => [act, async () => (await import("./act-verbs.ts")).actVerb(act)]),
  );
}

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
    case "PMQ_EXPORT_FILE":
      return exitCodes.cantCreate;
    case "PMQ_IMPORT_PLACE":
      return exitCodes.tempFail;
    case "PMQ_MESSAGE_REFUSED":
    case "PMQ_MESSAGE_UNREADABLE":
      return exitCodes.dataErr;
    default:
      return exitCodes.unavailable;
  }
}
