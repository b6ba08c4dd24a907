/**
 * postqueue: the listings (-p, -j), which are what mailq shows, and flushing (-f, -i, -s).
 *
 * Source: spec admin-tools.md §1; postqueue(1).
 */
import { listMessages, mailqText, postqueueJsonLine, whileReachable } from "@postmq/queue-admin";
import type { ListedMessage, Store } from "@postmq/queue-store";
import { exitCodes, isPostmqError } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { flush } from "./flush.ts";
import { lastValue } from "./getopt.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { streamTexts } from "./stream-texts.ts";
import { toolOptions } from "./tool-options.ts";
import { assertAllowed } from "./user-access.ts";

const usageText =
  "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site";
const openWithinMs = 3_000;

export type ListingForm = "text" | "json";

export async function postqueue(context: CommandContext): Promise<number> {
  const usage = { text: usageText, exitCode: exitCodes.usage };
  const given = toolOptions(context, "c:fi:jps:v", usage);
  const asked = given.options.filter(({ letter }) => !"cv".includes(letter));
  const [action, ...others] = asked;
  if (action === undefined || others.length > 0 || given.operands.length > 0) {
    throw new CommandFailure(exitCodes.usage, usageText);
  }
  const config = lastValue(given, "c");
  switch (action.letter) {
    case "f":
      return await flush(context, { what: "all" }, { config });
    case "i":
      return await flush(context, { what: "message", id: action.value }, { config });
    case "s":
      return await flush(context, { what: "site", site: action.value }, { config });
    default:
      return await printQueue(context, action.letter === "p" ? "text" : "json", config);
  }
}

/**
 * Prints the queue.
 *
 * @param config what -c or -C named
 * @throws CommandFailure: exit 69 when the store can't be reached, 77 when the user may not
 */
export async function printQueue(
  context: CommandContext,
  form: ListingForm,
  config?: string,
): Promise<number> {
  const parameters = readParameters(context.env, config);
  const items = parameters.authorized_mailq_users;
  assertAllowed(
    context.user,
    { parameter: "authorized_mailq_users", items },
    "view the mail queue",
  );
  try {
    await withQueue(parameters, { command: "postqueue", withinMs: openWithinMs }, async (store) => {
      const texts = listing(store, form, parameters.empty_address_recipient);
      await whileReachable(store, () => streamTexts(texts, context.stream));
    });
    return exitCodes.ok;
  } catch (error) {
    if (!isPostmqError(error) || error.code === "PMQ_CONFIG_INVALID") throw error;
    const text = `Queue report unavailable - mail system is down (${error.message})`;
    throw new CommandFailure(exitCodes.unavailable, text, error);
  }
}

function listing(store: Store, form: ListingForm, emptyAddress: string): AsyncIterable<string> {
  const messages = listMessages(store.looking());
  return form === "text" ? mailqText(messages, emptyAddress) : jsonLines(messages, emptyAddress);
}

async function* jsonLines(messages: AsyncIterable<ListedMessage>, emptyAddress: string) {
  for await (const message of messages) yield postqueueJsonLine(message, emptyAddress);
}
