import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it } from "node:test";

import { SmtpClient, waitFor } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { connectTo, openData } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

const stopping = "421 4.3.2 mail.example.com Service shutting down, closing transmission channel";

describe("shutdown (P10)", () => {
  it("tells idle clients at once, and takes no new ones", async () => {
    const server = await startListener({ intake: new MemoryIntake() });
    using fresh = await connectTo(server.port);
    using amidTransaction = await SmtpClient.open(server.port);
    await amidTransaction.command("MAIL FROM:<a@example.com>");
    const drained = server.listener.drain();
    assert.deepEqual(await fresh.repliesToTheEnd(), [stopping]);
    assert.deepEqual(await amidTransaction.repliesToTheEnd(), [stopping]);
    const refused = await new Promise((resolve) => {
      connect(server.port, "127.0.0.1").on("error", resolve).on("connect", resolve);
    });
    assert.equal((refused as { code?: string } | undefined)?.code, "ECONNREFUSED");
    fresh[Symbol.dispose]();
    amidTransaction[Symbol.dispose]();
    await drained;
  });

  it("lets a message that is on its way come to its end, and answers it", async () => {
    const intake = new MemoryIntake();
    const server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    client.send("Subject: x\r\n\r\nfirst half\r\n");
    await waitFor(() => intake.open.size === 1);
    const drained = server.listener.drain();
    client.send("second half\r\n.\r\n");
    const replies = await client.repliesToTheEnd();
    assert.match(replies[0] ?? "", /^250 2\.0\.0 Ok: queued as /);
    assert.deepEqual(replies.slice(1), [stopping]);
    client[Symbol.dispose]();
    await drained;
    assert.equal(intake.messages.length, 1);
  });

  it("waits for a commit that is under way", async () => {
    const release = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => release.promise });
    const server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    client.send("Subject: x\r\n\r\n.\r\n");
    await waitFor(() => intake.open.size === 1);
    const drained = server.listener.drain();
    release.resolve();
    assert.equal((await client.reply()).code, 250);
    client[Symbol.dispose]();
    await drained;
  });

  it("cuts a client off that dawdles over its message, and keeps nothing of it", async () => {
    const intake = new MemoryIntake();
    const server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    client.send("Subject: x\r\n\r\nhalf");
    await waitFor(() => intake.open.size === 1);
    await server.listener.drain(50);
    assert.deepEqual(await client.repliesToTheEnd(), []);
    assert.equal(intake.messages.length, 0);
    assert.equal(intake.open.size, 0);
  });
});
