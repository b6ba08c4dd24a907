/**
 * The delivery worker's side of the store: claims, the dot-sent mark, outcomes.
 *
 * Outcomes are kept over an outage of Redis, however long, and written when it is back (P5). The mark is different:
 * it is awaited before the dot, and after 20 s of silence the answer is no (DESIGN §3).
 *
 * Source: DESIGN §3 "Delivery is the one place where twice is possible"; faults 7, 9, 11, 19, 20.
 */
import type { Redis } from "ioredis";
import { isPostmqError, panic } from "@postmq/vocabulary";
import type { RecipientOutcome, RequestName } from "@postmq/vocabulary";
import { Coalescer } from "./coalescer.ts";
import { ConnectionTokenStore } from "./connection-tokens.ts";
import { readContent } from "./content.ts";
import type { ClaimAnswer, ContentRef, Delivering, RequestResult } from "./contract.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { OutcomeWriter } from "./outcome-writer.ts";
import { parseEnvelope, unpackRequest } from "./packing.ts";
import { storeError } from "./redis-connection.ts";
import { allReported, asArray, asNumber, asRecipients, asText, asWord } from "./script-reply.ts";
import { loadScript, runScript, runScriptBuffer } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const claimRequests = loadScript("claim-requests");
const markDotSent = loadScript("mark-dot-sent");
const inspectRequests = loadScript("inspect-requests");

const markSilenceMs = 20_000;
const maxPerScript = 200;

type Mark = { readonly name: RequestName; readonly askedMs: number };

export class DeliveringStore implements Delivering {
  readonly worker: string;
  readonly connections: ConnectionTokenStore;
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #marks: Coalescer<Mark, boolean>;
  readonly #outcomes: OutcomeWriter;

  static async open(parts: StoreParts, concurrency: number): Promise<DeliveringStore> {
    await startHeartbeat(parts, concurrency);
    return new DeliveringStore(parts);
  }

  private constructor(parts: StoreParts) {
    this.worker = parts.worker;
    this.#parts = parts;
    this.#redis = parts.connect("patient", "delivering");
    this.connections = new ConnectionTokenStore(parts);
    this.#marks = new Coalescer((marks) => this.#mark(marks), { lanes: 1, maxItems: maxPerScript });
    this.#outcomes = new OutcomeWriter(parts, this.#redis);
  }

  async claim(names: readonly RequestName[]): Promise<readonly ClaimAnswer[]> {
    const { keys, heartbeatMs } = this.#parts;
    const reply = asArray(
      await runScriptBuffer(
        this.#redis,
        claimRequests,
        names.map((name) => keys.record(name.id)),
        [keys.prefix, this.worker, heartbeatMs, ...names.flatMap(nameArguments)],
      ),
    );
    return names.map((name, i) => readClaim(name, asArray(reply[i])));
  }

  async isQueued(name: RequestName): Promise<boolean> {
    const { keys } = this.#parts;
    const [text] = asArray(
      await runScript(
        this.#redis,
        inspectRequests,
        [keys.record(name.id)],
        [keys.prefix, name.id, String(name.number)],
      ),
    );
    const found = unpackRequest(name.id, name.number, asText(text));
    return found?.state === "queued" && found.name.generation === name.generation;
  }

  markDotSent(name: RequestName): Promise<boolean> {
    return this.#marks.add({ name, askedMs: performance.now() });
  }

  async #mark(marks: readonly Mark[]): Promise<readonly boolean[]> {
    const { keys } = this.#parts;
    const names = marks.map((mark) => mark.name);
    const oldestMs = Math.min(...marks.map((mark) => mark.askedMs));
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<undefined>((resolve) => {
      // From when it was asked for: one that waited behind a silent call has waited already.
      timer = setTimeout(() => resolve(undefined), markSilenceMs - (performance.now() - oldestMs));
    });
    const marked = runScript(
      this.#redis,
      markDotSent,
      names.map((name) => keys.record(name.id)),
      [keys.prefix, this.worker, ...names.flatMap(nameArguments)],
    ).catch((error: unknown) => {
      this.#parts.notice("warning", `dot-sent mark: ${storeError(error).message}`);
      return undefined;
    });
    const reply = await Promise.race([marked, silence]);
    clearTimeout(timer);
    if (reply === undefined) return names.map(() => false);
    return asArray(reply).map((answer) => asNumber(answer) === 1);
  }

  record(name: RequestName, outcomes: readonly RecipientOutcome[]): Promise<void> {
    return this.#outcomes.record(name, outcomes);
  }

  end(result: RequestResult): Promise<void> {
    return this.#outcomes.end(result);
  }

  readContent(content: ContentRef): AsyncIterable<Buffer> {
    return readContent(this.#redis, this.#parts.keys.prefix, content);
  }

  unwritten(): readonly RequestResult[] {
    return this.#outcomes.unwritten();
  }

  async restore(results: readonly RequestResult[]): Promise<void> {
    await Promise.all(results.map((result) => this.end(result)));
  }
}

function nameArguments(name: RequestName): string[] {
  return [name.id, String(name.number), String(name.generation)];
}

function readClaim(name: RequestName, reply: readonly unknown[]): ClaimAnswer {
  const word = asWord(reply[0], ["claimed", "stale", "busy", "unreadable"]);
  if (word !== "claimed") return word;
  const [
    ,
    transport,
    nexthop,
    site,
    arrival,
    active,
    created,
    envelope,
    content,
    size,
    chunks,
    recipients,
    inline,
    warned,
  ] = reply;
  try {
    return {
      name,
      destination: {
        transport: asText(transport),
        nexthop: asText(nexthop),
        ...(asText(site) === "" ? {} : { site: asText(site) }),
      },
      arrivalMs: asNumber(arrival),
      activeMs: asNumber(active),
      createdMs: asNumber(created),
      wasWarned: asText(warned) === "1",
      envelope: parseEnvelope(asText(envelope)),
      recipients: asRecipients(recipients, allReported),
      content: { contentId: asText(content), sizeBytes: asNumber(size), chunks: asNumber(chunks) },
      ...(asNumber(chunks) > 1
        ? {}
        : { inline: Buffer.isBuffer(inline) ? inline : panic("content is no buffer") }),
    };
  } catch (error) {
    if (isPostmqError(error, "PMQ_MESSAGE_UNREADABLE")) return "unreadable";
    throw error;
  }
}
