import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { describe, it } from "node:test";

import { SmtpClient, waitFor } from "@postmq/testing";
import { PostmqError } from "@postmq/vocabulary";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import type { MemoryIntakeHooks } from "./memory-intake.test-support.ts";
import { openData, say } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";
import type { RunningListener } from "./start-listener.test-support.ts";

const full = "452 4.3.1 Insufficient system storage";
const trouble = "451 4.3.0 Error: queue file write error";
const body = "Subject: x\r\n\r\nbody\r\n.";

describe("while the store takes no mail (faults.md 11, 17, 22; P9)", () => {
  it("refuses MAIL: 452 when it is full, 451 when it is away or another", async () => {
    const hooks: MemoryIntakeHooks = {};
    await using server = await startListener({ intake: new MemoryIntake(hooks) });
    using client = await SmtpClient.open(server.port);
    hooks.refusal = () => "full";
    await say(client, [["MAIL FROM:<a@example.com>", full]]);
    hooks.refusal = () => "unreachable";
    await say(client, [["MAIL FROM:<a@example.com>", trouble]]);
    hooks.refusal = () => "identity";
    await say(client, [["MAIL FROM:<a@example.com>", trouble]]);
    hooks.refusal = () => undefined;
    await say(client, [["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"]]);
  });

  it("refuses DATA when the trouble began after MAIL", async () => {
    const hooks: MemoryIntakeHooks = {};
    await using server = await startListener({ intake: new MemoryIntake(hooks) });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
    ]);
    hooks.refusal = () => "full";
    await say(client, [["DATA", full]]);
  });

  it("refuses a message in the middle of DATA at its next chunk, after reading it to the end", async () => {
    const hooks: MemoryIntakeHooks = {};
    const intake = new MemoryIntake(hooks);
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    client.send("Subject: x\r\n\r\nfirst half\r\n");
    await waitFor(() => intake.open.size === 1);
    hooks.refusal = () => "full";
    client.send(`${"second half\r\n".repeat(10_000)}.\r\n`);
    assert.equal((await client.reply()).text, full);
    assert.equal(intake.messages.length, 0);
    assert.equal(intake.open.size, 0, "content was left behind");
    hooks.refusal = () => undefined;
    await openData(client);
    assert.equal((await client.command(body)).code, 250);
  });
});

describe("a commit that fails (faults.md 2, 11, 19)", () => {
  const failing = (code: "PMQ_STORE_FULL" | "PMQ_STORE_NO_REPLY" | "PMQ_STORE_UNREACHABLE") =>
    new MemoryIntake({
      beforeCommit: async () => {
        throw new PostmqError(code, "as the test wants it");
      },
    });

  const replyOf = async (intake: MemoryIntake) => {
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const reply = await client.command(body);
    return { text: reply.text, lines: server.lines };
  };

  it("is answered 452 when the store is full", async () => {
    assert.equal((await replyOf(failing("PMQ_STORE_FULL"))).text, full);
  });

  it("is answered 451 when Redis is away, or gave no answer", async () => {
    assert.equal((await replyOf(failing("PMQ_STORE_UNREACHABLE"))).text, trouble);
    const silent = await replyOf(failing("PMQ_STORE_NO_REPLY"));
    assert.equal(silent.text, trouble);
    assert.ok(
      silent.lines.some((line) =>
        /^\w+: warning: message not queued: PMQ_STORE_NO_REPLY: as the test wants it$/.test(line),
      ),
    );
    assert.ok(
      silent.lines.some((line) => /^\w+: reject: END-OF-MESSAGE from localhost/.test(line)),
    );
    assert.ok(!silent.lines.some((line) => line.includes("client=")));
  });

  it("is answered 451 when it takes too long; the session goes on", async () => {
    const stuck = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => stuck.promise });
    await using server = await startListener({ intake, commitLimitMs: 200 });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    assert.equal((await client.command(body)).text, trouble);
    stuck.resolve();
    await openData(client);
    assert.equal((await client.command(body)).code, 250);
  });

  it("is not answered 250 before it is done", async () => {
    const release = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => release.promise });
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const reply = client.command(body);
    const first = await Promise.race([reply, waitFor(() => intake.open.size === 1)]);
    assert.equal(first, true);
    release.resolve();
    assert.equal((await reply).code, 250);
  });

  it("makes content that can't be stored ahead end in a refusal", async () => {
    const intake = new MemoryIntake({
      write: (bytes) =>
        bytes.length > 1000
          ? Promise.reject(new PostmqError("PMQ_STORE_FULL", "no room"))
          : undefined,
    });
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    const reply = await client.command(`Subject: x\r\n\r\n${"x".repeat(100_000)}\r\n.`);
    assert.equal(reply.text, full);
    assert.equal(intake.open.size, 0);
  });

  it("waits for the store while content is stored ahead, chunk by chunk", async () => {
    let waiting = 0;
    let most = 0;
    const intake = new MemoryIntake({
      write: async () => {
        most = Math.max(most, ++waiting);
        await new Promise<void>((resolve) => setImmediate(resolve));
        waiting--;
      },
    });
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    const content = `Subject: x\r\n\r\n${`${"x".repeat(998)}\r\n`.repeat(2000)}`;
    const reply = await client.deliver({ from: "a@example.com", to: ["b@example.net"], content });
    assert.equal(reply.code, 250);
    assert.equal(most, 1);
    assert.ok(intake.messages[0]?.text.endsWith(content.slice(-1_000_000)));
  });
});

