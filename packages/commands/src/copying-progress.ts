/** What the commands that copy messages have in common: progress, an end after the step when told to stop, other instances. */
import { setTimeout as pause } from "node:timers/promises";

import { abandonedAfterMs, finishMoves, selectMessages } from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import type { Copying, MovingAway, Store } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { inInstance } from "./instance-option.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { shownText } from "./shown-text.ts";

export type CopyingSide = Copying & MovingAway;

export const openWithinMs = 3_000;
const tellEveryMs = 1_000;

/** Runs steps to their end, or to the first one after the process was told to stop; tells how far they are. */
export async function watchSteps<Counts>(
  context: Pick<CommandContext, "name" | "complain" | "isErrorTerminal">,
  steps: AsyncIterable<Counts>,
  options: { readonly signal: AbortSignal; readonly say: (counts: Counts) => string },
): Promise<{ readonly counts: Counts | undefined; readonly isStopped: boolean }> {
  let counts: Counts | undefined;
  let toldMs = performance.now();
  for await (const step of steps) {
    counts = step;
    if (options.signal.aborted) return { counts, isStopped: true };
    if (!context.isErrorTerminal || performance.now() - toldMs < tellEveryMs) continue;
    toldMs = performance.now();
    context.complain(`${context.name}: ${options.say(step)}\n`);
  }
  return { counts, isStopped: false };
}

/** Ids of a selection, page by page. */
export async function* selectedIds(
  store: Store,
  selection: Selection,
  queues: readonly MessageQueue[],
): AsyncGenerator<readonly QueueId[], void, void> {
  for await (const page of selectMessages(store.selecting(), selection, queues)) {
    yield page.map(({ id }) => id);
  }
}

/** Works with another instance of the same Redis. */
export function inOtherInstance<T>(
  context: CommandContext,
  other: { readonly name: string; readonly config: string | undefined },
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const parameters = readParameters(inInstance(checkedName(other.name), context.env), other.config);
  return withQueue(parameters, { command: context.name, withinMs: openWithinMs }, use);
}

/** @throws CommandFailure, exit 64, for what can't be an instance's name */
export function checkedName(name: string): string {
  if (/^[A-Za-z0-9_-]{1,32}$/.test(name)) return name;
  throw new CommandFailure(
    exitCodes.usage,
    `"${shownText(name)}" is no name of an instance: 1 to 32 letters, digits, - and _`,
  );
}

/** Ends what somebody else began a minute ago, and died over. */
export async function finishOthers(
  context: CommandContext,
  store: Store,
  copying: CopyingSide,
  config: string | undefined,
): Promise<void> {
  const { moved, putBack, unfinished } = await finishMoves(copying, {
    markedBeforeMs: store.clock.nowMs() - abandonedAfterMs,
    withInstance: (name, use) =>
      inOtherInstance(context, { name, config }, (there) => use(there.copying())),
  });
  for (const { to, error } of unfinished) {
    context.complain(
      `${context.name}: warning: moves to ${to} that broke off can't be ended now: ${error.message}\n`,
    );
  }
  if (moved + putBack === 0) return;
  context.complain(
    `${context.name}: an earlier command broke off: ${moved} messages moved to their end, ${putBack} put back\n`,
  );
}

/** A pause that ends early when the process is told to stop. */
export async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await pause(ms, undefined, { signal }).catch(() => undefined);
}
