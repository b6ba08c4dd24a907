/**
 * `postmq aside`: messages out of the way, into an instance of their own in which nothing runs, and back.
 *
 * A large backlog for one dead host is then nothing that the rest must be sorted past. Ids, clocks, attempts and reasons
 * stay what they are. What somebody is at work on is left, and counted: start it again.
 *
 * Source: spec sendmail-queue.md §7; DESIGN §5.
 */
import { formatSelection, movedQueues, moveMessages, whileReachable } from "@postmq/queue-admin";
import type { MoveCounts, Selection } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

import { note, notingFailure } from "./audited.ts";
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import {
  checkedName,
  finishOthers,
  inOtherInstance,
  openWithinMs,
  selectedIds,
  watchSteps,
} from "./copying-progress.ts";
import { dryRun } from "./dry-run.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import {
  assertMeant,
  configOf,
  parseSelectionOptions,
  selectionUsage,
} from "./selection-options.ts";
import type { GivenSelection } from "./selection-options.ts";
import { shownText } from "./shown-text.ts";
import { untilStopped } from "./stop-signal.ts";

const usageText = `usage: postmq aside --to NAME [selection] [--all] [--dry-run] [--reason TEXT]
       postmq aside --back NAME [selection] [--dry-run] [--reason TEXT]
       postmq aside --list
       postmq aside --remove NAME

--to      moves messages to the instance NAME, in which nothing runs until \`postmq run --instance NAME\`
--back    moves them back; all of them unless a selection is given
--list    names instances that messages were moved to, with how many are there
--remove  forgets NAME, if it is empty
--dry-run counts and shows some; moves nothing
-c FILE   configuration; --instance NAME: from which instance
selection: ${selectionUsage}
`;
const ownFlags = ["--all", "--dry-run", "--list", "--help", "-h"];
const ownValues = ["--to", "--back", "--remove", "--reason"];

type Moving = {
  readonly store: Store;
  readonly given: GivenSelection;
  readonly signal: AbortSignal;
  readonly config: string | undefined;
};

export async function aside(context: CommandContext): Promise<number> {
  const own = { flags: ownFlags, values: ownValues };
  // Ages count from now; a clock that differs from Redis's by some seconds does no harm here.
  const given = parseSelectionOptions(context.args, own, Date.now());
  if (given.flags.has("--help") || given.flags.has("-h")) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const verb = verbOf(given);
  const config = configOf(given);
  const parameters = readParameters(context.env, config);
  return await untilStopped((signal) =>
    withQueue(parameters, { command: context.name, withinMs: openWithinMs }, (store) => {
      const moving = { store, given, signal, config };
      return whileReachable(store, () => run(context, moving, verb));
    }),
  );
}

type Verb = { readonly verb: "--to" | "--back" | "--remove" | "--list"; readonly name: string };

function verbOf(given: GivenSelection): Verb {
  const verbs = (["--to", "--back", "--remove"] as const).flatMap((verb): readonly Verb[] => {
    const name = given.values.get(verb);
    return name === undefined ? [] : [{ verb, name: checkedName(name) }];
  });
  if (given.flags.has("--list")) verbs.push({ verb: "--list", name: "" });
  const [only, another] = verbs;
  if (only === undefined || another !== undefined) {
    throw new CommandFailure(
      exitCodes.usage,
      `one of --to, --back, --list, --remove\n${usageText}`,
    );
  }
  if (only.verb === "--to") assertMeant(given.selection, given.flags.has("--all"));
  return only;
}

async function run(context: CommandContext, moving: Moving, { verb, name }: Verb): Promise<number> {
  if (name === moving.store.instanceName) {
    throw new CommandFailure(exitCodes.usage, `${name} is the instance itself`);
  }
  switch (verb) {
    case "--list":
      return await listAsides(context, moving);
    case "--remove":
      return await removeAside(context, moving, name);
    case "--to":
    case "--back":
      return await move(context, moving, { verb, name });
  }
}

