import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SmtpClient, waitFor } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { openData } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

/** Sends a whole message but for the reply to its dot. */
async function sendMessage(client: SmtpClient): Promise<void> {
  await openData(client);
  client.send("Subject: x\r\n\r\nx\r\n.\r\n");
}

describe("smtpd while the scheduler is behind with new mail", () => {
  it("S33 waits in_flow_delay with each message, and then takes it", async () => {
    const intake = new MemoryIntake({ flowIsDry: () => true });
    await using server = await startListener({ intake, parameters: { in_flow_delay: "1s" } });
    using one = await SmtpClient.open(server.port);
    using other = await SmtpClient.open(server.port);
    const startMs = performance.now();
    await Promise.all([one, other].map(sendMessage));
    const replies = await Promise.all([one.reply(), other.reply()]);
    assert.deepEqual(
      replies.map(({ code }) => code),
      [250, 250],
    );
    assert.ok(performance.now() - startMs >= 990);
  });

  it("S33 holds no other session up, nor a message that is refused", async () => {
    const intake = new MemoryIntake({ flowIsDry: () => true });
    const parameters = { in_flow_delay: "10s", hopcount_limit: "3" };
    await using server = await startListener({ intake, parameters });
    using waiting = await SmtpClient.open(server.port);
    using other = await SmtpClient.open(server.port);
    await sendMessage(waiting);
    await openData(other);
    const refused = await other.command(`${"Received: x\r\n".repeat(4)}\r\n.`);
    assert.equal(refused.text, "554 5.4.0 Error: too many hops");
    assert.equal(intake.messages.length, 0);
  });

  it("S33 ends the wait at once when it shuts down, and takes the message", async () => {
    let asked = 0;
    const intake = new MemoryIntake({ flowIsDry: () => ++asked > 0 });
    const server = await startListener({ intake, parameters: { in_flow_delay: "10s" } });
    using client = await SmtpClient.open(server.port);
    const startMs = performance.now();
    await sendMessage(client);
    await waitFor(() => asked > 0);
    const drained = server.listener.drain();
    assert.match((await client.repliesToTheEnd())[0] ?? "", /^250 /);
    client[Symbol.dispose]();
    await drained;
    assert.ok(performance.now() - startMs < 9000);
    assert.equal(intake.messages.length, 1);
  });
});
