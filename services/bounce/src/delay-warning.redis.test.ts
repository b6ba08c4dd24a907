/** S13 over the real store: the leader owes a warning, bounce queues it, and the message goes on as it was. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Store } from "@postmq/queue-store";
import { waitFor, withStore } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { reportMessage } from "./report-message.ts";
import { reportSettings as settings } from "./report-settings.test-support.ts";

async function commit(store: Store): Promise<QueueId> {
  const intake = store.intake();
  const id = intake.newId();
  const writer = intake.openContent(id);
  await writer.write(Buffer.from("Subject: hi\r\n\r\nbody text\r\n"));
  await intake.commit({
    id,
    queue: "incoming",
    envelope: { sender: "sender@x.example", origin: "smtp" },
    recipients: [{ address: "slow@far.example" }, { address: "sent@far.example" }],
    content: await writer.finish(),
  });
  return id;
}

describe("a delay warning", () => {
  it("S13 is queued once, about the deferred recipients, and the message stays to be deferred", () =>
    withStore(async ({ store }) => {
      const id = await commit(store);
      const fence = await store.leadership().acquire();
      assert(fence !== undefined);
      const scheduling = store.scheduling();
      const limits = { maxMessages: 1, maxRecipients: 10 };
      const [message] = await scheduling.importMessages({ fence, from: "incoming", ...limits });
      assert(message !== undefined);
      assert.equal(message.wasWarned, false);
      const { generation } = message;
      await scheduling.recordOutcomes(id, [
        { kind: "deferred", recipient: 0, status: enhancedStatus("4.2.1"), reason: "450 later" },
        { kind: "sent", recipient: 1, status: enhancedStatus("2.0.0"), reason: "250 ok" },
      ]);
      const [owed] = await scheduling.settle(fence, [
        { id, generation, action: "report", kind: "delay" },
      ]);
      assert.equal(owed, "done");

      const looking = store.looking();
      assert.equal((await looking.message(id))?.owedReport, "delay");

      const log = { info: () => undefined, warning: () => undefined, error: () => undefined };
      const parts = { reporting: store.reporting(), clock: store.clock, log, settings };
      assert.equal(await reportMessage(id, parts), "queued");
      assert.equal(await reportMessage(id, parts), "left");
      assert.equal((await looking.message(id))?.owedReport, undefined);

      const { messages } = await looking.list("incoming", { limit: 10 });
      const [warning] = messages;
      assert.equal(messages.length, 1);
      assert(warning !== undefined);
      assert.equal(warning.envelope.sender, "");
      assert.deepEqual(
        warning.recipients.map(({ address }) => address),
        ["sender@x.example"],
      );
      const content = { contentId: warning.id, sizeBytes: warning.sizeBytes, chunks: 1 };
      const text = Buffer.concat(await Array.fromAsync(looking.readContent(content))).toString();
      assert.match(text, /Subject: Delayed Mail/);
      assert.match(text, /slow@far\.example/);
      assert.doesNotMatch(text, /sent@far\.example|body text/);

      const dueMs = Date.now();
      const defer = { id, generation, action: "defer", dueMs, countAttempt: true } as const;
      assert.deepEqual(await scheduling.settle(fence, [defer]), ["done"]);
      let again: Awaited<ReturnType<typeof scheduling.importMessages>> = [];
      await waitFor(async () => {
        again = await scheduling.importMessages({ fence, from: "deferred", ...limits });
        return again.length > 0;
      });
      assert.equal(again[0]?.wasWarned, true);
      assert.equal(again[0]?.undoneRecipients, 1);
    }));
});
