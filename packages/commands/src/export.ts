/**
 * `postmq export`: messages as lines of JSON, content included; with --delete they are deleted once they are in the file,
 * synced.
 *
 * Source: docs/BACKUP.md; spec sendmail-queue.md §7.
 */
import { randomBytes } from "node:crypto";

import {
  endLine,
  exportAndDelete,
  ExportFile,
  exportMessages,
  fileMove,
  formatSelection,
  headerLine,
  parseHeader,
  whileReachable,
} from "@postmq/queue-admin";
import type { ExportCounts, ExportOutput, Selection } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { exitCodes, messageQueues } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

import { note, notingFailure } from "./audited.ts";
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { finishOthers, openWithinMs, selectedIds, watchSteps } from "./copying-progress.ts";
import type { CopyingSide } from "./copying-progress.ts";
import { dryRun } from "./dry-run.ts";
import { lockFile } from "./file-lock.ts";
import type { FileLock } from "./file-lock.ts";
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

const usageText = `usage: postmq export [selection] [--all] [--output FILE|-] [--dry-run]
       postmq export [selection] [--all] --delete --output FILE [--append] [--dry-run] [--reason TEXT]

--output  where to; - is standard output, the default. A file that is there is never written over
--delete  delete what was written, once it is on disk; what somebody is at work on stays, and is counted
--append  go on with the file of an export --delete that was broken off
--dry-run counts and shows some; writes and deletes nothing
-c FILE   configuration; --instance NAME: of which instance
selection: ${selectionUsage}
All queues are exported unless the selection names some.
`;
const ownFlags = ["--all", "--delete", "--append", "--dry-run", "--help", "-h"];
const ownValues = ["--output", "--reason"];

type Exporting = {
  readonly store: Store;
  readonly copying: CopyingSide;
  readonly given: GivenSelection;
  readonly signal: AbortSignal;
  /** Told of the file of an export that only copies, once it is there. */
  readonly onMade: (path: string) => void;
};

type Ended = { readonly counts: ExportCounts; readonly isStopped: boolean };

export async function exportQueue(context: CommandContext): Promise<number> {
  const own = { flags: ownFlags, values: ownValues };
  const given = parseSelectionOptions(context.args, own, Date.now());
  if (given.flags.has("--help") || given.flags.has("-h")) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const output = given.values.get("--output") ?? "-";
  assertSensible(given, output);
  const config = configOf(given);
  const parameters = readParameters(context.env, config);
  let made: string | undefined;
  const onMade = (path: string) => void (made = path);
  try {
    return await untilStopped((signal) =>
      withQueue(parameters, { command: context.name, withinMs: openWithinMs }, (store) =>
        whileReachable(store, async () => {
          if (given.flags.has("--dry-run")) return await dryRunOf(context, store, given, signal);
          const copying = store.copying();
          await finishOthers(context, store, copying, config);
          const exporting = { store, copying, given, signal, onMade };
          const ended = await (given.flags.has("--delete")
            ? deleting(context, exporting, output)
            : copyingOnly(context, exporting, output));
          const rest = given.flags.has("--delete") ? "--append goes on" : leftOf(output);
          context.complain(`${context.name}: ${sentence(ended, rest)}\n`);
          return ended.isStopped ? exitCodes.tempFail : exitCodes.ok;
        }),
      ),
    );
  } catch (error) {
    if (made !== undefined) {
      context.complain(`${context.name}: warning: ${made} is a part, and no backup: remove it\n`);
    }
    throw error;
  }
}

function assertSensible({ flags, selection }: GivenSelection, output: string): void {
  const wrong = (text: string) => new CommandFailure(exitCodes.usage, text);
  if (flags.has("--delete")) {
    if (output === "-")
      throw wrong("--delete needs --output FILE: what is deleted must be on disk");
    assertMeant(selection, flags.has("--all"));
  } else if (flags.has("--append")) {
    throw wrong("--append goes on with an export --delete; without --delete, begin a new file");
  }
}

async function dryRunOf(
  context: CommandContext,
  store: Store,
  given: GivenSelection,
  signal: AbortSignal,
): Promise<number> {
  const { selection, flags } = given;
  const participle = flags.has("--delete") ? "written and deleted" : "written";
  return await dryRun(context, store, {
    selection,
    queues: queuesOf(selection),
    participle,
    signal,
  });
}

/** To standard output, or to a file that is new; it is taken away if the process is told to stop: a part is no backup. */
async function copyingOnly(
  context: CommandContext,
  exporting: Exporting,
  output: string,
): Promise<Ended> {
  if (output === "-") {
    return await writeAll(context, exporting, { write: (part) => context.stream(part) });
  }
  await using file = await ExportFile.create(output);
  exporting.onMade(output);
  const ended = await writeAll(context, exporting, file);
  if (ended.isStopped) await file.remove();
  else await file.sync();
  return ended;
}

async function writeAll(
  context: CommandContext,
  exporting: Exporting,
  output: ExportOutput,
): Promise<Ended> {
  const { copying, store, signal } = exporting;
  await output.write(newHeader(store, { exportId: newExportId(), deletes: false }));
  const steps = exportMessages(copying, output, pages(exporting));
  const watched = await watchSteps(context, steps, { signal, say: shortly });
  const counts = watched.counts ?? nothing;
  if (!watched.isStopped) await output.write(endLine(counts));
  return { counts, isStopped: watched.isStopped };
}

