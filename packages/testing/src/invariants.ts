/** The invariants that hold in Redis at any quiet moment. Source: spec faults.md. */
import { checkInstance } from "@postmq/queue-store";

import type { RedisServer } from "./redis-server.ts";

/** @returns what is wrong with an instance's indexes, contents and records; empty when all is well. */
export async function findBrokenInvariants(
  redis: RedisServer,
  instanceName = "default",
): Promise<readonly string[]> {
  return await checkInstance(redis.url, instanceName);
}
