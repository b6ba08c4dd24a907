/**
 * A copy of a message as restore-messages takes it: the record's fields, and what goes ahead of it.
 *
 * Recipients from number 1 000 on, and the counts of a message of very many domains, are stored ahead under a round of
 * their own, so that two restores of one id never write into each other's.
 *
 * Source: DESIGN §3, §5; lua/include/records.lua.
 */
import { randomInt } from "node:crypto";
import type { Redis } from "ioredis";
import { countedDomain, senderKey } from "@postmq/vocabulary";
import type { CopiedRecipient, MessageCopy, RestorableMessage } from "./contract-of-operators.ts";
import { keyHash } from "./instance-keys.ts";
import {
  countDomains,
  largeMessageDomains,
  packDomains,
  packRecipient,
  packStateText,
  recipientsPerChunk,
} from "./packing.ts";
import type { ScriptArgument } from "./script.ts";
import { stageFields } from "./stage-fields.ts";

/** Rounds are digits; these are of no message's generation, which others are named by. */
const leastRound = 100_000_000_000_000;
const mostRound = 2 * leastRound;
/** Everything of a restored message is in the first round of reports. */
const firstRound = 0;

/** A message that can be restored by one script now. */
export type StagedCopy = RestorableMessage & {
  readonly round: string;
  /** "chunk:fields …" of recipients stored ahead. */
  readonly chunks: string;
  readonly isLarge: boolean;
  readonly move: string;
};

/** Stores ahead what doesn't fit in the record. */
export async function stageCopy(
  redis: Redis,
  prefix: string,
  message: RestorableMessage,
  move = "",
): Promise<StagedCopy> {
  const { id } = message.copy;
  const undone = countDomains(undoneRecipients(message.copy));
  const isLarge = undone.size > largeMessageDomains;
  const later = numbered(message.copy).filter(({ number }) => number >= recipientsPerChunk);
  if (!isLarge && later.length === 0) {
    return { ...message, round: "", chunks: "", isLarge, move };
  }
  const round = String(randomInt(leastRound, mostRound));
  const chunks: string[] = [];
  const byChunk = Map.groupBy(later, ({ number }) => Math.floor(number / recipientsPerChunk));
  for (const [chunk, recipients] of byChunk) {
    const fields = recipients.flatMap(recipientFields);
    await stageFields(redis, prefix, `${prefix}:m:${id}:${round}:${chunk}`, fields);
    chunks.push(`${chunk}:${fields.length / 2}`);
  }
  if (isLarge) {
    await stageFields(redis, prefix, `${prefix}:md:${id}:${round}`, [...undone].flat());
  }
  return { ...message, round, chunks: chunks.join(" "), isLarge, move };
}

/** The arguments of one message, in the order that restore-messages names. */
export function restoreArguments(message: StagedCopy): ScriptArgument[] {
  const { copy, content } = message;
  const isInline = content.chunks === 1 && content.inline !== undefined;
  const fields = recordFields(message);
  return [
    copy.id,
    copy.queue,
    content.contentId,
    content.chunks,
    isInline ? "1" : "",
    isInline ? (content.inline ?? "") : "",
    message.round,
    message.chunks,
    message.isLarge ? "1" : "",
    copy.corruptReason ?? "",
    message.move,
    fields.length,
    ...fields,
  ];
}

function recordFields(message: StagedCopy): readonly string[] {
  const { copy, content } = message;
  const recipients = numbered(copy);
  const undone = undoneRecipients(copy);
  const summary = message.isLarge ? "" : packDomains(countDomains(undone));
  const owed = (kind: "failed" | "sent") =>
    copy.recipients.filter(({ state }) => state.kind === kind).length;
  const optional: readonly (readonly [string, string | number | undefined])[] = [
    ["c", content.contentId === copy.id ? undefined : content.contentId],
    ["rg", message.round === "" ? undefined : message.round],
    ["lg", message.isLarge ? "1" : undefined],
    ["fl", owed("failed") || undefined],
    ["su", owed("sent") || undefined],
    ["fin", copy.isFinished ? "1" : undefined],
    ["x", copy.isForceExpired ? "1" : undefined],
    ["wd", copy.wasWarned ? "1" : undefined],
    ["a", copy.attempts || undefined],
    ["la", copy.lastAttemptMs],
    // From hold it is the same after the release.
    ["due", copy.queue === "deferred" || copy.queue === "hold" ? copy.dueMs : undefined],
  ];
  return [
    ...["q", copy.queue, "at", String(copy.arrivalMs), "ct", String(copy.createdMs)],
    ...["sz", String(content.sizeBytes), "ch", String(content.chunks)],
    ...["e", JSON.stringify(copy.envelope), "sd", countedDomain(copy.envelope.sender)],
    ...["sf", keyHash(senderKey(copy.envelope.sender))],
    ...["n", String((recipients.at(-1)?.number ?? -1) + 1), "u", String(undone.length)],
    ...["ds", summary],
    ...optional.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)])),
    ...recipients.filter(({ number }) => number < recipientsPerChunk).flatMap(recipientFields),
  ];
}

/** Of a message that is finished nobody is undone. */
function undoneRecipients(copy: MessageCopy): readonly CopiedRecipient[] {
  if (copy.isFinished) return [];
  return copy.recipients.filter(({ state }) => state.kind === "todo" || state.kind === "deferred");
}

type Numbered = CopiedRecipient & { readonly number: number };

function numbered(copy: MessageCopy): readonly Numbered[] {
  return copy.recipients.map((recipient, i) => ({ ...recipient, number: recipient.number ?? i }));
}

function recipientFields(recipient: Numbered): readonly string[] {
  const number = String(recipient.number);
  const state = packState(recipient);
  return [number, packRecipient(recipient), ...(state === "" ? [] : [`s${number}`, state])];
}

function packState({ state }: CopiedRecipient): string {
  switch (state.kind) {
    case "todo":
      return "";
    case "done":
      return "d";
    case "deferred":
      return `t\n${packStateText(state)}`;
    case "failed":
      return `f${firstRound}\n${packStateText(state)}`;
    case "sent":
      return `s${firstRound}\n${packStateText(state)}\n${state.action}`;
  }
}
