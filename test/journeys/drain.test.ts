/** P10, fault 8: SIGTERM drains. Each service is stopped and started again in turn while mail flows. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  Ledger,
  ledgerReader,
  MailFlow,
  seededRandom,
  serviceNames,
  startPostmq,
  waitFor,
} from "@postmq/testing";

import { findBrokenInvariants } from "../support/redis-probe.ts";

describe("P10 a rolling restart under load", () => {
  it("loses nothing, repeats nothing, and every service exits 0", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage, recipient }) => {
        if (stage === "rcpt" && recipient.startsWith("nobody")) return { reply: "550 5.1.1 no" };
        return stage === "dot" ? { delayMs: 200 } : undefined;
      },
    });
    await using system = await startPostmq({
      scale: { "smtp-delivery": 2, qmgr: 2 },
      parameters: { relayhost: sink.relayhost, sweep_interval: "1s" },
    });
    const ledger = new Ledger();
    const flow = new MailFlow({
      ledger,
      random: seededRandom(10),
      smtpPort: system.smtpPort,
      submissionUrl: system.submissionUrl,
      sessions: 3,
      refusedShare: 0.05,
    });
    for (const name of serviceNames) {
      const copies = name === "smtp-delivery" || name === "qmgr" ? 2 : 1;
      for (let index = 0; index < copies; index += 1) {
        const before = sink.accepted.length;
        await waitFor(() => sink.accepted.length > before + 10, {
          timeoutMs: 20_000,
          describe: () => `mail to flow before ${name} stops\n${system.logs.slice(-4000)}`,
        });
        const exit = await system.service(name, index).terminate();
        assert.deepEqual(exit, { code: 0, signal: null }, system.service(name, index).log);
        await system.restart(name, index);
      }
    }
    await flow.stop();
    const report = await ledger.settle({ timeoutMs: 30_000, refresh: ledgerReader(ledger, sink) });
    assert.deepEqual([...report.duplicates], []);
    assert.deepEqual(report.contradictions, []);
    assert.deepEqual(report.unknown, []);
    assert.ok(report.bounced > 0);
    assert.deepEqual(await findBrokenInvariants(system.redis), []);
    assert.deepEqual(await system.stop(), []);
  });
});