async function move(
  context: CommandContext,
  moving: Moving,
  { verb, name }: { readonly verb: "--to" | "--back"; readonly name: string },
): Promise<number> {
  const { store: here, given, signal, config } = moving;
  const copying = here.copying();
  if (verb === "--back" && !(await copying.asideNames()).includes(name)) throw unknownAside(name);
  if (given.flags.has("--dry-run")) {
    const { selection } = given;
    const about = { selection, queues: queuesOf(selection), signal };
    if (verb === "--to") {
      return await dryRun(context, here, { ...about, participle: `moved to ${name}` });
    }
    return await inOtherInstance(context, { name, config }, (there) =>
      dryRun(context, there, { ...about, participle: `moved back from ${name}` }),
    );
  }
  await finishOthers(context, here, copying, config);
  if (verb === "--to") await copying.rememberAside(name);
  return await inOtherInstance(context, { name, config }, async (there) => {
    const [from, to] = verb === "--to" ? [here, there] : [there, here];
    const [fromSide, toSide] =
      verb === "--to" ? [copying, there.copying()] : [there.copying(), copying];
    if (verb === "--back") await finishOthers(context, there, fromSide, config);
    const pages = selectedIds(from, given.selection, queuesOf(given.selection));
    const steps = moveMessages(
      { name: from.instanceName, copying: fromSide },
      { name: to.instanceName, copying: toSide },
      pages,
    );
    const auditing = here.auditing();
    const about = {
      action: verb === "--to" ? `aside to ${name}` : `aside back from ${name}`,
      selection: formatSelection(given.selection),
      reason: given.values.get("--reason") ?? "",
    };
    await note(auditing, context, { ...about, outcome: "started" });
    const { counts, isStopped } = await notingFailure(
      () => note(auditing, context, { ...about, outcome: "failed" }),
      () => watchSteps(context, steps, { signal, say: sentence }),
    );
    const done = counts ?? nothing;
    const outcome = isStopped ? "cancelled" : "done";
    await note(auditing, context, { ...about, outcome, count: done.moved });
    context.print(`${sentence(done)}\n`);
    return isStopped ? exitCodes.tempFail : exitCodes.ok;
  });
}

function queuesOf(selection: Selection): readonly MessageQueue[] {
  return selection.queues ?? movedQueues;
}

const nothing: MoveCounts = { moved: 0, busy: 0, taken: 0, unreadable: 0 };

function sentence({ moved, busy, taken, unreadable }: MoveCounts): string {
  const parts = [
    `Moved: ${moved} message${moved === 1 ? "" : "s"}`,
    ...(busy === 0 ? [] : [`${busy} being worked on stayed`]),
    ...(taken === 0 ? [] : [`${taken} stayed, as their ids are over there already`]),
    ...(unreadable === 0 ? [] : [`${unreadable} unreadable stayed`]),
  ];
  return parts.join(", ");
}

async function listAsides(context: CommandContext, { store, config }: Moving): Promise<number> {
  for (const name of await store.copying().asideNames()) {
    const line = await inOtherInstance(context, { name, config }, describeInstance);
    context.print(`${name}: ${line}\n`);
  }
  return exitCodes.ok;
}

async function describeInstance(store: Store): Promise<string> {
  const looking = store.looking();
  const depths = (await looking.depths()).filter(({ messages }) => messages > 0);
  const total = depths.reduce((sum, { messages }) => sum + messages, 0);
  const queues = depths.map(({ queue, messages }) => `${queue} ${messages}`).join(", ");
  const isRun = await store.copying().isLed();
  return `${total} message${total === 1 ? "" : "s"}${queues === "" ? "" : ` (${queues})`}${isRun ? ", running" : ""}`;
}

async function removeAside(
  context: CommandContext,
  { store, config }: Moving,
  name: string,
): Promise<number> {
  const copying = store.copying();
  if (!(await copying.asideNames()).includes(name)) throw unknownAside(name);
  const answer = await inOtherInstance(context, { name, config }, (there) =>
    there.copying().removeInstance(),
  );
  if (answer !== "removed") {
    const why = answer === "led" ? "a qmgr runs there" : "messages are there";
    throw new CommandFailure(exitCodes.unavailable, `${name} can't be removed: ${why}`);
  }
  await copying.forgetAside(name);
  await note(store.auditing(), context, {
    action: `aside remove ${name}`,
    selection: "all",
    outcome: "done",
  });
  return exitCodes.ok;
}

function unknownAside(name: string): CommandFailure {
  return new CommandFailure(
    exitCodes.unavailable,
    `no messages were moved from here to an instance ${shownText(name)} (postmq aside --list)`,
  );
}
