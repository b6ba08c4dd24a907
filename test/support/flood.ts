/**
 * Many small messages at once, and how often each arrived: accounted for by recipient, since contents of tens of
 * thousands would be kept for nothing. Every recipient must be an address of its own.
 */
import assert from "node:assert/strict";

import { SmtpClient } from "@postmq/testing";
import type { FakeSmtpServer } from "@postmq/testing";

const content = "Subject: flood\r\n\r\nOne line of text.\r\n";

/** u1@domain, u2@domain, … */
export function addressesAt(domain: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `u${index + 1}@${domain}`);
}

/** One message for each recipient, over some kept sessions. @throws AssertionError when one is refused. */
export async function flood(
  smtpPort: number,
  recipients: readonly string[],
  sessions = 8,
): Promise<void> {
  const rest = recipients.values();
  const send = async () => {
    using client = await SmtpClient.open(smtpPort);
    // The sessions share one iterator: whoever is free takes the next.
    for (const recipient of rest) {
      const reply = await client.deliver({
        from: "sender@src.example.com",
        to: [recipient],
        content,
      });
      assert.equal(reply.code, 250, reply.text);
    }
    client.send("QUIT\r\n");
  };
  await Promise.all(Array.from({ length: sessions }, send));
}

/** Copies of each recipient's message that the servers answered with 2xx. */
export function countCopies(servers: readonly FakeSmtpServer[]): ReadonlyMap<string, number> {
  const copies = new Map<string, number>();
  for (const server of servers) {
    for (const { reply, recipients } of server.messages) {
      if (!reply.startsWith("2")) continue;
      for (const recipient of recipients) copies.set(recipient, (copies.get(recipient) ?? 0) + 1);
    }
  }
  return copies;
}

/** Asserts that each recipient got its message once. */
export function assertEachOnce(
  recipients: readonly string[],
  copies: ReadonlyMap<string, number>,
): void {
  const lost = recipients.filter((recipient) => !copies.has(recipient));
  const repeated = recipients.filter((recipient) => (copies.get(recipient) ?? 0) > 1);
  assert.deepEqual({ lost: lost.slice(0, 5), of: lost.length }, { lost: [], of: 0 });
  assert.deepEqual(
    { repeated: repeated.slice(0, 5), of: repeated.length },
    { repeated: [], of: 0 },
  );
}
