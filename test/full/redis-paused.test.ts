/** P4; fault 19: Redis stands still for longer than leases and heartbeats last. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  Ledger,
  MailFlow,
  seededRandom,
  sendMail,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";

import { assertTemporary, settleAccount } from "../support/account.ts";

describe("fault 19: Redis is paused for 10 s", () => {
  it("repeats nothing, and intake answers within 20 s", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 200 } : undefined),
    });
    await using system = await startPostmq({
      parameters: {
        relayhost: sink.relayhost,
        minimal_backoff_time: "1s",
        queue_run_delay: "1s",
        sweep_interval: "1s",
      },
    });
    const ledger = new Ledger();
    const flow = new MailFlow({
      ledger,
      random: seededRandom(19),
      smtpPort: system.smtpPort,
      submissionUrl: system.submissionUrl,
      sessions: 2,
    });
    await waitFor(() => sink.accepted.length > 20);
    await system.redis.cli("CLIENT", "PAUSE", "10000", "ALL");
    const startMs = performance.now();
    const reply = await sendMail(system.smtpPort, testMail({ to: ["paused@dest.example.com"] }));
    assert.ok(performance.now() - startMs < 20_000);
    assert.ok(reply.code === 250 || (reply.code >= 400 && reply.code < 500), reply.text);
    await waitFor(() => performance.now() - startMs > 11_000);
    const before = sink.accepted.length;
    await waitFor(() => sink.accepted.length > before + 20);
    await flow.stop();
    const report = await settleAccount({ ledger, sink, system });
    assertTemporary(flow.refusals);
    assert.deepEqual([...report.duplicates], []);
  });
});
