/**
 * The store as a command uses it: opened within a few seconds or not at all, and never waited for without end.
 */
import { setTimeout as pause } from "node:timers/promises";

import type { Parameters } from "@postmq/config";
import type { Store } from "@postmq/queue-store";

import { ownRedisSocket } from "./start/own-redis-socket.ts";

const closeWithinMs = 1_000;

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
    await close(store);
  }
}

/** What matters has been answered by now: trouble in closing, or a Redis that went silent, changes nothing about it. */
async function close(store: Store): Promise<void> {
  const closed = Promise.allSettled([store[Symbol.asyncDispose]()]);
  await Promise.race([closed, pause(closeWithinMs, undefined, { ref: false })]);
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
export function redisUrl(parameters: Parameters): string {
  if (parameters.redis_url !== "") return parameters.redis_url;
  return `unix://${ownRedisSocket(parameters.data_directory)}`;
}
