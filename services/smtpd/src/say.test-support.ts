/** Plays one side of a conversation and compares what the server answers. */
import assert from "node:assert/strict";

import { SmtpClient } from "@postmq/testing";

/** Connects and reads the greeting; no EHLO. */
export async function connectTo(port: number): Promise<SmtpClient> {
  const client = await SmtpClient.connect(port);
  const greeting = await client.reply();
  assert.equal(greeting.code, 220);
  return client;
}

/** Sends each line and compares its whole reply. */
export async function say(
  client: SmtpClient,
  conversation: readonly (readonly [line: string, reply: string])[],
): Promise<void> {
  for (const [line, reply] of conversation) {
    assert.equal((await client.command(line)).text, reply, line);
  }
}

/** A mail transaction up to and including DATA. */
export async function openData(client: SmtpClient, recipient = "b@example.net"): Promise<void> {
  await say(client, [
    ["MAIL FROM:<a@example.com>", "250 2.1.0 Ok"],
    [`RCPT TO:<${recipient}>`, "250 2.1.5 Ok"],
    ["DATA", "354 End data with <CR><LF>.<CR><LF>"],
  ]);
}
