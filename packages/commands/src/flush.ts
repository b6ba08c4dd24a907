/**
 * Flushing: deferred mail is tried now, all of it, one site's, or one message.
 *
 * Only Redis must be reachable: what is asked for is stored, and whoever schedules carries it out.
 *
 * Departs: Postfix wants its queue manager and pickup to be running (spec admin-tools.md §1).
 *
 * Source: spec scheduling.md §11, admin-tools.md §1; Postfix src/postqueue/postqueue.c.
 */
import { whileReachable } from "@postmq/queue-admin";
import type { Store } from "@postmq/queue-store";
import { exitCodes, isPostmqError, parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { isFlushable, isSite } from "./flush-site.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { assertAllowed } from "./user-access.ts";

const openWithinMs = 3_000;
const longestShown = 100;

/** What to flush, as it was asked for. */
export type FlushRequest =
  | { readonly what: "all" }
  | { readonly what: "site"; readonly site: string }
  | { readonly what: "message"; readonly id: string };

/**
 * Asks for the delivery of what the request names. A message that is unknown, or not deferred, is no failure.
 *
 * @param config what -c or -C named
 * @throws CommandFailure: 64 for a site that is none, 69 for an id that is none, a site that is not in
 *   fast_flush_domains, and when the store can't be reached; 77 when the user may not
 */
export async function flush(
  context: CommandContext,
  request: FlushRequest,
  config?: string,
): Promise<number> {
  const act = checked(request);
  const parameters = readParameters(context.env, config);
  const items = parameters.authorized_flush_users;
  const list = { parameter: "authorized_flush_users", items };
  assertAllowed(context.user, list, "flush the mail queue");
  if (request.what === "site" && !isFlushable(request.site, parameters.fast_flush_domains)) {
    throw unavailable(`Flush service is not configured for destination "${request.site}"`);
  }
  try {
    await withQueue(parameters, { command: "postqueue", withinMs: openWithinMs }, (store) =>
      whileReachable(store, () => act(store)),
    );
    return exitCodes.ok;
  } catch (error) {
    if (!isPostmqError(error) || error.code === "PMQ_CONFIG_INVALID") throw error;
    const text = `Cannot flush mail queue - mail system is down (${error.message})`;
    throw unavailable(text, error);
  }
}

/** What is to be done to the store, once the request is known to make sense. */
function checked(request: FlushRequest): (store: Store) => Promise<unknown> {
  switch (request.what) {
    case "all":
      return (store) => store.operating().flushAll();
    case "site": {
      const site = checkedSite(request.site);
      return (store) => store.operating().flushSite(site);
    }
    case "message": {
      const id = checkedId(request.id);
      return (store) => store.operating().flushMessage(id);
    }
  }
}

function checkedSite(site: string): string {
  if (isSite(site)) return site.toLowerCase();
  const text = `Cannot flush mail queue - invalid destination: "${shortened(site)}"`;
  throw new CommandFailure(exitCodes.usage, text);
}

function checkedId(text: string): QueueId {
  const id = parseQueueId(text);
  if (id !== undefined) return id;
  throw unavailable(`Cannot flush queue ID - invalid name: "${shortened(text)}"`);
}

/** What somebody typed, for a message: no longer than needed, and nothing that moves a terminal's cursor. */
function shortened(text: string): string {
  const shown = text.toWellFormed().replaceAll(/\p{Cc}/gu, "?");
  return shown.length > longestShown ? `${shown.slice(0, longestShown)}...` : shown;
}

function unavailable(text: string, cause?: unknown): CommandFailure {
  return new CommandFailure(exitCodes.unavailable, text, cause);
}
