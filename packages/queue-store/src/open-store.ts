import type { Store } from "./contract.ts";

export type StoreOptions = {
  readonly redisUrl: string;
  readonly instanceName: string;
  /** Postfix's service name plus process id, for claims and CLIENT SETNAME. */
  readonly processName: string;
  /** redis_memory_high_water. */
  readonly memoryHighWater: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  /** Told of notable things: reconnects, durability, BullMQ's errors. Never given content or secrets. */
  readonly onNotice?: (notice: { readonly level: "info" | "warning" | "error"; readonly text: string }) => void;
};

/**
 * Connects to the instance's store and checks that Redis is fit: version, noeviction, AOF policy, identity.
 *
 * @throws PMQ_STORE_UNREACHABLE after `connectTimeoutMs`; PMQ_STORE_UNFIT for a wrong policy or version.
 */
export async function openStore(_options: StoreOptions): Promise<Store> {
  throw new Error("under construction");
}
