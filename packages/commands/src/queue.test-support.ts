/** A queue system of the test's own, the commands that look after it, and messages to put there. */
import assert from "node:assert/strict";

import type { Fence, Scheduling, Store, StoreOptions } from "@postmq/queue-store";
import { withStore } from "@postmq/testing";
import type { RedisServer, StoreUnderTest } from "@postmq/testing";
import type { MessageQueue, QueueId } from "@postmq/vocabulary";

import { commandRunner } from "./command.test-support.ts";
import type { Runner } from "./command.test-support.ts";

export type Kept = {
  readonly queue?: "incoming" | "hold" | "maildrop";
  readonly sender?: string;
  readonly to?: string;
};

export type QueueUnderTest = StoreUnderTest & {
  readonly command: Runner;
  /** Puts a message there. */
  readonly keep: (wanted?: Kept) => Promise<QueueId>;
  readonly queueOf: (id: QueueId) => Promise<MessageQueue | undefined>;
};

export function withQueueAt(
  redis: RedisServer,
  test: (under: QueueUnderTest) => Promise<void>,
  store: Partial<StoreOptions> = {},
): Promise<void> {
  return withStore(
    async (under) => {
      const { instanceName } = under;
      using command = commandRunner({ redisUrl: redis.url, instanceName });
      const [intake, looking] = [under.store.intake(), under.store.looking()];
      const keep: QueueUnderTest["keep"] = async (wanted = {}) => {
        const { queue = "incoming", sender = "a@one.example", to = "b@far.example" } = wanted;
        const id = intake.newId();
        const content = await intake.openContent(id).finish();
        const envelope = { sender, origin: "smtp" } as const;
        await intake.commit({ id, queue, envelope, recipients: [{ address: to }], content });
        return id;
      };
      const queueOf = async (id: QueueId) => (await looking.message(id))?.queue;
      await test({ ...under, command, keep, queueOf });
    },
    { redis, store },
  );
}

/** Somebody leads there, and the test does what a leader does. */
export async function lead(
  store: Store,
): Promise<{ readonly scheduling: Scheduling; readonly fence: Fence }> {
  const fence = await store.leadership().acquire();
  assert.ok(fence !== undefined);
  const scheduling = store.scheduling();
  await scheduling.startEvents();
  return { scheduling, fence };
}
