/**
 * `--dry-run`: how many messages a command would take, and some of them. Nothing is changed.
 *
 * Source: spec http-api.md §2 "dry_run".
 */
import { formatSelection, mostSamples, selectMessages } from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import type { ListedMessage, Store } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

import type { CommandContext } from "./command.ts";
import { watchSteps } from "./copying-progress.ts";
import { shownText } from "./shown-text.ts";

type Selected = {
  readonly count: number;
  readonly unreadable: number;
  readonly sample: readonly ListedMessage[];
};

/**
 * Counts a selection and shows some of it.
 *
 * @param options.participle what would be done: `moved to omqueue`
 * @returns the exit code
 */
export async function dryRun(
  context: CommandContext,
  store: Store,
  options: {
    readonly selection: Selection;
    readonly queues: readonly MessageQueue[];
    readonly participle: string;
    readonly signal: AbortSignal;
  },
): Promise<number> {
  const { selection, queues, participle, signal } = options;
  const { counts, isStopped } = await watchSteps(context, selected(store, selection, queues), {
    signal,
    say: ({ count }) => `${count} so far`,
  });
  const { count, unreadable, sample } = counts ?? nothing;
  showWouldBe(context, { count, sample, what: `${participle} (${formatSelection(selection)})` });
  if (unreadable > 0) context.complain(`${context.name}: warning: ${unreadable} unreadable\n`);
  return isStopped ? exitCodes.tempFail : exitCodes.ok;
}

const nothing: Selected = { count: 0, unreadable: 0, sample: [] };

async function* selected(
  store: Store,
  selection: Selection,
  queues: readonly MessageQueue[],
): AsyncGenerator<Selected, void, void> {
  let { count, unreadable, sample } = nothing;
  for await (const page of selectMessages(store.selecting(), selection, queues)) {
    const readable = page.filter(({ generation }) => generation > 0);
    count += readable.length;
    unreadable += page.length - readable.length;
    sample = [...sample, ...readable.slice(0, mostSamples - sample.length)];
    yield { count, unreadable, sample };
  }
}

/** "3 messages would be …", a line for each of the sample, and how many there are besides. */
export function showWouldBe(
  { print }: Pick<CommandContext, "print">,
  {
    count,
    sample,
    what,
  }: {
    readonly count: number;
    readonly sample: readonly ListedMessage[];
    readonly what: string;
  },
): void {
  print(`${count} ${count === 1 ? "message" : "messages"} would be ${what}\n`);
  for (const message of sample) print(`${sampleLine(message)}\n`);
  if (count > sample.length) print(`... and ${count - sample.length} more\n`);
}

/** Id, queue, size, arrival, sender, first recipient. */
function sampleLine(message: ListedMessage): string {
  const { id, queue, sizeBytes, arrivalMs, envelope, recipients, undoneRecipients } = message;
  const first = recipients[0]?.address ?? "nobody";
  const others = undoneRecipients > 1 ? ` and ${undoneRecipients - 1} more` : "";
  const sender = envelope.sender === "" ? "<>" : envelope.sender;
  const arrival = new Date(arrivalMs).toISOString();
  return `  ${id} ${queue} ${sizeBytes} ${arrival} ${shownText(sender)} to ${shownText(first)}${others}`;
}
