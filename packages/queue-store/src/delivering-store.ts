/**
 * The delivery worker's side of the store: claims, the dot-sent mark, outcomes.
 *
 * Outcomes are kept over an outage of Redis, however long, and written when it is back (P5). The mark is different:
 * it is awaited before the dot, and after 20 s of silence the answer is no (DESIGN §3).
 *
 * Source: DESIGN §3 "Delivery is the one place where twice is possible"; faults 7, 9, 11, 19, 20.
 */
import type { Redis } from "ioredis";
import { enhancedStatus, isPostmqError, panic } from "@postmq/vocabulary";
import type { RequestName } from "@postmq/vocabulary";
import { Coalescer } from "./coalescer.ts";
import { ConnectionTokenStore } from "./connection-tokens.ts";
import { readContent } from "./content.ts";
import type { ClaimAnswer, ContentRef, Delivering, RequestResult } from "./contract.ts";
import { startHeartbeat } from "./heartbeat.ts";
import { outcomeArguments, parseEnvelope, unpackRequest } from "./packing.ts";
import { storeError } from "./redis-connection.ts";
import { asArray, asNumber, asRecipients, asText, asWord } from "./script-reply.ts";
import { loadScript, runScript, runScriptBuffer } from "./script.ts";
import type { StoreParts } from "./store-parts.ts";

const claimRequests = loadScript("claim-requests");
const markDotSent = loadScript("mark-dot-sent");
const endRequests = loadScript("end-requests");
const inspectRequests = loadScript("inspect-requests");

const markSilenceMs = 20_000;
const maxPerScript = 200;
const retryMs = 500;

type Mark = { readonly name: RequestName; readonly askedMs: number };

const goodStatus = enhancedStatus("2.0.0");

export class DeliveringStore implements Delivering {
  readonly worker: string;
  readonly connections: ConnectionTokenStore;
  readonly #parts: StoreParts;
  readonly #redis: Redis;
  readonly #marks: Coalescer<Mark, boolean>;
  readonly #ends: Coalescer<RequestResult, true>;
  readonly #unwritten = new Set<RequestResult>();
  #isClosed = false;

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
    this.#ends = new Coalescer((results) => this.#writeEnds(results), {
      lanes: 1,
      maxItems: maxPerScript,
    });
    parts.onClose(() => {
      this.#isClosed = true;
    });
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

  async end(result: RequestResult): Promise<void> {
    this.#unwritten.add(result);
    await this.#ends.add(result);
    this.#unwritten.delete(result);
  }

  /** Writes results, as long as it takes: they are facts that must not be lost. */
  async #writeEnds(results: readonly RequestResult[]): Promise<readonly true[]> {
    const { keys } = this.#parts;
    for (;;) {
      try {
        await runScript(
          this.#redis,
          endRequests,
          results.map((result) => keys.record(result.name.id)),
          [keys.prefix, this.worker, ...results.flatMap(endArguments)],
        );
        return results.map(() => true as const);
      } catch (error) {
        if (this.#isClosed) throw storeError(error);
        if (isScriptError(error)) return this.#writeOneByOne(results, error);
        this.#parts.notice("warning", `outcomes wait for Redis: ${storeError(error).message}`);
        await new Promise((resolve) => setTimeout(resolve, retryMs));
      }
    }
  }

  /** A damaged record makes the script fail: its neighbours' outcomes are written without it. */
  async #writeOneByOne(
    results: readonly RequestResult[],
    error: unknown,
  ): Promise<readonly true[]> {
    const [only] = results;
    if (only !== undefined && results.length === 1) {
      this.#parts.notice("error", `${only.name.id}: outcome not recorded: ${String(error)}`);
      return [true];
    }
    for (const result of results) await this.#writeEnds([result]);
    return results.map(() => true as const);
  }

  readContent(content: ContentRef): AsyncIterable<Buffer> {
    return readContent(this.#redis, this.#parts.keys.prefix, content);
  }

  unwritten(): readonly RequestResult[] {
    return [...this.#unwritten];
  }

  async restore(results: readonly RequestResult[]): Promise<void> {
    await Promise.all(results.map((result) => this.end(result)));
  }
}

/** Redis answered, and would answer the same again: the script met a key or field that is not as it should be. */
function isScriptError(error: unknown): boolean {
  return error instanceof Error && /^(WRONGTYPE|ERR) /.test(error.message);
}

function nameArguments(name: RequestName): string[] {
  return [name.id, String(name.number), String(name.generation)];
}

function oneLine(text: string): string {
  return text.replaceAll(/\s/g, " ");
}

function endArguments(result: RequestResult): string[] {
  const { name, feedback, outcomes } = result;
  const count = (kind: string) =>
    String(outcomes.filter((outcome) => outcome.kind === kind).length);
  const trouble = feedback.kind === "trouble" ? feedback : { status: goodStatus, reason: "" };
  return [
    ...nameArguments(name),
    result.end,
    feedback.kind,
    trouble.status,
    oneLine(trouble.reason),
    count("sent"),
    count("deferred"),
    count("failed"),
    String(outcomes.length),
    ...outcomes.flatMap(outcomeArguments),
  ];
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
      envelope: parseEnvelope(asText(envelope)),
      recipients: asRecipients(recipients, Number.POSITIVE_INFINITY),
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
