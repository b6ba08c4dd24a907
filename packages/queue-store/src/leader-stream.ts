/**
 * The leader's stream: what ended, left or was reported, written inside the scripts that made it so.
 *
 * Entries carry a number that grows by one in the same script; a missing number, or an entry lost to the stream's
 * bound, is a gap, and the leader then reconciles from the records. BullMQ's QueueEvents are not used: they lose entries
 * silently (PROTOTYPE §5).
 *
 * Source: DESIGN §4 "Import".
 */
import type { Redis } from "ioredis";
import { parseEnhancedStatus, requestEnds } from "@postmq/vocabulary";
import type { SiteFeedback } from "@postmq/vocabulary";
import type { LeaderEvent, LeaderEvents } from "./contract.ts";
import type { InstanceKeys } from "./instance-keys.ts";
import { checkedId } from "./packing.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { asArray, asNumber, asText, asWord } from "./script-reply.ts";

const entriesPerRead = 500;

function parseFeedback(kind: string, status: string, reason: string): SiteFeedback {
  if (kind === "good") return { kind: "good" };
  const checked = parseEnhancedStatus(status);
  if (kind === "trouble" && checked !== undefined)
    return { kind: "trouble", status: checked, reason };
  return { kind: "none" };
}

/** One line of an entry; undefined when it is not one of ours. */
export function parseEvent(line: string): LeaderEvent | undefined {
  const [kind = "", rawId = "", number = "", generation = "", end = "", ...rest] = line.split("\t");
  if (kind === "flush" || kind === "unthrottle") return { kind };
  const id = checkedId(rawId);
  if (id === undefined) return undefined;
  if (kind === "left" || kind === "reported") return { kind, id };
  if (kind !== "ended") return undefined;
  const [sent = "0", deferred = "0", failed = "0", feedback = "", status = "", reason = ""] = rest;
  const [crashes = "", owed = "0"] = rest.slice(6);
  return {
    kind,
    request: { id, number: Number(number), generation: Number(generation) },
    end: asWord(end, requestEnds),
    sent: Number(sent),
    deferred: Number(deferred),
    failed: Number(failed),
    feedback: parseFeedback(feedback, status, reason),
    ...(owed === "0" ? {} : { owedSuccesses: Number(owed) }),
    ...(crashes === "" ? {} : { crashes: Number(crashes) }),
  };
}

export class LeaderStream {
  readonly #redis: Redis;
  readonly #keys: InstanceKeys;
  #lastId = "$";
  #lastNumber = 0;

  /** @param redis a connection of its own: reads block. */
  constructor(redis: Redis, keys: InstanceKeys) {
    this.#redis = redis;
    this.#keys = keys;
  }

  async start(): Promise<void> {
    try {
      await whenOpen(this.#redis);
      await this.#findEnd();
    } catch (error) {
      throw storeError(error);
    }
  }

  async #findEnd(): Promise<void> {
    // The number first: an event between the two reads then shows as one seen twice, never as one missed.
    const number = await this.#redis.get(this.#keys.eventNumber);
    const last = await this.#redis.xrevrange(this.#keys.events, "+", "-", "COUNT", 1);
    const newest = last[0];
    this.#lastId = newest?.[0] ?? "0-0";
    const fields = newest?.[1] ?? [];
    this.#lastNumber =
      newest === undefined ? Number(number ?? 0) : Number(fields[fields.indexOf("n") + 1] ?? 0);
  }

  async #readMore(waitMs: number) {
    try {
      return await this.#redis.xread(
        "COUNT",
        entriesPerRead,
        "BLOCK",
        Math.max(1, waitMs),
        "STREAMS",
        this.#keys.events,
        this.#lastId,
      );
    } catch (error) {
      throw storeError(error);
    }
  }

  async read(waitMs: number): Promise<LeaderEvents> {
    const reply = await this.#readMore(waitMs);
    if (reply === null) return { events: [], gap: false };
    const events: LeaderEvent[] = [];
    let gap = false;
    for (const stream of reply) {
      for (const entry of asArray(asArray(stream)[1])) {
        const [id, fields] = asArray(entry);
        const flat = asArray(fields).map(asText);
        const number = asNumber(flat[flat.indexOf("n") + 1] ?? "0");
        if (number !== this.#lastNumber + 1) gap = true;
        this.#lastNumber = number;
        this.#lastId = asText(id);
        for (const line of (flat[flat.indexOf("e") + 1] ?? "").split("\n")) {
          const event = parseEvent(line);
          if (event === undefined) gap = true;
          else events.push(event);
        }
      }
    }
    return { events, gap };
  }
}
