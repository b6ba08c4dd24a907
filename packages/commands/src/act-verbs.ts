/**
 * `postmq hold|release|delete|requeue|expire|retry [selection]`: an act on all messages of a selection.
 *
 * An empty selection needs `--all`; `--dry-run` counts, shows samples and changes nothing. Told to stop, it ends after
 * the step it is in; the same command again does the rest. Who can open the store may do it, as with postsuper.
 *
 * Source: spec http-api.md §2, sendmail-queue.md §5; admin-tools.md §2.
 */
import { formatSelection, whileReachable } from "@postmq/queue-admin";
import type { OperationTask } from "@postmq/queue-admin";
import type { Act, Store } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";

import type { Command, CommandContext } from "./command.ts";
import { showWouldBe } from "./dry-run.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import {
  assertMeant,
  configOf,
  parseSelectionOptions,
  selectionUsage,
} from "./selection-options.ts";
import type { GivenSelection } from "./selection-options.ts";
import { untilStopped } from "./stop-signal.ts";
import { watchOperation } from "./watched-operation.ts";

const openWithinMs = 3_000;

const participles: Readonly<Record<Act, string>> = {
  delete: "deleted",
  hold: "placed on hold",
  release: "released from hold",
  requeue: "requeued",
  expire: "force-expired",
  retry: "moved to incoming, due now",
};

function usageOf(act: Act): string {
  return `usage: postmq ${act} [selection] [--all] [--dry-run] [--reason TEXT]

All messages of the selection are ${participles[act]}, in steps between which mail flows.
--all      every message of the queues that it takes from, if nothing is selected
--dry-run  counts and shows some; changes nothing
--reason   why, for the audit log
-c FILE    configuration; --instance NAME: of which instance
selection: ${selectionUsage}
`;
}

/** The verb for an act. */
export function actVerb(act: Act): Command {
  return async (context) => {
    const own = { flags: ["--all", "--dry-run", "--help", "-h"], values: ["--reason"] };
    const given = parseSelectionOptions(context.args, own, Date.now());
    if (given.flags.has("--help") || given.flags.has("-h")) {
      context.print(usageOf(act));
      return exitCodes.ok;
    }
    assertMeant(given.selection, given.flags.has("--all"));
    const parameters = readParameters(context.env, configOf(given));
    return await untilStopped((signal) =>
      withQueue(parameters, { command: act, withinMs: openWithinMs }, (store) =>
        whileReachable(store, () =>
          run({ ...context, name: `postmq ${act}` }, store, { act, given, signal }),
        ),
      ),
    );
  };
}

type Run = { readonly act: Act; readonly given: GivenSelection; readonly signal: AbortSignal };

async function run(
  context: CommandContext,
  store: Store,
  { act, given, signal }: Run,
): Promise<number> {
  const isDryRun = given.flags.has("--dry-run");
  const selecting = store.selecting();
  const faces = {
    acting: store.acting(),
    auditing: store.auditing(),
    operating: store.operating(),
    selecting,
    clock: store.clock,
  };
  const task: OperationTask = { acts: [act], selection: given.selection, isDryRun };
  const { progress, isStopped } = await watchOperation(context, faces, {
    task,
    action: act,
    reason: given.values.get("--reason"),
    signal,
    isQuiet: false,
  });
  const count = progress.done[0] ?? 0;
  if (isDryRun) {
    const sample = await selecting.messages(progress.sample);
    const what = `${participles[act]} (${formatSelection(given.selection)})`;
    showWouldBe(context, { count, sample, what });
  } else {
    context.print(`${count} ${count === 1 ? "message" : "messages"} ${participles[act]}\n`);
  }
  if (progress.unreadable > 0) {
    context.complain(`${context.name}: warning: ${progress.unreadable} unreadable, left alone\n`);
  }
  if (!isStopped) return exitCodes.ok;
  context.complain(`${context.name}: warning: stopped; start it again for the rest\n`);
  return exitCodes.tempFail;
}
