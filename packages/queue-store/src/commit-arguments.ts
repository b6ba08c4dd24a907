/**
 * A new message as lua/include/commit.lua reads it, and the recipients that go ahead of it.
 */
import type { Redis } from "ioredis";
import { countedDomain, senderKey } from "@postmq/vocabulary";
import type { Envelope, QueueId } from "@postmq/vocabulary";
import type { FinishedContent, NewRecipient } from "./contract.ts";
import { keyHash } from "./instance-keys.ts";
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
import { stageFields } from "./stage-fields.ts";

export type Commit = {
  readonly id: QueueId;
  readonly queue: string;
  readonly envelope: Envelope;
  readonly recipients: readonly NewRecipient[];
  readonly content: FinishedContent;
  readonly arrivalMs?: number;
  readonly taken?: boolean;
  /** The number of its first recipient; 0 if absent. */
  readonly firstNumber?: number;
};

/** A recipient that has no work left, but of which a report is owed. */
function owedState({ failed, sent }: NewRecipient): string | undefined {
  if (failed !== undefined) return `f0\n${packStateText(failed)}`;
  return sent === undefined ? undefined : `s0\n${packStateText(sent)}\n${sent.action}`;
}

/**
 * Stores recipients beyond the first chunk, and the counts of a large message, ahead of the commit.
 *
 * The commit counts a chunk's recipients by its fields, so states come after they are complete.
 */
export async function stageRecipients(
  redis: Redis,
  prefix: string,
  commit: Commit,
  round: string,
): Promise<void> {
  const base = commit.firstNumber ?? 0;
  try {
    for (let from = inRecord(commit); from < commit.recipients.length;) {
      const chunk = Math.floor((base + from) / recipientsPerChunk);
      const some = commit.recipients.slice(from, (chunk + 1) * recipientsPerChunk - base);
      const key = `${prefix}:m:${commit.id}:${round}:${chunk}`;
      const number = base + from;
      const fields = some.flatMap((one, i) => [String(number + i), packRecipient(one)]);
      await stageFields(redis, prefix, key, fields);
      const states = some.flatMap((one, i) => {
        const state = owedState(one);
        return state === undefined ? [] : [`s${number + i}`, state];
      });
      await stageFields(redis, prefix, key, states);
      from += some.length;
    }
    const domains = countDomains(commit.recipients);
    if (domains.size > largeMessageDomains) {
      const key = `${prefix}:md:${commit.id}:${round}`;
      await stageFields(redis, prefix, key, [...domains].flat());
    }
  } catch (error) {
    throw storeError(error);
  }
}

/** How many of its recipients stand in the record itself. */
function inRecord({ recipients, firstNumber = 0 }: Commit): number {
  return Math.min(recipients.length, Math.max(0, recipientsPerChunk - firstNumber));
}

/** True when `stageRecipients` has something to do for it. */
export function needsStaging(commit: Commit): boolean {
  return (
    inRecord(commit) < commit.recipients.length || commit.recipients.length > largeMessageDomains
  );
}

/** The arguments of one message, in the order that lua/include/commit.lua names. */
export function commitArguments(commit: Commit): ScriptArgument[] {
  const { content, envelope, recipients } = commit;
  const here = recipients.slice(0, inRecord(commit));
  const states = here.flatMap((recipient, i) => {
    const state = owedState(recipient);
    return state === undefined ? [] : [String(i), state];
  });
  const failed = recipients.filter((recipient) => recipient.failed !== undefined).length;
  const sent = recipients.filter((recipient) => recipient.sent !== undefined).length;
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
    keyHash(senderKey(envelope.sender)),
    String(recipients.length),
    String(recipients.length - failed - sent),
    String(sent),
    domains.size > largeMessageDomains ? "*" : packDomains(domains),
    content.inline ?? "",
    content.chunks === 1 && content.inline !== undefined ? "1" : "",
    String(here.length),
    ...here.map(packRecipient),
    String(states.length / 2),
    ...states,
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
