import type { ListedMessage, Looking } from "@postmq/queue-store";
import { listedQueues } from "@postmq/vocabulary";
import type { MessageQueue } from "@postmq/vocabulary";

const pageSize = 200;

/**
 * The messages of some queues, queue by queue in the order asked for, inside a queue by arrival.
 *
 * Mail moves meanwhile: an entry may come twice or not at all, as in Postfix. Source: spec Q9; postqueue(1) -p.
 */
export async function* listMessages(
  looking: Looking,
  queues: readonly MessageQueue[] = listedQueues,
): AsyncGenerator<ListedMessage, void, void> {
  for (const queue of queues) {
    let cursor: string | undefined;
    do {
      const page = await looking.list(
        queue,
        cursor === undefined ? { limit: pageSize } : { cursor, limit: pageSize },
      );
      yield* page.messages;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }
}
