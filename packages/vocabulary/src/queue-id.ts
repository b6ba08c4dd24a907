/**
 * Queue ids in Postfix's long format: sortable by time, never reused, safe in a Redis key, a path and a URL.
 *
 * Layout: 6 or more base-52 characters of seconds since the epoch, 4 of microseconds, the letter `z`, then,
 * where Postfix puts the inode number, 34 random bits in base 51. A last `z` at offset 10 or later marks a long
 * id; the random part can't contain one. Always at least one character is a letter, so BullMQ takes it as a job id.
 *
 * Source: spec Q15; Postfix src/global/mail_queue.h (MQID_LG_*), src/global/safe_ultostr.c.
 */
import { panic } from "./panic.ts";

declare const queueIdBrand: unique symbol;
/** A queue id that has been checked: 1 to 255 characters of [A-Za-z0-9_]. */
export type QueueId = string & { readonly [queueIdBrand]: true };

const alphabet = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
const secondsLength = 6;
const microsecondsLength = 4;
const randomBits = 34;
const randomBase = 51;
/** 51^6 exceeds 2^34: a random part is always 6 characters, so ids of one second sort by microsecond. */
const randomLength = 6;

function encode(value: number, base: number, length: number): string {
  let text = "";
  for (let rest = value; rest > 0; rest = Math.floor(rest / base)) {
    text = (alphabet[rest % base] ?? panic("queue id digit out of range")) + text;
  }
  return text.padStart(length, alphabet[0]);
}

/**
 * A new queue id.
 *
 * @param nowUs microseconds since the epoch
 * @param random34 a random integer below 2^34
 */
export function makeQueueId(nowUs: number, random34: number): QueueId {
  if (random34 < 0 || random34 >= 2 ** randomBits) panic("random part of a queue id out of range");
  const seconds = encode(Math.floor(nowUs / 1e6), 52, secondsLength);
  const microseconds = encode(Math.floor(nowUs % 1e6), 52, microsecondsLength);
  return `${seconds}${microseconds}z${encode(random34, randomBase, randomLength)}` as QueueId;
}

/** The id if the text is one that any tool accepts, else undefined. Source: spec queues.md §6. */
export function parseQueueId(text: string): QueueId | undefined {
  return /^[A-Za-z0-9_]{1,255}$/.test(text) ? (text as QueueId) : undefined;
}

/** Microseconds since the epoch at which a long id was made, or undefined for an id of another form. */
export function queueIdTimeUs(id: string): number | undefined {
  const mark = id.lastIndexOf("z");
  if (mark < secondsLength + microsecondsLength) return undefined;
  const decode = (text: string) =>
    [...text].reduce((sum, digit) => {
      const value = alphabet.indexOf(digit);
      return value < 0 ? Number.NaN : sum * 52 + value;
    }, 0);
  const us =
    decode(id.slice(0, mark - microsecondsLength)) * 1e6 +
    decode(id.slice(mark - microsecondsLength, mark));
  return Number.isNaN(us) ? undefined : us;
}
