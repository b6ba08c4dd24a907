/**
 * Where Postfix would keep a message: queue, the directories of a hashed queue, id. It names the message in postcat.
 *
 * Only deferred is hashed, one level deep, as Postfix's defaults have it (hash_queue_names, hash_queue_depth). A long id
 * is hashed by its microseconds in hexadecimal, so that messages spread over the directories; a short one begins with
 * these.
 *
 * Source: Postfix src/global/mail_queue.c mail_queue_dir, mail_queue.h MQID_LG_GET_HEX_USEC.
 */
import { queueIdTimeUs } from "@postmq/vocabulary";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

const hashedQueues: readonly MessageQueue[] = ["deferred"];
const usPerSecond = 1_000_000;
const hexDigits = 5;

/** e.g. `active/4jXWBv3bh6z2Ff7C`, `deferred/7/4jXWBv3bh6z2Ff7C`. */
export function postfixPath(queue: MessageQueue, id: QueueId): string {
  return hashedQueues.includes(queue) ? `${queue}/${directoryOf(id)}/${id}` : `${queue}/${id}`;
}

function directoryOf(id: QueueId): string {
  const us = queueIdTimeUs(id);
  if (us === undefined) return id.slice(0, 1);
  const hex = (us % usPerSecond).toString(16).toUpperCase().padStart(hexDigits, "0");
  return hex.slice(0, 1);
}
