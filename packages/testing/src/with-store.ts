/** A real store over a real Redis, on an instance name that no other test uses. */
import { randomBytes } from "node:crypto";

import { openStore } from "@postmq/queue-store";
import type { Store, StoreOptions } from "@postmq/queue-store";

import { startRedis } from "./redis-server.ts";
import type { RedisServer } from "./redis-server.ts";

export type StoreUnderTest = {
  readonly store: Store;
  readonly redis: RedisServer;
  readonly instanceName: string;
  /** A second store on the same instance, as another process would have. Closed with the first. */
  openAnother(options?: Partial<StoreOptions>): Promise<Store>;
};

/** Runs `test` with a store; closes it, and its Redis unless one was given, whatever happens. */
export async function withStore(
  test: (under: StoreUnderTest) => Promise<void>,
  options: { readonly redis?: RedisServer; readonly store?: Partial<StoreOptions> } = {},
): Promise<void> {
  await using own = options.redis === undefined ? await startRedis() : undefined;
  const redis = options.redis ?? own;
  if (redis === undefined) return;
  const instanceName = `test-${randomBytes(8).toString("hex")}`;
  await using stack = new AsyncDisposableStack();
  const openAnother = async (more: Partial<StoreOptions> = {}): Promise<Store> =>
    stack.use(
      await openStore({
        redisUrl: redis.url,
        instanceName,
        processName: "test",
        memoryHighWater: 0.8,
        heartbeatMs: 10_000,
        leaseMs: 8_000,
        ...options.store,
        ...more,
      }),
    );
  await test({ store: await openAnother(), redis, instanceName, openAnother });
}
