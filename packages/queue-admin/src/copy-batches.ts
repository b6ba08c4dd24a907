/** What copies have in common, wherever they go: content carried over, batches that one script can take. */
import type { Copying, ReadCopy, RestorableMessage } from "@postmq/queue-store";

/** Of one script: what Redis writes in some milliseconds. */
const most = { messages: 50, recipients: 3000, bytes: 1024 * 1024 };

export type Weight = {
  readonly messages: number;
  readonly recipients: number;
  readonly bytes: number;
};

/** What a message adds to a script. @param bytes of its record as far as known, and of content that does not go ahead */
export function weightOf(recipients: number, bytes: number): Weight {
  return { messages: 1, recipients, bytes };
}

export function sumOf(a: Weight, b: Weight): Weight {
  return {
    messages: a.messages + b.messages,
    recipients: a.recipients + b.recipients,
    bytes: a.bytes + b.bytes,
  };
}

export function isTooMuch(weight: Weight): boolean {
  return (
    weight.messages > most.messages ||
    weight.recipients > most.recipients ||
    weight.bytes > most.bytes
  );
}

/** Batches that one script can take; a message that is too much by itself is one. */
export function inBatches(reads: readonly ReadCopy[]): readonly (readonly ReadCopy[])[] {
  const batches: ReadCopy[][] = [];
  let weight = weightOf(0, 0);
  for (const read of reads) {
    const own = weightOf(read.copy.recipients.length, read.inline?.length ?? 0);
    weight = sumOf(weight, own);
    const last = batches.at(-1);
    if (last === undefined || isTooMuch(weight)) {
      batches.push([read]);
      weight = own;
    } else {
      last.push(read);
    }
  }
  return batches;
}

/** A message that was read on one side, to be restored on another: large content goes ahead. */
export async function restorable(
  from: Copying,
  to: Copying,
  { copy, content, inline }: ReadCopy,
): Promise<RestorableMessage> {
  const { sizeBytes, chunks } = content;
  if (chunks <= 1) {
    const whole = inline ?? Buffer.alloc(0);
    return { copy, content: { contentId: copy.id, sizeBytes, chunks, inline: whole } };
  }
  const writer = to.openContent(copy.id);
  for await (const part of from.readContent(content)) await writer.write(part);
  return { copy, content: await writer.finish() };
}
