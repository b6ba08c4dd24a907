/**
 * `fair_share_key`: one sender's flood stands behind another's one message, however much of it is queued.
 *
 * The flood is larger than active can hold, so it must not fill active either (S31 for keys).
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  sendMail,
  smtpSource,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem, TestMail } from "@postmq/testing";

const flood = 6000;
const other = "someone@quiet.example";

async function delayOf(
  system: PostmqSystem,
  sink: FakeSmtpServer,
  mail: TestMail,
): Promise<number> {
  const reply = await sendMail(system.smtpPort, mail);
  assert.equal(reply.code, 250, reply.text);
  const sentMs = performance.now();
  await waitFor(() => sink.messages.some(({ sender }) => sender === other), {
    timeoutMs: 120_000,
    describe: "the other sender's message at the sink",
  });
  return performance.now() - sentMs;
}

describe("fair_share_key = sender_domain", () => {
  it("delays one sender's message by no more than moments for another's six thousand", async (context) => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 150 } : undefined),
    });
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        fair_share_key: "sender_domain",
        qmgr_message_active_limit: "2000",
        default_destination_concurrency_limit: "10",
      },
    });
    await smtpSource({
      port: system.smtpPort,
      messages: flood,
      lengthBytes: 200,
      from: "someone@flood.example",
      keepsConnections: true,
    });
    // How soon the scheduler has seen all that came in is the machine's; what it makes of it is fair_share_key's.
    const incoming = "postmq:{default}:q:incoming";
    await waitFor(async () => (await system.redis.cli("ZCARD", incoming)) === "0", {
      describe: "the flood to be looked at",
    });
    const delivered = sink.messages.length;
    const delayMs = await delayOf(system, sink, testMail({ from: other }));
    const waiting = flood - sink.messages.length + 1;
    sink.decide = () => undefined;
    context.diagnostic(
      `${delivered} of ${flood} were delivered when the other's one came; it took ${Math.round(delayMs)} ms, ` +
        `and ${waiting} of the flood were still waiting`,
    );
    assert(waiting > flood / 3, "the flood was gone: nothing was shown");
    // In its turn behind those that waited, it would have taken 30 s at the least: 10 places of 150 ms.
    assert(delayMs < 10_000, `${delayMs} ms`);
    await waitFor(() => sink.messages.length === flood + 1, {
      timeoutMs: 180_000,
      describe: () =>
        `the flood, which comes back from deferred as there is room: ${sink.messages.length} came`,
    });
  });
});
