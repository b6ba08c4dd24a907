/**
 * postsuper's command line: acts in the order given, each on one id, on ids from standard input (`-`), or on `ALL`.
 *
 * Departs: `corrupt` is a queue here, and a queue's name that is none is refused before anything is done, not when the
 * first act comes to it; `--dry-run` and `--reason TEXT` are ours.
 *
 * Source: postsuper(1); Postfix src/postsuper/postsuper.c; spec admin-tools.md §2.
 */
import type { Act } from "@postmq/queue-store";
import { isMessageQueue } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { lastValue } from "./getopt.ts";
import type { GivenOption } from "./getopt.ts";
import { shownText } from "./shown-text.ts";
import { toolOptions } from "./tool-options.ts";

export const fatal = 1;
const usageText =
  "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or un-hold)] " +
  "[-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] " +
  "[-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]";

const actsOfOption: Readonly<Record<string, readonly Act[]>> = {
  d: ["delete"],
  e: ["expire"],
  f: ["expire", "release"],
  h: ["hold"],
  H: ["release"],
  r: ["requeue"],
};

/** Directories of Postfix's queue that hold no messages; a name of one is no mistake. */
const logQueues = ["bounce", "defer", "flush", "trace"];

/** Options of the same letter that follow each other. */
export type SuperAct = {
  readonly letter: string;
  readonly acts: readonly Act[];
  /** Ids, and `-`, as they were typed; "ALL": every message. */
  readonly on: readonly string[] | "ALL";
};

export type SuperRequest = {
  readonly acts: readonly SuperAct[];
  /** undefined: those that are usual for each act. */
  readonly queues: readonly MessageQueue[] | undefined;
  readonly isDryRun: boolean;
  readonly reason: string | undefined;
  readonly config: string | undefined;
};

/** @throws CommandFailure, exit 1 */
export function parsePostsuper(context: CommandContext): SuperRequest {
  const { args, isDryRun, reason } = takeOwn(context.args);
  const given = toolOptions({ ...context, args }, "c:d:e:f:h:H:pr:sSv", {
    text: usageText,
    exitCode: fatal,
  });
  const queues = given.operands.length === 0 ? undefined : given.operands.flatMap(parseQueue);
  const acts = given.options.reduce(withOption, [] as readonly SuperAct[]);
  return { acts, queues, isDryRun, reason, config: lastValue(given, "c") };
}

function parseQueue(name: string): readonly MessageQueue[] {
  if (isMessageQueue(name)) return [name];
  if (logQueues.includes(name)) return [];
  throw new CommandFailure(fatal, `invalid directory name: ${shownText(name)}`);
}

function withOption(before: readonly SuperAct[], { letter, value }: GivenOption): typeof before {
  const acts = actsOfOption[letter];
  if (acts === undefined) return before;
  if (value === "ALL") return [...before, { letter, acts, on: "ALL" }];
  const last = before.at(-1);
  if (last === undefined || last.letter !== letter || last.on === "ALL")
    return [...before, { letter, acts, on: [value] }];
  return [...before.slice(0, -1), { ...last, on: [...last.on, value] }];
}

/** Our own options, which getopt knows nothing of. */
function takeOwn(args: readonly string[]) {
  const left: string[] = [];
  let isDryRun = false;
  let reason: string | undefined;
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? "";
    if (word === "--") return { args: [...left, ...args.slice(at)], isDryRun, reason };
    if (word === "--dry-run") isDryRun = true;
    else if (word === "--reason") reason = args[(at += 1)] ?? missing();
    else if (word.startsWith("--reason=")) reason = word.slice("--reason=".length);
    else left.push(word);
  }
  return { args: left, isDryRun, reason };
}

function missing(): never {
  throw new CommandFailure(fatal, "--reason needs a text");
}
