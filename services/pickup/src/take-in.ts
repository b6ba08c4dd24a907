/**
 * Takes a submission in: content through the line-end normaliser into the store, then one commit into maildrop.
 *
 * Before the commit nothing of it can be delivered; a caller that goes away, or a content that is too big, leaves at
 * most chunks that expire. When it returns the id, the message is on disk (P1).
 *
 * Source: DESIGN §2 "pickup", §3; faults 1, 2; spec V28, D19.
 */
import { LineEndNormaliser } from "@postmq/mail-format";
import { logClient } from "@postmq/observability";
import type { Log } from "@postmq/observability";
import type { ContentWriter, Intake } from "@postmq/queue-store";
import { PostmqError } from "@postmq/vocabulary";
import type { ClientAttributes, QueueId } from "@postmq/vocabulary";

import type { SubmissionEnvelope } from "./submission.ts";

/** How much of what is too big is read and dropped, so that the caller gets to read the answer: times the limit. */
const readOnTimes = 4;

export type TakeInOptions = {
  readonly intake: Intake;
  readonly log: Log;
  /** message_size_limit; 0: none. */
  readonly maxBytes: number;
};

export type Handed = {
  readonly id: QueueId;
  readonly envelope: SubmissionEnvelope;
  readonly client: ClientAttributes;
  readonly content: AsyncIterable<Buffer> | Iterable<Buffer>;
};

/** @throws PMQ_STORE_… when nothing can be taken in right now, or when it is not known whether it was */
export function assertOpen(intake: Intake): void {
  switch (intake.refusal()) {
    case "full":
      throw new PostmqError("PMQ_STORE_FULL", "Redis is above redis_memory_high_water");
    case "identity":
      throw new PostmqError("PMQ_STORE_IDENTITY", "the store is not the one this process knows");
    case "unreachable":
      throw new PostmqError("PMQ_STORE_UNREACHABLE", "Redis can't be reached");
    default:
  }
}

/** @throws as `assertOpen`, and whatever reading the content throws; nothing is left behind then */
export async function takeIn(
  { id, envelope, client, content }: Handed,
  { intake, log, maxBytes }: TakeInOptions,
): Promise<"stored" | "tooBig" | "empty"> {
  const writer = intake.openContent(id);
  try {
    const size = await copy(content, writer, maxBytes);
    if (size !== "fits") {
      await writer.abort();
      return size;
    }
    const { recipients, ...said } = envelope;
    await intake.commit({
      id,
      queue: "maildrop",
      envelope: { ...said, origin: "http", client },
      recipients,
      content: await writer.finish(),
    });
  } catch (error) {
    await writer.abort();
    throw error;
  }
  logClient(log, id, client);
  return "stored";
}

async function copy(
  content: Handed["content"],
  writer: ContentWriter,
  maxBytes: number,
): Promise<"fits" | "tooBig" | "empty"> {
  const normaliser = new LineEndNormaliser();
  const isTooBig = (bytes: number) => maxBytes > 0 && bytes > maxBytes;
  let readBytes = 0;
  let sizeBytes = 0;
  for await (const chunk of content) {
    const bytes = normaliser.write(chunk);
    readBytes += chunk.length;
    sizeBytes += bytes.length;
    if (isTooBig(readBytes / readOnTimes)) break;
    if (bytes.length > 0 && !isTooBig(sizeBytes)) await writer.write(bytes);
  }
  const last = normaliser.end();
  sizeBytes += last.length;
  if (isTooBig(sizeBytes)) return "tooBig";
  if (last.length > 0) await writer.write(last);
  return readBytes === 0 ? "empty" : "fits";
}
