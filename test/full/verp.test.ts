/**
 * A list's mail with VERP to many who are all refused, or busy until it expires, while the process that reports is killed: a
 * report for each, to the sender that names it, and none twice.
 *
 * Source: spec D33, Q6; VERP_README.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TestContext } from "node:test";

import { FakeSmtpServer, findBrokenInvariants, startPostmq, waitFor } from "@postmq/testing";

import { waitUntilDrained } from "../support/redis-probe.ts";

const recipients = Array.from({ length: 900 }, (_, n) => `nobody${n}@dest.example.com`);
const kills = 2;

const ends = [
  { what: "are refused", reply: "550 5.1.1 unknown here", lifetime: "5d" },
  { what: "are busy until it expires", reply: "450 4.2.0 busy", lifetime: "1s" },
] as const;

describe("mail with VERP", () => {
  for (const { what, reply, lifetime } of ends) {
    it(`D33 Q6 has a report for each of many who ${what}, though the reporter is killed`, (context) =>
      reportAll(context, reply, lifetime));
  }
});

async function reportAll(context: TestContext, reply: string, lifetime: string): Promise<void> {
  await using sink = await FakeSmtpServer.start({
    decide: ({ stage, recipient }) =>
      stage === "rcpt" && recipient.startsWith("nobody") ? { reply } : undefined,
  });
  await using system = await startPostmq({
    parameters: {
      relayhost: sink.relayhost,
      maximal_queue_lifetime: lifetime,
      worker_heartbeat_time: "3s",
      sweep_interval: "1s",
      // The rest of the reports, after a kill, may come in another run of the queue (Q6).
      minimal_backoff_time: "1s",
      maximal_backoff_time: "1s",
      queue_run_delay: "1s",
    },
  });
  const args = ["-XV-=", "-f", "list@src.example.com", ...recipients];
  // Reports as large as they get take the reporter longest.
  const input = `Subject: to all\n\n${`${"x".repeat(70)}\n`.repeat(600)}`;
  const { code, stderr } = await system.command("sendmail", args, { input });
  assert.equal(code, 0, stderr);
  const reported: number[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    const before = sink.messages.length;
    const isAll = () => sink.messages.length === recipients.length;
    await waitFor(() => sink.messages.length > before || isAll(), {
      everyMs: 5,
      describe: () => `a report\n${system.lastLines()}`,
    });
    await system.service("bounce").kill9();
    reported.push(sink.messages.length);
    await system.restart("bounce");
  }
  await waitUntilDrained(system.redis, 300_000);
  context.diagnostic(`killed after ${reported.join(" and ")} reports`);
  assert((reported[0] ?? 0) < recipients.length, "it was killed too late");
  assert.deepEqual(
    sink.messages.map((message) => message.recipients.join()).toSorted(),
    recipients.map((each) => `list-${each.replace("@", "=")}@src.example.com`).toSorted(),
  );
  assert(sink.messages.every(({ sender }) => sender === ""));
  assert.deepEqual(await findBrokenInvariants(system.redis), []);
}
