/**
 * Hands a message in: straight into the store's maildrop, or into the drop directory when that can't be done.
 *
 * Important: the queue id is chosen here, before anything is tried, and the commit marks it as taken. So when the
 * commit's answer is lost, the message goes into the drop directory under the same id, and pickup, which brings it in
 * later, finds the mark and stores nothing twice (fault 3). The mark is taken off when the answer did come.
 *
 * Source: spec queues.md §3.1; DESIGN §2, §3 "A commit is never resent"; faults 3, 11, 19.
 */
import { randomInt } from "node:crypto";

import type { Parameters } from "@postmq/config";
import type { DroppedMessage } from "@postmq/drop-directory";
import type { Intake, Store } from "@postmq/queue-store";
import { exitCodes, isPostmqError, makeQueueId } from "@postmq/vocabulary";
import type { Envelope, QueueId, Recipient } from "@postmq/vocabulary";

import { CommandFailure } from "../command.ts";
import { withQueue } from "../open-queue.ts";

const openWithinMs = 3_000;

export type HandIn = {
  readonly envelope: Envelope;
  readonly recipients: readonly Recipient[];
  /** CRLF line ends. */
  readonly content: readonly Buffer[];
};

/**
 * When it returns, the message is on disk.
 *
 * @returns where it is
 * @throws CommandFailure, exit 75: it is not known to be stored, and the caller keeps it
 */
export async function submit(
  parameters: Parameters,
  message: HandIn,
): Promise<"stored" | "dropped"> {
  const arrivalMs = Date.now();
  const id = makeQueueId(arrivalMs * 1000, randomInt(2 ** 34));
  const mayDrop = parameters.drop_directory !== "";
  try {
    await withQueue(parameters, { command: "sendmail", withinMs: openWithinMs }, (store) =>
      commit(store, id, { ...message, mayDrop }),
    );
    return "stored";
  } catch (error) {
    if (!isPostmqError(error) || error.code === "PMQ_CONFIG_INVALID") throw error;
    if (error.code === "PMQ_STORE_FULL" || !mayDrop) throw notNow(error.message, error);
    const { envelope, recipients, content } = message;
    await drop(parameters.drop_directory, { id, arrivalMs, envelope, recipients }, content);
    return "dropped";
  }
}

async function commit(
  store: Store,
  id: QueueId,
  message: HandIn & { readonly mayDrop: boolean },
): Promise<void> {
  const intake = store.intake();
  const writer = intake.openContent(id);
  try {
    for (const part of message.content) await writer.write(part);
    await intake.commit({
      id,
      queue: "maildrop",
      envelope: message.envelope,
      recipients: message.recipients,
      content: await writer.finish(),
      ...(message.mayDrop ? { taken: true } : {}),
    });
  } catch (error) {
    await writer.abort();
    throw error;
  }
  if (message.mayDrop) await forgetTaken(intake, id);
}

/** The message is stored whatever becomes of its mark, which costs some bytes if it stays. */
async function forgetTaken(intake: Intake, id: QueueId): Promise<void> {
  try {
    await intake.forgetTaken(id);
  } catch (error) {
    if (!isPostmqError(error)) throw error;
  }
}

async function drop(
  directory: string,
  message: DroppedMessage,
  content: readonly Buffer[],
): Promise<void> {
  const { dropMessage } = await import("@postmq/drop-directory");
  try {
    await dropMessage(directory, message, content);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw notNow(`the store can't be reached, and neither can drop_directory: ${reason}`, error);
  }
}

function notNow(reason: string, cause: unknown): CommandFailure {
  return new CommandFailure(exitCodes.tempFail, `${reason} -- mail not queued, try again`, cause);
}
