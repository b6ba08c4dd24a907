import type { Store } from "@postmq/queue-store";
import { PostmqError } from "@postmq/vocabulary";

const lookEveryMs = 500;

/**
 * Waits for a reading, which by itself would wait for Redis as long as it takes, but only while Redis answers.
 *
 * What was begun goes on when Redis is back, although nobody waits for it any more: where that would do harm, each step is
 * one call of this.
 *
 * @throws PMQ_STORE_UNREACHABLE when Redis is away, at once or meanwhile
 */
export async function whileReachable<T>(
  store: Pick<Store, "health">,
  read: () => Promise<T>,
): Promise<T> {
  assertReachable(store);
  const away = Promise.withResolvers<never>();
  const timer = setInterval(() => {
    try {
      assertReachable(store);
    } catch (error) {
      away.reject(error);
    }
  }, lookEveryMs);
  try {
    return await Promise.race([read(), away.promise]);
  } finally {
    clearInterval(timer);
  }
}

function assertReachable(store: Pick<Store, "health">): void {
  if (store.health().isReachable) return;
  throw new PostmqError("PMQ_STORE_UNREACHABLE", "Redis does not answer");
}