describe("a client that goes away (V7; faults.md 1)", () => {
  it("V7 in DATA leaves nothing, and is logged with the bytes that came", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await openData(client);
    client.send("Subject: x\r\n\r\nhalf a message");
    await waitFor(() => intake.open.size === 1);
    client[Symbol.dispose]();
    await waitFor(() => server.lines.some((line) => line.startsWith("disconnect")));
    assert.ok(
      server.lines.some((line) =>
        /^lost connection after DATA \(\d+ bytes\) from localhost\[127\.0\.0\.1\]$/.test(line),
      ),
      server.lines.join("\n"),
    );
    assert.equal(intake.messages.length, 0);
    assert.equal(intake.open.size, 0);
  });

  it("after the dot does not stop the message", async () => {
    const release = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => release.promise });
    await using server = await startListener({ intake });
    const { client } = await sendWholeMessage(server);
    client.resetAndDestroy();
    await waitFor(() => server.lines.some((line) => line.startsWith("disconnect")));
    assert.ok(
      server.lines.includes("lost connection after END-OF-MESSAGE from localhost[127.0.0.1]"),
    );
    release.resolve();
    await waitFor(() => intake.messages.length === 1);
  });

  it("gets its replies when it has only shut down its own side", async () => {
    const release = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => release.promise });
    await using server = await startListener({ intake });
    const { client, ours, heard } = await sendWholeMessage(server);
    client.end("QUIT\r\n");
    await waitFor(() => ours.readableEnded);
    release.resolve();
    await once(client, "close");
    assert.match(heard(), /250 2\.0\.0 Ok: queued as \w+\r\n221 2\.0\.0 Bye\r\n$/);
  });

  it("V30 is cut off when it sends on behind a command that wants its reply, while it waits", async () => {
    const release = Promise.withResolvers<void>();
    const intake = new MemoryIntake({ beforeCommit: () => release.promise });
    await using server = await startListener({ intake });
    const { client, ours, heard } = await sendWholeMessage(server);
    for (let sent = 0; sent < 2; sent++) {
      const before = ours.bytesRead;
      client.write("NOOP\r\n");
      await waitFor(() => ours.bytesRead > before);
    }
    release.resolve();
    await once(client, "close");
    assert.match(heard(), /queued as \w+\r\n554 5\.5\.0 Error: SMTP protocol synchronization\r\n$/);
  });
});

type Wire = {
  readonly client: Socket;
  /** The server's end. */
  readonly ours: Socket;
  /** All that the server said. */
  readonly heard: () => string;
};

/** Sends a message up to its dot, and does not wait for the last reply. */
async function sendWholeMessage(server: RunningListener): Promise<Wire> {
  const accepted = Promise.withResolvers<Socket>();
  server.listener.server.once("connection", accepted.resolve);
  const client = connect(server.port, "127.0.0.1");
  let heard = "";
  client.setEncoding("latin1").on("data", (text: string) => {
    heard += text;
  });
  for (const [command, code] of [
    ["EHLO client", "220"],
    ["MAIL FROM:<a@example.com>", "250 DSN"],
    ["RCPT TO:<b@example.net>", "250 2.1.0"],
    ["DATA", "250 2.1.5"],
    [body, "354"],
  ] as const) {
    await waitFor(() => heard.includes(code));
    client.write(`${command}\r\n`);
  }
  const ours = await accepted.promise;
  const expectedBytes = client.bytesWritten;
  await waitFor(() => ours.bytesRead >= expectedBytes);
  return { client, ours, heard: () => heard };
}
