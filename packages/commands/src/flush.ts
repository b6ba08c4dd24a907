/**
 * Flushing: deferred mail is tried now, all of it, one site's, or one message.
 *
 * Only Redis must be reachable: what is asked for is stored, and whoever schedules carries it out.
 *
 * Departs: Postfix wants its queue manager and pickup to be running (spec admin-tools.md §1).
 *
 * Source: spec scheduling.md §11, admin-tools.md §1; Postfix src/postqueue/postqueue.c.
 */
import { formatSelection, whileReachable } from "@postmq/queue-admin";
import type { Contains, Selection } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { exitCodes, isPostmqError, parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { note } from "./audited.ts";
import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { isFlushable, isSite } from "./flush-site.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { shownText } from "./shown-text.ts";
import { assertAllowed } from "./user-access.ts";
import { runSteps } from "./watched-operation.ts";

const openWithinMs = 3_000;

/** What to flush, as it was asked for. */
export type FlushRequest =
  | { readonly what: "all" }
  | { readonly what: "site"; readonly site: string }
  | { readonly what: "message"; readonly id: string }
  /** Those whose id, sender or recipients hold texts. */
  | { readonly what: "selected"; readonly contains: readonly Contains[] };

/** What is to be done, and how the audit log names it. */
type Flush = {
  readonly selection: string;
  /** Says how many messages it moved. */
  readonly tells: boolean;
  readonly carryOut: (store: Store) => Promise<Flushed>;
};

type Flushed = {
  /** Messages that were moved, if that is known. */
  readonly count?: number;
  /** It was told to stop before its end. */
  readonly isStopped?: boolean;
};

export type FlushOptions = {
  /** What -c or -C named. */
  readonly config?: string | undefined;
  /** Ends a flush of some messages after the step that it is in. */
  readonly signal?: AbortSignal;
};

/**
 * Asks for the delivery of what the request names. A message that is unknown, or not deferred, is no failure.
 *
 * @returns the exit status: 75 when it was told to stop before its end
 * @throws CommandFailure: 64 for a site that is none, 69 for an id that is none, a site that is not in
 *   fast_flush_domains, and when the store can't be reached; 77 when the user may not
 */
export async function flush(
  context: CommandContext,
  request: FlushRequest,
  { config, signal }: FlushOptions = {},
): Promise<number> {
  const act = checked(context, request, signal);
  const parameters = readParameters(context.env, config);
  const items = parameters.authorized_flush_users;
  const list = { parameter: "authorized_flush_users", items };
  assertAllowed(context.user, list, "flush the mail queue");
  if (request.what === "site" && !isFlushable(request.site, parameters.fast_flush_domains)) {
    throw unavailable(`Flush service is not configured for destination "${request.site}"`);
  }
  try {
    const { isStopped } = await withQueue(
      parameters,
      { command: "postqueue", withinMs: openWithinMs },
      (store) => whileReachable(store, () => carryOut(context, store, act)),
    );
    return isStopped === true ? exitCodes.tempFail : exitCodes.ok;
  } catch (error) {
    if (!isPostmqError(error) || error.code === "PMQ_CONFIG_INVALID") throw error;
    const text = `Cannot flush mail queue - mail system is down (${error.message})`;
    throw unavailable(text, error);
  }
}

/** Flushes, says how many were moved where somebody asked for some, and notes who did it. */
async function carryOut(context: CommandContext, store: Store, act: Flush): Promise<Flushed> {
  const flushed = await act.carryOut(store);
  const { count, isStopped = false } = flushed;
  if (count !== undefined && act.tells) {
    const messages = count === 1 ? "message was" : "messages were";
    context.print(`${count} ${messages} moved to incoming, due now\n`);
  }
  if (count === 0) return flushed;
  await note(store.auditing(), context, {
    action: "flush",
    selection: act.selection,
    outcome: isStopped ? "cancelled" : "done",
    ...(count === undefined ? {} : { count }),
  });
  return flushed;
}

/** What is to be done to the store, once the request is known to make sense. */
function checked(
  context: CommandContext,
  request: FlushRequest,
  signal: AbortSignal | undefined,
): Flush {
  switch (request.what) {
    case "all":
      return {
        selection: "all",
        tells: false,
        carryOut: async (store) => {
          await store.operating().flushAll();
          return {};
        },
      };
    case "site": {
      const site = checkedSite(request.site);
      return {
        selection: `domain=${site}`,
        tells: false,
        carryOut: async (store) => ({ count: await store.operating().flushSite(site) }),
      };
    }
    case "message": {
      const id = checkedId(request.id);
      return {
        selection: `id=${id}`,
        tells: false,
        carryOut: async (store) => {
          const answer = await store.operating().flushMessage(id);
          return { count: answer === "moved" ? 1 : 0 };
        },
      };
    }
    case "selected": {
      const selection = { queues: ["deferred"], contains: request.contains } as const;
      return {
        selection: formatSelection(selection),
        tells: true,
        carryOut: (store) => flushSelected(context, store, { selection, signal }),
      };
    }
  }
}

async function flushSelected(
  context: CommandContext,
  store: Store,
  {
    selection,
    signal = new AbortController().signal,
  }: { readonly selection: Selection; readonly signal: AbortSignal | undefined },
): Promise<Flushed> {
  const faces = {
    acting: store.acting(),
    operating: store.operating(),
    selecting: store.selecting(),
    clock: store.clock,
  };
  const { progress, isStopped } = await runSteps(context, faces, {
    task: { acts: ["retry"], selection, isDryRun: false },
    action: "flush",
    signal,
    isQuiet: !context.isErrorTerminal,
  });
  return { count: progress.done[0] ?? 0, isStopped };
}

function checkedSite(site: string): string {
  if (isSite(site)) return site.toLowerCase();
  const text = `Cannot flush mail queue - invalid destination: "${shownText(site)}"`;
  throw new CommandFailure(exitCodes.usage, text);
}

function checkedId(text: string): QueueId {
  const id = parseQueueId(text);
  if (id !== undefined) return id;
  throw unavailable(`Cannot flush queue ID - invalid name: "${shownText(text)}"`);
}

function unavailable(text: string, cause?: unknown): CommandFailure {
  return new CommandFailure(exitCodes.unavailable, text, cause);
}
