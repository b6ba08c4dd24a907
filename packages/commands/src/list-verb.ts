/**
 * `postmq list [selection]`: the messages of a selection as mailq shows them, or with `--json` as postqueue -j does.
 *
 * Source: spec http-api.md §2 "GET /v1/messages"; admin-tools.md §1.
 */
import {
  mailqText,
  postqueueJsonLine,
  selectMessages,
  whileReachable,
  withAllRecipients,
} from "@postmq/queue-admin";
import type { Selection } from "@postmq/queue-admin";
import type { ListedMessage, Selecting } from "@postmq/queue-store";
import { exitCodes } from "@postmq/vocabulary";

import type { CommandContext } from "./command.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { configOf, parseSelectionOptions, selectionUsage } from "./selection-options.ts";
import { streamTexts } from "./stream-texts.ts";
import { assertAllowed } from "./user-access.ts";

const usageText = `usage: postmq list [selection] [--json]

The messages of the selection as mailq shows them; corrupt is listed when it is named.
--json   as postqueue -j, one object a line
-c FILE  configuration; --instance NAME: of which instance
selection: ${selectionUsage}
`;
const openWithinMs = 3_000;

export async function list(context: CommandContext): Promise<number> {
  // Listing everything harms nobody: --all may be said, and means nothing.
  const own = { flags: ["--json", "--all", "--help", "-h"] };
  const given = parseSelectionOptions(context.args, own, Date.now());
  if (given.flags.has("--help") || given.flags.has("-h")) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const parameters = readParameters(context.env, configOf(given));
  const items = parameters.authorized_mailq_users;
  const access = { parameter: "authorized_mailq_users", items };
  assertAllowed(context.user, access, "view the mail queue");
  const emptyAddress = parameters.empty_address_recipient;
  await withQueue(parameters, { command: "list", withinMs: openWithinMs }, async (store) => {
    const messages = selected(store.selecting(), given.selection);
    const texts = given.flags.has("--json")
      ? jsonLines(messages, emptyAddress)
      : mailqText(messages, emptyAddress);
    await whileReachable(store, () => streamTexts(texts, context.stream));
  });
  return exitCodes.ok;
}

async function* selected(
  selecting: Selecting,
  selection: Selection,
): AsyncGenerator<ListedMessage, void, void> {
  for await (const page of selectMessages(selecting, selection)) {
    for (const message of page) yield await withAllRecipients(selecting, message);
  }
}

async function* jsonLines(messages: AsyncIterable<ListedMessage>, emptyAddress: string) {
  for await (const message of messages) yield postqueueJsonLine(message, emptyAddress);
}
