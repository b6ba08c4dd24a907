/**
 * Walking through the queues for a listing: page by page, the next one under way while this one is shown.
 *
 * So a listing of any length needs room for two pages, and for the recipients of one message.
 *
 * Source: spec Q9; postqueue(1) -p.
 */
import type { ListedMessage, ListPage, Looking } from "@postmq/queue-store";
import { listedQueues } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

/** A page holds Redis for some 2 ms. */
const pageSize = 100;

/**
 * The messages of some queues, queue by queue in the order asked for, inside a queue by arrival, each with all of its
 * recipients that are not done.
 *
 * Mail moves meanwhile: an entry may come twice or not at all, as in Postfix. Source: spec Q9; postqueue(1) -p.
 */
export async function* listMessages(
  looking: Looking,
  queues: readonly MessageQueue[] = listedQueues,
): AsyncGenerator<ListedMessage, void, void> {
  for await (const page of listPages(looking, queues)) {
    for (const message of page) {
      yield message.recipients.length < message.undoneRecipients
        ? await withAllRecipients(looking, message)
        : message;
    }
  }
}

async function* listPages(
  looking: Looking,
  queues: readonly MessageQueue[],
): AsyncGenerator<readonly ListedMessage[], void, void> {
  for (const queue of queues) {
    for (let coming = read(looking, queue, undefined); ;) {
      const { messages, cursor } = await coming;
      if (cursor === undefined) {
        yield messages;
        break;
      }
      coming = read(looking, queue, cursor);
      // Nobody waits for it if the listing ends here.
      coming.catch(() => undefined);
      yield messages;
    }
  }
}

function read(
  looking: Looking,
  queue: MessageQueue,
  cursor: string | undefined,
): Promise<ListPage> {
  return looking.list(queue, {
    limit: pageSize,
    ...(cursor === undefined ? {} : { cursor }),
  });
}

/** A message as a page had it, with those of its undone recipients that had no room there. */
export async function withAllRecipients(
  looking: Pick<Looking, "undoneRecipients">,
  message: ListedMessage,
): Promise<ListedMessage> {
  if (message.recipients.length >= message.undoneRecipients) return message;
  const last = message.recipients.at(-1);
  const recipients = [...message.recipients];
  const from = last === undefined ? 0 : last.number + 1;
  for await (const page of looking.undoneRecipients(message.id, from)) recipients.push(...page);
  return { ...message, recipients };
}
