/**
 * Timelines: what happened to one message, found among what happened to all.
 *
 * One stream per instance, written by the scripts (lua/include/timeline.lua). A queue id tells when it was made, so the
 * reading begins there; it goes in pages small enough that Redis is free in between, and keeps only what names the id.
 * Lines that are not ours are skipped.
 *
 * Source: spec parameters.md event_retention.
 */
import type { Redis } from "ioredis";
import { isMessageQueue, queueIdTimeUs } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { TimelineEvent, TimelineKind, Timelines } from "./contract-of-operators.ts";
import { storeError } from "./redis-connection.ts";
import type { StoreParts } from "./store-parts.ts";

/** `sendmail` makes its ids by its own machine's clock, which may be ahead of Redis's. */
const clockSlackMs = 3_600_000;
const bytesPerPage = 512 * 1024;
const leastPerPage = 100;
const mostPerPage = 2000;

const services: Readonly<Record<string, string>> = { smtp: "smtpd", http: "pickup" };

type Told = Pick<TimelineEvent, "kind" | "queue" | "details">;

/** Names for details by their place; what is empty is left out. */
function named(
  names: readonly string[],
  values: readonly string[],
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    names.map((name, i) => [name, values[i] ?? ""]).filter(([, value]) => value !== ""),
  );
}

function moved(kind: TimelineKind, queue: string, details: TimelineEvent["details"]): Told {
  return isMessageQueue(queue) ? { kind, queue, details } : { kind, details };
}

function told(letter: string, values: readonly string[]): Told | undefined {
  const [first = "", ...rest] = values;
  const outcome = ["to", "status", "relay"];
  switch (letter) {
    case "a":
      return moved("accepted", first, {
        ...named(
          ["by", "size", "recipients"],
          [services[rest[0] ?? ""] ?? rest[0] ?? "", ...rest.slice(1)],
        ),
      });
    case "l":
      return moved("cleaned", first, named(["size", "recipients"], rest));
    case "v": {
      const [by = "", dueMs = "", reason = ""] = rest;
      const due = /^\d{1,15}$/.test(dueMs) ? new Date(Number(dueMs)).toISOString() : "";
      return moved(
        first === "active" ? "queued" : "moved",
        first,
        named(["by", "due", "reason"], [by, due, reason]),
      );
    }
    case "g":
      return { kind: "removed", details: named(["by"], values) };
    case "c":
      return { kind: "claimed", details: named(["worker", "destination"], values) };
    case "o":
      return { kind: "claimed", details: named(["worker", "for"], values) };
    case "m":
      return { kind: "dot-sent", details: {} };
    case "b":
      return { kind: "ambiguous", details: named(["worker"], values) };
    case "s":
      return { kind: "sent", details: named([...outcome, "reply"], values) };
    case "t":
      return { kind: "deferred", details: named([...outcome, "reason"], values) };
    case "f":
      return { kind: "failed", details: named([...outcome, "reason"], values) };
    case "n":
      return { kind: "more", details: named(["recipients"], values) };
    case "p":
      return { kind: "put-back", details: named(["worker", "why"], values) };
    case "w":
      return { kind: "report-owed", details: named(["report"], values) };
    case "r":
      return { kind: "reported", details: named(["report", "messages", "ids"], values) };
    case "k":
      return { kind: "marked", details: named(["as"], values) };
    default:
      return undefined;
  }
}

/** What an entry tells of a message. */
export function readTimelineEntry(entryId: string, text: string, id: string): TimelineEvent[] {
  if (!text.includes(id)) return [];
  const atMs = Number.parseInt(entryId, 10);
  return text.split("\n").flatMap((line) => {
    const [letter = "", ...fields] = line.split("\t");
    const ids = fields.pop() ?? "";
    const event = ids.split(" ").includes(id) ? told(letter, fields) : undefined;
    return event === undefined ? [] : [{ atMs, ...event }];
  });
}

/** Without what was said twice of a recipient in one attempt: when it goes on, and with its end (D6). */
export function withoutRepetitions(events: readonly TimelineEvent[]): readonly TimelineEvent[] {
  const said = new Set<string>();
  return events.filter((event) => {
    if (event.kind === "claimed") said.clear();
    if (event.kind !== "deferred") return true;
    const text = JSON.stringify(event.details);
    if (said.has(text)) return false;
    said.add(text);
    return true;
  });
}

export class TimelineStore implements Timelines {
  readonly #redis: Redis;
  readonly #key: string;

  constructor(parts: StoreParts) {
    this.#redis = parts.connect("patient", "timelines");
    this.#key = parts.keys.timeline;
  }

  async timeline(
    id: QueueId,
    { sinceMs = 0 }: { readonly sinceMs?: number } = {},
  ): Promise<readonly TimelineEvent[]> {
    const madeUs = queueIdTimeUs(id) ?? 0;
    const events: TimelineEvent[] = [];
    let from = String(Math.max(Math.floor(sinceMs), Math.floor(madeUs / 1000) - clockSlackMs));
    let count = leastPerPage;
    for (;;) {
      const entries = await this.#page(from, count);
      let bytes = 0;
      for (const [entryId, [, text = ""]] of entries) {
        bytes += text.length;
        events.push(...readTimelineEntry(entryId, text, id));
      }
      const last = entries.at(-1)?.[0];
      if (last === undefined || entries.length < count) return withoutRepetitions(events);
      from = `(${last}`;
      const perEntry = Math.max(1, bytes / entries.length);
      count = Math.floor(Math.min(mostPerPage, Math.max(leastPerPage, bytesPerPage / perEntry)));
    }
  }

  async #page(from: string, count: number) {
    try {
      return await this.#redis.xrange(this.#key, from, "+", "COUNT", count);
    } catch (error) {
      throw storeError(error);
    }
  }
}
