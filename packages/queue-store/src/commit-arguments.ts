/**
 * A new message as lua/include/commit.lua reads it, and the recipients that go ahead of it.
 */
import type { Redis } from "ioredis";
import { countedDomain } from "@postmq/vocabulary";
import type { Envelope, QueueId } from "@postmq/vocabulary";
import type { FinishedContent, NewRecipient } from "./contract.ts";
import {
  countDomains,
  largeMessageDomains,
  packDomains,
  packRecipient,
  packStateText,
  recipientsPerChunk,
} from "./packing.ts";
import { storeError } from "./redis-connection.ts";
import type { ScriptArgument } from "./script.ts";

const stagedLifeSeconds = 3600;

export type Commit = {
  readonly id: QueueId;
  readonly queue: string;
  readonly envelope: Envelope;
  readonly recipients: readonly NewRecipient[];
  readonly content: FinishedContent;
  readonly arrivalMs?: number;
  readonly taken?: boolean;
};

/** Stores recipients beyond the first chunk, and the counts of a large message, ahead of the commit. */
export async function stageRecipients(
  redis: Redis,
  prefix: string,
  commit: Commit,
  round: string,
): Promise<void> {
  try {
    for (
      let from = recipientsPerChunk;
      from < commit.recipients.length;
      from += recipientsPerChunk
    ) {
      const key = `${prefix}:m:${commit.id}:${round}:${from / recipientsPerChunk}`;
      const fields = commit.recipients
        .slice(from, from + recipientsPerChunk)
        .flatMap((recipient, i) => [String(from + i), packRecipient(recipient)]);
      await redis.hset(key, fields);
      const failed = commit.recipients
        .slice(from, from + recipientsPerChunk)
        .flatMap((recipient, i) =>
          recipient.failed === undefined
            ? []
            : [`s${from + i}`, `f0\n${packStateText(recipient.failed)}`],
        );
      // The commit counts a chunk's recipients by its fields, so states of refused ones come after they are complete.
      if (failed.length > 0) await redis.hset(key, failed);
      await redis.expire(key, stagedLifeSeconds);
    }
    const domains = countDomains(commit.recipients);
    if (domains.size > largeMessageDomains) {
      const key = `${prefix}:md:${commit.id}:${round}`;
      const flat = [...domains].flat().map(String);
      for (let from = 0; from < flat.length; from += 4000)
        await redis.hset(key, flat.slice(from, from + 4000));
      await redis.expire(key, stagedLifeSeconds);
    }
  } catch (error) {
    throw storeError(error);
  }
}

/** True when `stageRecipients` has something to do for it. */
export function needsStaging(commit: Commit): boolean {
  return commit.recipients.length > recipientsPerChunk;
}

/** The arguments of one message, in the order that lua/include/commit.lua names. */
export function commitArguments(commit: Commit): ScriptArgument[] {
  const { content, envelope, recipients } = commit;
  const inRecord =
    recipients.length > recipientsPerChunk ? recipients.slice(0, recipientsPerChunk) : recipients;
  const failed: string[] = [];
  for (const [i, recipient] of inRecord.entries()) {
    if (recipient.failed !== undefined)
      failed.push(String(i), `f0\n${packStateText(recipient.failed)}`);
  }
  const undone = recipients.reduce(
    (sum, recipient) => sum + (recipient.failed === undefined ? 1 : 0),
    0,
  );
  const domains = countDomains(recipients);
  return [
    commit.id,
    commit.queue,
    commit.arrivalMs === undefined ? "" : String(commit.arrivalMs),
    content.contentId,
    String(content.sizeBytes),
    String(content.chunks),
    commit.taken === true ? "1" : "",
    JSON.stringify(envelope),
    countedDomain(envelope.sender),
    String(recipients.length),
    String(undone),
    domains.size > largeMessageDomains ? "*" : packDomains(domains),
    content.inline ?? "",
    content.chunks === 1 && content.inline !== undefined ? "1" : "",
    String(inRecord.length),
    ...inRecord.map(packRecipient),
    String(failed.length / 2),
    ...failed,
  ];
}

/** Record, content and taken keys, to be declared. */
export function commitKeys(prefix: string, commit: Commit): string[] {
  return [
    `${prefix}:m:${commit.id}`,
    `${prefix}:c:${commit.content.contentId}`,
    `${prefix}:k:${commit.id}`,
  ];
}
