/** Fault 8: every service is stopped by SIGTERM and started again in turn, round after round, while mail flows. */
import assert from "node:assert/strict";

import {
  FakeSmtpServer,
  Ledger,
  MailFlow,
  seededRandom,
  startPostmq,
  waitFor,
} from "@postmq/testing";
import { serviceNames } from "@postmq/vocabulary";
import type { ServiceName } from "@postmq/vocabulary";

import { settleAccount } from "./account.ts";

/** @throws AssertionError when anything is lost or repeated, or a service does not exit 0. */
export async function restartInTurn(rounds: number): Promise<void> {
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
    mayGoOn: () => ledger.accepted - sink.messages.length < 200,
  });
  const copies: readonly { readonly name: ServiceName; readonly index: number }[] = [
    ...serviceNames.map((name) => ({ name, index: 0 })),
    { name: "qmgr", index: 1 },
    { name: "smtp-delivery", index: 1 },
  ];
  for (const { name, index } of Array.from({ length: rounds }, () => copies).flat()) {
    const before = sink.accepted.length;
    await waitFor(() => sink.accepted.length > before + 10, {
      describe: () => `mail to flow before ${name} stops\n${system.lastLines()}`,
    });
    const service = system.service(name, index);
    assert.deepEqual(await service.terminate(), { code: 0, signal: null }, service.log);
    await system.restart(name, index);
  }
  await flow.stop();
  const report = await settleAccount({ ledger, sink, system });
  assert.deepEqual([...report.duplicates], []);
  assert.deepEqual(report.contradictions, []);
  assert.deepEqual(report.unknown, []);
  assert.ok(report.bounced > 0);
  assert.deepEqual(report.brokenInvariants, []);
  assert.deepEqual(await system.stop(), []);
}
