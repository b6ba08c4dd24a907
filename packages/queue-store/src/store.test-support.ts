/** What the redis tests of this package share: a message to store, and the usual walk to a claimed request. */
import assert from "node:assert/strict";
import { checkInstance } from "@postmq/queue-store";
import type { Fence, Intake, NewMessage, Scheduling, Store } from "@postmq/queue-store";
import type { StoreUnderTest } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId, RequestName } from "@postmq/vocabulary";

export type Wanted = {
  readonly queue?: NewMessage["queue"];
  readonly sender?: string;
  readonly recipients?: readonly string[];
  readonly content?: Buffer;
  readonly id?: QueueId;
  readonly taken?: boolean;
};

/** A new message, its content finished but not yet committed. */
export async function newMessage(intake: Intake, wanted: Wanted = {}): Promise<NewMessage> {
  const id = wanted.id ?? intake.newId();
  const writer = intake.openContent(id);
  await writer.write(wanted.content ?? Buffer.from("Subject: test\r\n\r\nbody\r\n"));
  return {
    id,
    queue: wanted.queue ?? "incoming",
    envelope: { sender: wanted.sender ?? "from@sender.example", origin: "smtp" },
    recipients: (wanted.recipients ?? ["to@example.com"]).map((address) => ({ address })),
    content: await writer.finish(),
    ...(wanted.taken === undefined ? {} : { taken: wanted.taken }),
  };
}

export async function stored(intake: Intake, wanted: Wanted = {}): Promise<QueueId> {
  const message = await newMessage(intake, wanted);
  assert.equal(await intake.commit(message), "stored");
  return message.id;
}

export type Led = { readonly scheduling: Scheduling; readonly fence: Fence };

/** Becomes leader and starts on the stream. */
export async function lead(store: Store): Promise<Led> {
  const fence = await store.leadership().acquire();
  assert.ok(fence !== undefined, "another leader lives");
  const scheduling = store.scheduling();
  await scheduling.startEvents();
  return { scheduling, fence };
}

/** Imports all of incoming and writes one request per message, for all its recipients. */
export async function dispatched({ scheduling, fence }: Led): Promise<readonly RequestName[]> {
  const messages = await scheduling.importMessages({
    fence,
    from: "incoming",
    maxMessages: 100,
    maxRecipients: 5000,
  });
  await scheduling.closeImport(fence);
  const names = await scheduling.dispatch(
    fence,
    messages.map((message) => ({
      id: message.id,
      messageGeneration: message.generation,
      destination: { transport: "smtp", nexthop: "example.com" },
      recipients: message.recipients.map((recipient) => recipient.number),
    })),
  );
  return names.filter((name) => name !== undefined);
}

/** The invariants of spec faults.md, by two computations that share nothing: what one overlooks the other finds. */
export async function assertConsistent(under: StoreUnderTest): Promise<void> {
  assert.deepEqual(await checkInstance(under.redis.url, under.instanceName), []);
  await using store = await under.openAnother({ processName: "check" });
  const findings = store.checking().check({ isMending: false, restingSeconds: 0 });
  assert.deepEqual(await Array.fromAsync(findings), []);
}

export type Deferring = {
  /** When they are due; default: in an hour. */
  readonly dueMs?: number;
  readonly surplusOf?: string;
  /** An attempt failed for each recipient; default: so it did. */
  readonly isTried?: boolean;
};

/** Imports all of incoming and sends it back to deferred. */
export async function deferIncoming(
  store: Store,
  { scheduling, fence }: Led,
  options: Deferring = {},
): Promise<void> {
  const imported = await scheduling.importMessages({
    fence,
    from: "incoming",
    maxMessages: 1000,
    maxRecipients: 5000,
  });
  const { surplusOf } = options;
  for (const message of options.isTried === false ? [] : imported) {
    const outcomes = message.recipients.map(({ number }) => ({
      recipient: number,
      kind: "deferred" as const,
      status: enhancedStatus("4.4.1"),
      reason: "refused",
    }));
    await scheduling.recordOutcomes(message.id, outcomes);
  }
  const answers = await scheduling.settle(
    fence,
    imported.map(({ id, generation }) => ({
      id,
      generation,
      action: "defer",
      dueMs: options.dueMs ?? store.clock.nowMs() + 3_600_000,
      countAttempt: options.isTried !== false,
      ...(surplusOf === undefined ? {} : { surplusOf }),
    })),
  );
  assert.ok(answers.every((answer) => answer === "done"));
}
