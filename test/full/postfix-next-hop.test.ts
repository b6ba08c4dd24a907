/** Real servers on both sides: smtp-source hands in, Postfix is the next hop, smtp-sink is the end. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import {
  hasPostfixTools,
  postfixObstacle,
  PrivatePostfix,
  smtpSink,
  smtpSource,
  startPostmq,
  waitFor,
} from "@postmq/testing";

const messages = 1000;

describe("Postfix as the next hop", () => {
  it("takes every message exactly once over kept connections", async () => {
    await relayThroughPostfix(true);
  });

  it("takes every message exactly once over a connection for each", async () => {
    await relayThroughPostfix(false);
  });
});

async function relayThroughPostfix(keepsConnections: boolean): Promise<void> {
  assert.ok(hasPostfixTools(), "the system's package postfix is needed");
  assert.equal(postfixObstacle(), undefined);
  await using sink = await smtpSink({ dumps: true });
  // Postfix's own user must be able to enter every directory above its queue.
  const directory = await mkdtemp("/var/tmp/postmq-postfix-");
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o755);
  await using postfix = await PrivatePostfix.start(join(directory, "postfix"), sink.port);
  await using system = await startPostmq({
    parameters: { relayhost: `[127.0.0.1]:${postfix.port}` },
  });
  await smtpSource({
    port: system.smtpPort,
    messages,
    keepsConnections,
    numbersRecipients: true,
  });
  await waitFor(() => sink.messages >= messages, {
    timeoutMs: 120_000,
    describe: () => `${sink.messages} of ${messages}\n${system.lastLines()}`,
  });
  const recipients = (await sink.dumped()).flatMap((dump) => dump.recipients);
  assert.equal(recipients.length, messages);
  assert.equal(new Set(recipients).size, messages);
  await waitFor(async () => (await system.command("mailq")).stdout === "Mail queue is empty\n");
  assert.deepEqual(await system.stop(), []);
}
