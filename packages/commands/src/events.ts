/**
 * `postmq events <id>`: every move, attempt and outcome of a message, over all services, also after it has left.
 *
 * Source: spec parameters.md event_retention, event_memory; http-api.md §2 "/events".
 */
import { timelineJsonLine, timelineLine, whileReachable } from "@postmq/queue-admin";
import { exitCodes, parseQueueId } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { CommandFailure } from "./command.ts";
import type { CommandContext } from "./command.ts";
import { parseLongOptions } from "./long-options.ts";
import type { LongOptions } from "./long-options.ts";
import { withQueue } from "./open-queue.ts";
import { readParameters } from "./read-parameters.ts";
import { shownText } from "./shown-text.ts";
import { streamTexts } from "./stream-texts.ts";
import { assertAllowed } from "./user-access.ts";

const usageText = `usage: postmq events [--json] [-c config] [--instance NAME] <queue id>

What happened to a message, the oldest first; what is kept is bounded by event_retention and event_memory.
  --json    one object a line
Exit status: 0, or 1 when nothing is known of such a message (any more).
`;
const openWithinMs = 3_000;
/** As postcat ends when there is no such message. */
const nothingKnown = 1;

export async function events(context: CommandContext): Promise<number> {
  const known = { values: ["-c", "--config"], flags: ["--json", "--help"] };
  const given = parseLongOptions(context.args, known);
  if (given.flags.has("--help")) {
    context.print(usageText);
    return exitCodes.ok;
  }
  const id = checkedId(given);
  const parameters = readParameters(context.env, given.values.at(-1)?.[1]);
  const items = parameters.authorized_mailq_users;
  const access = { parameter: "authorized_mailq_users", items };
  assertAllowed(context.user, access, "view the mail queue");
  let count = 0;
  await withQueue(parameters, { command: "events", withinMs: openWithinMs }, async (store) => {
    const found = await whileReachable(store, () => store.timelines().timeline(id));
    count = found.length;
    const line = given.flags.has("--json")
      ? (event: (typeof found)[number]) => timelineJsonLine(id, event)
      : timelineLine;
    await streamTexts(eachOf(found, line), context.stream);
  });
  if (count > 0) return exitCodes.ok;
  context.complain(`${context.name}: no events are known of ${id}\n`);
  return nothingKnown;
}

function checkedId({ operands }: LongOptions): QueueId {
  const [text, ...more] = operands;
  if (text === undefined || more.length > 0) {
    throw new CommandFailure(exitCodes.usage, usageText.trimEnd());
  }
  const id = parseQueueId(text);
  if (id !== undefined) return id;
  throw new CommandFailure(exitCodes.usage, `invalid mail queue id: ${shownText(text)}`);
}

async function* eachOf<Item>(
  items: readonly Item[],
  text: (item: Item) => string,
): AsyncGenerator<string, void, void> {
  for (const item of items) yield text(item);
}
