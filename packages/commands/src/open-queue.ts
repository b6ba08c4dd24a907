/**
 * The store as a command uses it: opened within a few seconds or not at all, and never waited for without end.
 */
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import type { Parameters } from "@postmq/config";
import type { Store } from "@postmq/queue-store";

const closeWithinMs = 1_000;
/** Longest path that a Unix socket address holds, its closing NUL aside. Source: unix(7). */
const longestSocketPath = 107;

export type OpenOptions = { readonly command: string; readonly withinMs: number };

/**
 * Opens the store, lets `use` work with it, and closes it.
 *
 * @throws PMQ_STORE_UNREACHABLE when it can't be opened in time
 */
export async function withQueue<T>(
  parameters: Parameters,
  options: OpenOptions,
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const store = await open(parameters, options);
  try {
    return await use(store);
  } finally {
    // A Redis that went silent must not keep a command from ending: what matters has been answered by now.
    await Promise.race([store[Symbol.asyncDispose](), pause(closeWithinMs)]);
  }
}

async function open(parameters: Parameters, options: OpenOptions): Promise<Store> {
  const { openStore } = await import("@postmq/queue-store");
  return await openStore({
    redisUrl: redisUrl(parameters),
    instanceName: parameters.instance_name,
    processName: `${options.command}-${process.pid}`,
    memoryHighWater: parameters.redis_memory_high_water,
    heartbeatMs: parameters.worker_heartbeat_time,
    leaseMs: parameters.leader_lease_time,
    connectTimeoutMs: options.withinMs,
  });
}

/** redis_url, or the socket of the Redis that `npm start` runs on this data directory. Source: DESIGN §7. */
function redisUrl(parameters: Parameters): string {
  if (parameters.redis_url !== "") return parameters.redis_url;
  const directory = join(parameters.data_directory, "redis");
  const socket = join(directory, "redis.sock");
  if (Buffer.byteLength(socket) <= longestSocketPath) return `unix://${socket}`;
  const name = createHash("sha256").update(directory).digest("hex").slice(0, 16);
  return `unix://${join(tmpdir(), `postmq-${name}`, "redis.sock")}`;
}
