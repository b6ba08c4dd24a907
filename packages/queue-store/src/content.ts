/**
 * Content: immutable, in chunks of at most 256 KiB, fields of one key.
 *
 * Content of one chunk travels in the commit. Larger content goes ahead while it arrives, under an id of its own and
 * with an expiry that every chunk renews; the commit script requires all chunks and makes the key persistent. So a
 * client that goes away, or a process that dies, leaves nothing for longer than the expiry.
 *
 * Source: DESIGN §3.
 */
import { randomBytes } from "node:crypto";
import type { Redis } from "ioredis";
import { PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import type { ContentRef, ContentWriter, FinishedContent } from "./contract.ts";
import { storeError, whenOpen } from "./redis-connection.ts";
import { stageFields } from "./stage-fields.ts";

export const chunkBytes = 256 * 1024;

export function contentKey(prefix: string, contentId: string): string {
  return `${prefix}:c:${contentId}`;
}

export class StagedContentWriter implements ContentWriter {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #id: QueueId;
  readonly #inlineId: string;
  readonly #onWrite: () => void;
  #stagedId: string | undefined;
  #parts: Buffer[] = [];
  #heldBytes = 0;
  #chunks = 0;
  sizeBytes = 0;

  /**
   * @param options.inlineId content id if all of it fits in one chunk
   * @param options.onWrite called before each chunk; throws when no more may be taken in
   */
  constructor(
    redis: Redis,
    options: {
      readonly prefix: string;
      readonly id: QueueId;
      readonly inlineId: string;
      readonly onWrite: () => void;
    },
  ) {
    this.#redis = redis;
    this.#prefix = options.prefix;
    this.#id = options.id;
    this.#inlineId = options.inlineId;
    this.#onWrite = options.onWrite;
  }

  write(bytes: Buffer): Promise<void> | undefined {
    // However many of nothing come, they are not held.
    if (bytes.length === 0) return undefined;
    this.sizeBytes += bytes.length;
    this.#heldBytes += bytes.length;
    this.#parts.push(bytes);
    return this.#heldBytes > chunkBytes ? this.#stage(false) : undefined;
  }

  async finish(): Promise<FinishedContent> {
    if (this.#stagedId === undefined) {
      const only = this.#parts.length === 1 ? this.#parts[0] : undefined;
      const inline = only ?? Buffer.concat(this.#parts);
      return {
        contentId: this.#inlineId,
        sizeBytes: this.sizeBytes,
        chunks: inline.length === 0 ? 0 : 1,
        inline,
      };
    }
    await this.#stage(true);
    return { contentId: this.#stagedId, sizeBytes: this.sizeBytes, chunks: this.#chunks };
  }

  async abort(): Promise<void> {
    if (this.#stagedId === undefined) return;
    try {
      await this.#redis.unlink(contentKey(this.#prefix, this.#stagedId));
    } catch {
      // Redis is away: the expiry removes what was stored ahead.
    }
  }

  async #stage(isLast: boolean): Promise<void> {
    this.#stagedId ??= `${this.#id}-${randomBytes(6).toString("hex")}`;
    const held = Buffer.concat(this.#parts);
    const key = contentKey(this.#prefix, this.#stagedId);
    let from = 0;
    try {
      await whenOpen(this.#redis);
      while (held.length - from >= chunkBytes || (isLast && from < held.length)) {
        this.#onWrite();
        const chunk = held.subarray(from, from + chunkBytes);
        await stageFields(this.#redis, this.#prefix, key, [this.#chunks, chunk]);
        this.#chunks += 1;
        from += chunk.length;
      }
    } catch (error) {
      throw storeError(error);
    }
    const rest = held.subarray(from);
    this.#parts = rest.length === 0 ? [] : [Buffer.from(rest)];
    this.#heldBytes = rest.length;
  }
}

async function readChunk(redis: Redis, key: string, chunk: number): Promise<Buffer | null> {
  try {
    return await redis.hgetBuffer(key, String(chunk));
  } catch (error) {
    throw storeError(error);
  }
}

/** Chunks in order. @throws PMQ_MESSAGE_UNREADABLE when one is missing. */
export async function* readContent(
  redis: Redis,
  prefix: string,
  content: ContentRef,
): AsyncIterable<Buffer> {
  for (let i = 0; i < content.chunks; i += 1) {
    const chunk = await readChunk(redis, contentKey(prefix, content.contentId), i);
    if (chunk === null) {
      throw new PostmqError("PMQ_MESSAGE_UNREADABLE", "a part of the content is missing", {
        facts: { contentId: content.contentId, chunk: i },
      });
    }
    yield chunk;
  }
}

/** The first `maxBytes` of the content. */
export async function readContentWhole(
  redis: Redis,
  prefix: string,
  content: ContentRef,
  maxBytes = Number.POSITIVE_INFINITY,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of readContent(redis, prefix, content)) {
    parts.push(part);
    size += part.length;
    if (size >= maxBytes) break;
  }
  const whole = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  return whole.length > maxBytes ? whole.subarray(0, maxBytes) : whole;
}
