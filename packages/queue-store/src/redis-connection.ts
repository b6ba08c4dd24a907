/**
 * Connections to Redis as this product wants them, and what their errors mean.
 *
 * Two kinds. *Patient* ones hold commands while Redis is away and resend those in flight: for reads, for writes that are
 * safe to repeat, and for BullMQ. *Hasty* ones fail at once when Redis is away and never resend: a commit that was sent
 * twice would store mail whose sender was told otherwise (DESIGN §3). All retry within 1 s.
 *
 * Source: DESIGN §3; LIBRARIES ioredis 6.
 */
import { once } from "node:events";
import { Redis } from "ioredis";
import { PanicError, PostmqError } from "@postmq/vocabulary";
import { redisUrlOptions } from "./redis-url.ts";

const reconnectMaxMs = 1000;
/** A hasty command without an answer after this time counts as unanswered. Source: fault 19. */
const hastyTimeoutMs = 20_000;

export type ConnectionKind = "patient" | "hasty";

export function connect(
  redisUrl: string,
  kind: ConnectionKind,
  name: string,
  onError: (error: Error) => void,
): Redis {
  const options = {
    replyMapping: "legacy" as const,
    connectionName: name,
    lazyConnect: false,
    keepAlive: 5_000,
    maxRetriesPerRequest: null,
    // Who subscribes does so at each "ready": nobody would hear the failure of ioredis's own try, which ends the process.
    autoResubscribe: false,
    retryStrategy: (tries: number) => Math.min(50 * 2 ** Math.min(tries, 5), reconnectMaxMs),
    reconnectOnError: (error: Error) =>
      error.message.startsWith("READONLY") ? (2 as const) : false,
    ...(kind === "hasty"
      ? {
          enableOfflineQueue: false,
          autoResendUnfulfilledCommands: false,
          // Rejects what was in flight as soon as the connection is lost, instead of at commandTimeout.
          maxRetriesPerRequest: 0,
          commandTimeout: hastyTimeoutMs,
        }
      : {}),
  };
  const redis = new Redis({ ...redisUrlOptions(redisUrl), ...options });
  redis.on("error", onError);
  return redis;
}

/** How long a command waits for a hasty connection that is being opened. */
const openingMs = 2000;

/**
 * A hasty connection that is being opened may be waited for, once; one that was lost may not.
 *
 * @throws PMQ_STORE_UNREACHABLE
 */
export async function whenOpen(redis: Redis): Promise<void> {
  if (redis.status === "ready") return;
  const timeout = AbortSignal.timeout(openingMs);
  try {
    await once(redis, "ready", { signal: timeout });
  } catch (error) {
    throw new PostmqError("PMQ_STORE_UNREACHABLE", "Redis can't be reached", { cause: error });
  }
}

/** Errors of Redis that mean: nothing was done, try again when it has recovered. */
const notExecuted = ["READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "BUSY"];
const noRoom = ["OOM", "MISCONF"];

/** What an error of ioredis or Redis means to a caller of the store. */
export function storeError(error: unknown): PostmqError {
  if (error instanceof PostmqError) return error;
  if (error instanceof PanicError) throw error;
  const text = error instanceof Error ? error.message : String(error);
  const word = text.split(/[\s:]/, 1)[0] ?? "";
  const options = { cause: error };
  if (word === "FENCED")
    return new PostmqError("PMQ_STORE_FENCED", "another leader was elected", options);
  if (word === "IDENTITY") {
    return new PostmqError(
      "PMQ_STORE_IDENTITY",
      "the store is not the one this process knows",
      options,
    );
  }
  if (noRoom.includes(word))
    return new PostmqError("PMQ_STORE_FULL", `Redis takes no writes: ${text}`, options);
  if (notExecuted.includes(word) || text.startsWith("Stream isn't writeable")) {
    return new PostmqError("PMQ_STORE_UNREACHABLE", `Redis can't be reached: ${text}`, options);
  }
  return new PostmqError("PMQ_STORE_NO_REPLY", `no answer from Redis: ${text}`, options);
}

/** The URL without its password, for logs. Source: spec security.md 14. */
export function redactedUrl(redisUrl: string): string {
  return redisUrl.replace(/\/\/[^@/]*@/, "//***@");
}
