/**
 * `postmq import`: messages of an export come back under their ids, with their clocks, attempts, reasons and what their
 * recipients came to.
 *
 * Exit status: 0 also when some were here already; 65 when damaged entries went to corrupt, or the file is no export; 75
 * when it was stopped, or another import of the file is under way. Start it again: it goes on where it stopped.
 *
 * Source: docs/BACKUP.md; P9.
 */
import { createReadStream } from "node:fs";

import { importMessages, printable, whileReachable } from "@postmq/queue-admin";
import type { ImportCounts } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";

import { note, notingFailure } from "./audited.ts";
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { finishOthers, openWithinMs, watchSteps } from "./copying-progress.ts";
import { parseLongOptions } from "./long-options.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { shownText } from "./shown-text.ts";
import { untilStopped } from "./stop-signal.ts";

const usageText = `usage: postmq import [FILE|-] [--hold] [--dry-run] [--from-start] [--reason TEXT] [-c FILE] [--instance NAME]

Restores messages of a postmq export; what is here already, by its id, stays as it is.
--hold        everything goes to hold
--dry-run     reads and checks the file, restores nothing
--from-start  forgets how far an earlier import of this file came
`;
const flags = ["--hold", "--dry-run", "--from-start", "--help", "-h"];
const values = ["--reason", "-c", "--config"];
const mostDamageTold = 20;

type Given = ReturnType<typeof parseLongOptions>;

export async function importQueue(context: CommandContext): Promise<number> {
  const given = parseLongOptions(context.args, { flags, values });
  if (given.flags.has("--help") || given.flags.has("-h")) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const [file = "-", another] = given.operands;
  if (another !== undefined) throw new CommandFailure(exitCodes.usage, usageText);
  const config = given.values.findLast(([name]) => name !== "--reason")?.[1];
  const parameters = readParameters(context.env, config);
  return await untilStopped((signal) =>
    withQueue(parameters, { command: context.name, withinMs: openWithinMs }, (store) =>
      whileReachable(store, () => run(context, { store, given, file, signal, config })),
    ),
  );
}

type Importing = {
  readonly store: Store;
  readonly given: Given;
  readonly file: string;
  readonly signal: AbortSignal;
  readonly config: string | undefined;
};

async function run(context: CommandContext, importing: Importing): Promise<number> {
  const { store, given, file, signal, config } = importing;
  const copying = store.copying();
  const isDryRun = given.flags.has("--dry-run");
  // An id of this file may stand as moving, taken out by an export that died: it is in its queue, not to be restored.
  if (!isDryRun) await finishOthers(context, store, copying, config);
  let damaged = 0;
  const steps = importMessages(copying, inputOf(context, file), {
    toHold: given.flags.has("--hold"),
    isDryRun,
    fromStart: given.flags.has("--from-start"),
    nowMs: () => store.clock.nowMs(),
    onDamage: (line, why) => {
      damaged += 1;
      if (damaged > mostDamageTold) return;
      const more = damaged === mostDamageTold ? "; further ones are only counted" : "";
      context.complain(`${context.name}: warning: line ${line} ${printable(why)}${more}\n`);
    },
  });
  const auditing = store.auditing();
  const reason = new Map(given.values).get("--reason") ?? "";
  const about = { action: "import", selection: shownText(file), reason };
  if (!isDryRun) await note(auditing, context, { ...about, outcome: "started" });
  const watched = await notingFailure(
    async () => {
      if (!isDryRun) await note(auditing, context, { ...about, outcome: "failed" });
    },
    () => watchSteps(context, steps, { signal, say: sentence }),
  );
  const counts = watched.counts ?? nothing;
  if (!isDryRun) {
    const outcome = watched.isStopped ? "cancelled" : "done";
    await note(auditing, context, { ...about, outcome, count: counts.restored });
  }
  return conclude(context, { counts, isStopped: watched.isStopped, isDryRun });
}

function conclude(
  context: CommandContext,
  end: {
    readonly counts: ImportCounts;
    readonly isStopped: boolean;
    readonly isDryRun: boolean;
  },
): number {
  const { counts, isStopped, isDryRun } = end;
  const left = isDryRun ? "; dry run: nothing was changed" : "";
  context.print(`${isDryRun ? "Would import" : "Imported"}: ${sentence(counts)}${left}\n`);
  if (isStopped) {
    context.complain(`${context.name}: stopped; start it again, and it goes on\n`);
    return exitCodes.tempFail;
  }
  if (!counts.isWhole) {
    context.complain(
      `${context.name}: warning: the file does not end as an export does: it may be a part of one\n`,
    );
  }
  return counts.damaged > 0 ? exitCodes.dataErr : exitCodes.ok;
}

async function* inputOf(context: CommandContext, file: string): AsyncGenerator<Buffer, void, void> {
  if (file === "-") {
    yield* context.input;
    return;
  }
  try {
    for await (const chunk of createReadStream(file)) yield chunk;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandFailure(exitCodes.ioErr, `can't read: ${shownText(why)}`, error);
  }
}

const nothing: ImportCounts = {
  restored: 0,
  already: 0,
  damaged: 0,
  incomplete: 0,
  skippedLines: 0,
  isWhole: false,
};

function sentence(counts: ImportCounts): string {
  const { restored, already, damaged, incomplete, skippedLines } = counts;
  const parts = [
    `${restored} message${restored === 1 ? "" : "s"}`,
    ...(already === 0 ? [] : [`${already} here already`]),
    ...(damaged === 0 ? [] : [`${damaged} damaged put in corrupt`]),
    ...(incomplete === 0 ? [] : [`${incomplete} that went away while they were exported left out`]),
    ...(skippedLines === 0 ? [] : [`${skippedLines} lines done by an earlier run`]),
  ];
  return parts.join(", ");
}