async function deleting(
  context: CommandContext,
  exporting: Exporting,
  output: string,
): Promise<Ended> {
  const { store, copying, given, signal } = exporting;
  using _ = lockOutput(output);
  await using place = given.flags.has("--append")
    ? await reopened(copying, store, output)
    : await created(copying, store, output);
  const { file, exportId, lastBatch } = place;
  const options = { exportId, lastBatch };
  const steps = exportAndDelete(copying, file, pages(exporting), options);
  const auditing = store.auditing();
  const about = {
    action: "export --delete",
    selection: formatSelection(given.selection),
    reason: given.values.get("--reason") ?? "",
  };
  await note(auditing, context, { ...about, outcome: "started" });
  const watched = await notingFailure(
    () => note(auditing, context, { ...about, outcome: "failed" }),
    () => watchSteps(context, steps, { signal, say: shortly }),
  );
  const counts = watched.counts ?? nothing;
  if (!watched.isStopped) await file.write(endLine(counts));
  await file.sync();
  const outcome = watched.isStopped ? "cancelled" : "done";
  await note(auditing, context, { ...about, outcome, count: counts.messages });
  return { counts, isStopped: watched.isStopped };
}

/** Two writers of one file would each write over what the other has deleted in the queues. */
function lockOutput(path: string): FileLock {
  let lock: FileLock | undefined;
  try {
    lock = lockFile(`${path}.lock`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandFailure(exitCodes.cantCreate, `${path}.lock: ${why}`, error);
  }
  if (lock !== undefined) return lock;
  throw new CommandFailure(exitCodes.tempFail, `${path}: another export is writing it`);
}

type OpenExport = AsyncDisposable & {
  readonly file: ExportFile;
  readonly exportId: string;
  readonly lastBatch: number;
};

async function created(copying: CopyingSide, store: Store, path: string): Promise<OpenExport> {
  return await begun(
    copying,
    store,
    await ExportFile.create(path, "name another, or go on with it by --append"),
  );
}

/** Before anything is deleted its place is known here: a file that finds none belongs somewhere else. */
async function begun(copying: CopyingSide, store: Store, file: ExportFile): Promise<OpenExport> {
  const exportId = newExportId();
  await file.write(newHeader(store, { exportId, deletes: true }));
  await file.sync();
  await copying.dropWritten([], { name: exportId, to: "0" });
  return openExport(file, exportId, 0);
}

/** What the run before had taken out of its queues, and not deleted, is in them again before this one begins. */
async function reopened(copying: CopyingSide, store: Store, path: string): Promise<OpenExport> {
  const file = await ExportFile.reopen(path);
  try {
    // The run before was killed before its first line.
    if (file.position === 0) return await begun(copying, store, file);
    const { exportId, deletes, instance } = parseHeader(await file.firstLine());
    if (!deletes) throw new Error("is a backup without --delete: begin a new one");
    if (instance !== store.instanceName)
      throw new Error(`is an export of the instance ${shownText(instance)}`);
    for await (const moves of copying.moving(Number.MAX_SAFE_INTEGER)) {
      const own = moves.filter(({ to }) => to === `${fileMove}${exportId}`);
      if (own.length > 0) await copying.putBack(own);
    }
    const place = await copying.readPlace(exportId);
    const lastBatch = await file.goOn(place === "" ? undefined : Number(place));
    return openExport(file, exportId, lastBatch);
  } catch (error) {
    await file[Symbol.asyncDispose]();
    if (!(error instanceof Error) || "code" in error) throw error;
    throw new CommandFailure(exitCodes.cantCreate, `${path}: ${error.message}`, error);
  }
}

function openExport(file: ExportFile, exportId: string, lastBatch: number): OpenExport {
  return { file, exportId, lastBatch, [Symbol.asyncDispose]: () => file[Symbol.asyncDispose]() };
}

function newExportId(): string {
  return randomBytes(16).toString("hex");
}

function newHeader(
  store: Store,
  { exportId, deletes }: { readonly exportId: string; readonly deletes: boolean },
): string {
  const exportedAtMs = store.clock.nowMs();
  return headerLine({ exportId, instance: store.instanceName, exportedAtMs, deletes });
}

function pages({ store, given }: Exporting) {
  return selectedIds(store, given.selection, queuesOf(given.selection));
}

function queuesOf(selection: Selection): readonly MessageQueue[] {
  return selection.queues ?? messageQueues;
}

const nothing: ExportCounts = { messages: 0, busy: 0, unreadable: 0 };

function shortly({ messages, busy, unreadable }: ExportCounts): string {
  const parts = [
    `${messages} message${messages === 1 ? "" : "s"}`,
    ...(busy === 0 ? [] : [`${busy} being worked on stayed`]),
    ...(unreadable === 0 ? [] : [`${unreadable} unreadable left out`]),
  ];
  return `exported ${parts.join(", ")}`;
}

function sentence({ counts, isStopped }: Ended, rest: string): string {
  return isStopped ? `stopped: ${shortly(counts)}; ${rest}` : shortly(counts);
}

/** What becomes of an export that only copies, when it is stopped. */
function leftOf(output: string): string {
  return output === "-" ? "what was written has no end" : `${output} was taken away again`;
}
