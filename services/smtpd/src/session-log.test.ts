import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SmtpClient, waitFor } from "@postmq/testing";

import { MemoryIntake } from "./memory-intake.test-support.ts";
import { connectTo, openData, say } from "./say.test-support.ts";
import { startListener } from "./start-listener.test-support.ts";

describe("log lines (V12)", () => {
  it("tell of the session, its messages and what its commands came to", async () => {
    const intake = new MemoryIntake();
    await using server = await startListener({ intake });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
      ["RCPT TO:<b@@example.net>", "501 5.1.3 Bad recipient address syntax"],
      ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    await client.command("Message-ID: <1@example.com>\r\n\r\n.");
    await openData(client);
    await client.command("Subject: no id\r\n\r\n.");
    await say(client, [["NONSENSE", "500 5.5.2 Error: command not recognized"]]);
    client.send("QUIT\r\n");
    await client.repliesToTheEnd();
    await waitFor(() => server.lines.some((line) => line.startsWith("disconnect")));
    const [first, second] = intake.messages;
    assert.deepEqual(server.lines, [
      "connect from localhost[127.0.0.1]",
      `${first?.id}: client=localhost[127.0.0.1]`,
      `${first?.id}: message-id=<1@example.com>`,
      `${second?.id}: client=localhost[127.0.0.1]`,
      `${second?.id}: message-id=<>`,
      "disconnect from localhost[127.0.0.1] ehlo=1 mail=2 rcpt=2/3 data=2 quit=1 unknown=0/1 commands=8/10",
    ]);
  });

  it("tell after which command a client went away", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    await say(client, [["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"]]);
    client[Symbol.dispose]();
    await waitFor(() => server.lines.some((line) => line.startsWith("disconnect")));
    assert.deepEqual(server.lines.slice(1), [
      "lost connection after MAIL from localhost[127.0.0.1]",
      "disconnect from localhost[127.0.0.1] ehlo=1 mail=1 commands=2",
    ]);
  });
});

describe("what a client says (security.md 3, 14)", () => {
  it("never reaches a reply, the log or the envelope as a control character", async () => {
    const intake = new MemoryIntake();
    const parameters = { smtpd_hard_error_limit: "1000", smtpd_soft_error_limit: "1000" };
    await using server = await startListener({ intake, parameters });
    using client = await connectTo(server.port);
    const hostile = "\u0000\u001B[31m\rx\u007F\u0085";
    const replies = [];
    for (const line of [`HELO c${hostile}`, hostile.slice(1)]) {
      client.send(`${line}\r\n`);
      replies.push(
        ...(line.startsWith("HELO")
          ? [(await client.reply()).text]
          : await client.repliesToTheEnd()),
      );
    }
    using second = await SmtpClient.open(server.port, `h${hostile}`);
    for (const line of [
      `MAIL FROM:<a${hostile}@example.com>`,
      `MAIL FROM:<a@example.com> ${hostile}=1`,
      `MAIL FROM:<a@example.com> ENVID=a${hostile}`,
      "MAIL FROM:<a@example.com>",
      `RCPT TO:<b@example.net${hostile}>`,
      `RCPT TO:<b@example.net> ORCPT=rfc822;${hostile}`,
      `X${hostile}`,
    ]) {
      replies.push((await second.command(line)).text);
    }
    await say(second, [
      ["RCPT TO:<b@example.net>", "250 2.1.5 Ok"],
      ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
    ]);
    await second.command("\r\n.");
    const control = /\p{Cc}/u;
    for (const reply of replies) assert.doesNotMatch(reply, control);
    for (const line of server.lines) assert.doesNotMatch(line, control);
    assert.doesNotMatch(JSON.stringify(intake.messages[0]?.envelope), /\\u00|\\r|\\n/);
  });

  it("is not logged when it may be a secret: AUTH lines", async () => {
    await using server = await startListener({ intake: new MemoryIntake() });
    using client = await SmtpClient.open(server.port);
    await say(client, [
      // Not offered, so refused; a client may send its secret all the same, and it must not be logged.
      ["AUTH PLAIN AGNhbmFyeQBjYW5hcnk=", "503 5.5.1 Error: authentication not enabled"],
    ]);
    client.send("QUIT\r\n");
    await client.repliesToTheEnd();
    await waitFor(() => server.lines.some((line) => line.startsWith("disconnect")));
    assert.doesNotMatch(server.lines.join("\n"), /AGNhbmFyeQ/);
  });
});
