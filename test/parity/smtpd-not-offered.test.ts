/** What smtpd answers to commands of extensions that it does not offer, beside Postfix with those turned off. */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";

import { ConnectionEnded, PrivatePostfix, SmtpClient, startPostmq } from "@postmq/testing";

/** Each on a connection of its own; what follows in the same write tells whether the session goes on. */
const commands = [
  "STARTTLS",
  "AUTH PLAIN",
  "BDAT 6 LAST",
  "XCLIENT NAME=a.example.com",
  "XFORWARD NAME=a.example.com",
  "EXPN list",
  "HELP",
  "TURN",
];

/** The replies to EHLO, that command, and QUIT if it comes to that. */
async function repliesTo(port: number, command: string): Promise<readonly string[]> {
  using client = await SmtpClient.connect(port);
  await client.reply();
  await client.command("EHLO client.example.com");
  client.send(`${command}\r\nQUIT\r\n`);
  const replies: string[] = [];
  try {
    for (;;) replies.push((await client.reply()).text);
  } catch (error) {
    if (!(error instanceof ConnectionEnded)) throw error;
  }
  return replies;
}

describe("smtpd beside Postfix's", () => {
  it("refuses what it does not offer with the same words", async () => {
    const root = await mkdtemp("/var/tmp/postmq-not-offered-");
    await chmod(root, 0o755);
    try {
      await using postfix = await PrivatePostfix.start(join(root, "postfix"), 1, {
        smtpd_discard_ehlo_keywords: "chunking",
        smtpd_forbid_unauth_pipelining: "no",
      });
      await using system = await startPostmq({
        parameters: { smtpd_forbid_unauth_pipelining: "no" },
      });
      for (const command of commands) {
        const theirs = await repliesTo(postfix.port, command);
        assert.deepEqual(await repliesTo(system.smtpPort, command), theirs, command);
      }
      assert.deepEqual(await system.stop(), []);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});
