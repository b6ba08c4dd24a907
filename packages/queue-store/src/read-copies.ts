/**
 * Reading messages whole, to be copied: records with all their recipients, in few scripts of bounded size.
 *
 * A message of many recipients is read in pages; its version tells whether it changed between two of them, and then it
 * is read again.
 *
 * Source: DESIGN §5.
 */
import type { Redis } from "ioredis";
import { isMessageQueue, isPostmqError } from "@postmq/vocabulary";
import type { QueueId, StoredRecipient } from "@postmq/vocabulary";
import type { CopiedRecipient, NotCopied, ReadCopy } from "./contract-of-operators.ts";
import { parseEnvelope, recipientsPerChunk, unpackNumber, unpackTotal } from "./packing.ts";
import type { ReportRounds } from "./packing.ts";
import { asArray, asNumber, asRecipients, asText } from "./script-reply.ts";
import { loadScript } from "./script.ts";
import { runInstanceScript, runInstanceScriptBuffer } from "./store-script.ts";

const scripts = {
  readCopies: loadScript("read-copies"),
  readRecipients: loadScript("read-copied-recipients"),
};
/** Of one script: reading them takes Redis some 5 ms. */
const mostRecipients = 3000;
const mostBytes = 1024 * 1024;
const recipientsPerPage = 2000;
const mostTries = 10;

/** `m`: messages of queues; `away`: messages that stand as moving. */
export type Place = "m" | "away";

type Entry = ReadCopy | NotCopied | "later";

export class CopyReader {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #place: Place;

  constructor(redis: Redis, prefix: string, place: Place) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#place = place;
  }

  /** In the order asked for. */
  async read(ids: readonly QueueId[]): Promise<readonly (ReadCopy | NotCopied)[]> {
    const found: (ReadCopy | NotCopied)[] = [];
    while (found.length < ids.length) {
      for (const entry of await this.#readSome(ids.slice(found.length))) {
        if (entry === "later") break;
        found.push(entry);
      }
    }
    return found;
  }

  /** The first at least; others may be `later`. */
  async #readSome(ids: readonly QueueId[]): Promise<readonly Entry[]> {
    const reply = await this.#ask(ids);
    const entries: Entry[] = [];
    for (const [i, id] of ids.entries()) entries.push(await this.#entry(id, asArray(reply[i])));
    return entries;
  }

  async #ask(ids: readonly QueueId[]): Promise<readonly unknown[]> {
    const keys = ids.map((id) => `${this.#prefix}:${this.#place}:${id}`);
    const args = [this.#place, mostRecipients, mostBytes, ...ids];
    const call = { script: scripts.readCopies, keys, args };
    return asArray(await runInstanceScriptBuffer(this.#redis, this.#prefix, call));
  }

  async #entry(id: QueueId, fields: readonly unknown[], tries = 1): Promise<Entry> {
    if (fields.length === 0) return "absent";
    if (fields.length === 1) return asText(fields[0]) === "later" ? "later" : "unreadable";
    try {
      const total = unpackTotal(asText(fields[10]));
      if (total <= recipientsPerChunk) return readEntry(id, fields, undefined);
      const all = await this.#allRecipients(id, asText(fields[0]), total, roundsOf(fields));
      if (all === "unreadable") return "unreadable";
      if (all !== undefined) return readEntry(id, fields, all);
    } catch (error) {
      if (isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) return "unreadable";
      throw error;
    }
    if (tries >= mostTries) return "changing";
    const [again] = await this.#ask([id]);
    return this.#entry(id, asArray(again), tries + 1);
  }

  /** @returns undefined: it changed meanwhile */
  async #allRecipients(
    id: QueueId,
    version: string,
    total: number,
    rounds: ReportRounds,
  ): Promise<readonly StoredRecipient[] | "unreadable" | undefined> {
    const all: StoredRecipient[] = [];
    const keys = [`${this.#prefix}:${this.#place}:${id}`];
    for (let from = 0; from < total;) {
      const args = [this.#place, id, from, recipientsPerPage];
      const call = { script: scripts.readRecipients, keys, args };
      const reply = asArray(await runInstanceScript(this.#redis, this.#prefix, call));
      if (reply.length === 0) return undefined;
      if (asText(reply[0]) !== version) return undefined;
      all.push(...asRecipients(reply[2], rounds));
      from = asNumber(reply[1]);
    }
    return all;
  }
}

/** @throws PMQ_MESSAGE_UNREADABLE */
function roundsOf(fields: readonly unknown[]): ReportRounds {
  return { failures: numberIn(fields[11]), successes: numberIn(fields[12]) };
}

/**
 * A field of the record as it is stored: rubbish in it is no bug of ours.
 *
 * @throws PMQ_MESSAGE_UNREADABLE
 */
function numberIn(value: unknown): number {
  return unpackNumber(asText(value));
}

/** @throws PMQ_MESSAGE_UNREADABLE */
function readEntry(
  id: QueueId,
  fields: readonly unknown[],
  recipients: readonly StoredRecipient[] | undefined,
): ReadCopy | "unreadable" {
  const queue = asText(fields[2]);
  const inline = fields[23];
  if (!isMessageQueue(queue)) return "unreadable";
  const [last, due, why] = [fields[14], fields[15], fields[19]].map(asText);
  const chunks = numberIn(fields[7]);
  return {
    version: asText(fields[0]),
    isClaimed: asNumber(fields[1]) === 1,
    generation: numberIn(fields[3]),
    content: { contentId: asText(fields[8]), sizeBytes: numberIn(fields[6]), chunks },
    ...(chunks <= 1 && Buffer.isBuffer(inline) ? { inline } : {}),
    copy: {
      id,
      queue: queue === "active" ? "incoming" : queue,
      arrivalMs: numberIn(fields[4]),
      createdMs: numberIn(fields[5]),
      envelope: parseEnvelope(asText(fields[9])),
      recipients: withoutNumbers(recipients ?? asRecipients(fields[22], roundsOf(fields))),
      attempts: numberIn(fields[13]),
      ...(last === "" ? {} : { lastAttemptMs: unpackNumber(last ?? "") }),
      ...(due === "" ? {} : { dueMs: unpackNumber(due ?? "") }),
      isForceExpired: asText(fields[16]) === "1",
      wasWarned: asText(fields[17]) !== "",
      isFinished: asText(fields[18]) === "1",
      ...(why === "" ? {} : { corruptReason: why ?? "" }),
    },
  };
}

/** Numbers that are places are left out. */
function withoutNumbers(recipients: readonly StoredRecipient[]): readonly CopiedRecipient[] {
  return recipients.map(({ number, ...recipient }, i) =>
    number === i ? recipient : { ...recipient, number },
  );
}
