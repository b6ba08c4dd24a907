import assert from "node:assert/strict";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";

import { SmtpClient, waitFor } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { connectTo, openData, say } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

const unknown = ["NONSENSE", "500 5.5.2 Error: command not recognized"] as const;
const tooMany = "421 4.7.0 mail.example.com Error: too many errors";

describe("error and junk limits (spec smtpd.md §2)", () => {
  it("V13 ends the session at smtpd_hard_error_limit", async () => {
    const parameters = { smtpd_hard_error_limit: "3", smtpd_soft_error_limit: "100" };
    await using server = await startListener({ intake: new MemoryIntake(), parameters });
    using client = await connectTo(server.port);
    await say(client, [unknown, ["NOOP", "250 2.0.0 Ok"], unknown, unknown]);
    assert.deepEqual(await client.repliesToTheEnd(), [tooMany]);
  });

  it("V13 delays every reply beyond smtpd_soft_error_limit", async () => {
    const parameters = { smtpd_soft_error_limit: "2", smtpd_error_sleep_time: "1s" };
    await using server = await startListener({ intake: new MemoryIntake(), parameters });
    using client = await connectTo(server.port);
    await say(client, [unknown, unknown]);
    const startMs = performance.now();
    await say(client, [unknown]);
    await say(client, [["NOOP", "250 2.0.0 Ok"]]);
    const spentMs = performance.now() - startMs;
    assert.ok(spentMs > 1900, `two replies came after ${spentMs} ms`);
  });

  it("V13 V14 forget errors and junk once a message is queued", async () => {
    const parameters = {
      smtpd_hard_error_limit: "3",
      smtpd_soft_error_limit: "100",
      smtpd_junk_command_limit: "2",
    };
    await using server = await startListener({ intake: new MemoryIntake(), parameters });
    using client = await connectTo(server.port);
    for (let round = 0; round < 4; round++) {
      await say(client, [unknown, ["NOOP", "250 2.0.0 Ok"], ["NOOP", "250 2.0.0 Ok"], unknown]);
      await openData(client);
      assert.equal((await client.command("Subject: x\r\n\r\n.")).code, 250);
    }
  });

  it("V14 counts junk commands beyond smtpd_junk_command_limit as errors", async () => {
    const parameters = {
      smtpd_hard_error_limit: "2",
      smtpd_soft_error_limit: "100",
      smtpd_junk_command_limit: "3",
    };
    await using server = await startListener({ intake: new MemoryIntake(), parameters });
    using client = await connectTo(server.port);
    const noop = ["NOOP", "250 2.0.0 Ok"] as const;
    await say(client, [
      ["RSET", "250 2.0.0 Ok"],
      noop,
      ["HELO client", "250 mail.example.com"],
      noop,
      noop,
    ]);
    assert.deepEqual(await client.repliesToTheEnd(), [tooMany]);
  });

  it("V16 ends the session of a client that is silent for smtpd_timeout, in DATA too", async () => {
    const intake = new MemoryIntake();
    const parameters = { smtpd_timeout: "3s" };
    await using server = await startListener({ intake, parameters });
    using idle = await connectTo(server.port);
    using dawdling = await SmtpClient.open(server.port);
    await openData(dawdling);
    dawdling.send("Subject: x\r\n\r\nhalf of");
    const timeout = "421 4.4.2 mail.example.com Error: timeout exceeded";
    assert.deepEqual(await idle.repliesToTheEnd(), [timeout]);
    assert.deepEqual(await dawdling.repliesToTheEnd(), [timeout]);
    assert.ok(server.lines.includes("timeout after CONNECT from localhost[127.0.0.1]"));
    assert.ok(server.lines.includes("timeout after DATA (21 bytes) from localhost[127.0.0.1]"));
    assert.equal(intake.open.size, 0, "content was left behind");
  });

  it("V16 does not blame the client while the store makes it wait", async () => {
    const release = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => release.promise });
    await using server = await startListener({ intake, parameters: { smtpd_timeout: "3s" } });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const reply = client.command("Subject: x\r\n\r\n.");
    const timer = setTimeout(() => release.resolve(), 4000);
    assert.equal((await reply).code, 250);
    clearTimeout(timer);
  });

  it("stops taking commands from a client that reads no replies", async () => {
    const parameters = { smtpd_hard_error_limit: "1000000", smtpd_soft_error_limit: "1000000" };
    await using server = await startListener({ intake: new MemoryIntake(), parameters });
    const accepted = Promise.withResolvers<Socket>();
    server.listener.server.once("connection", accepted.resolve);
    const client = connect(server.port, "127.0.0.1");
    const ours = await accepted.promise;
    client.write("EHLO client\r\n");
    await waitFor(() => ours.bytesWritten > 100);
    const option = "X".repeat(200);
    client.write(`MAIL FROM:<a@example.com> ${option}=1\r\n`.repeat(60_000));
    client.end("QUIT\r\n");
    await waitFor(() => ours.writableNeedDrain);
    // Time enough to read all of it, if it did.
    for (let turn = 0; turn < 3000; turn++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    const heldBytes = ours.writableLength;
    assert.ok(heldBytes < 1_000_000, `${heldBytes} bytes of replies wait in memory`);
    let replies = 0;
    for await (const chunk of client) replies += String(chunk).split("\n").length - 1;
    assert.equal(replies, 1 + 7 + 60_000 + 1);
  });
});
