/** P7 over several delivery processes: a server counts what is open there, idle connections too. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  FakeSmtpServer,
  Ledger,
  ledgerReader,
  sendMail,
  startPostmq,
  testMail,
  waitFor,
} from "@postmq/testing";
import type { PostmqSystem } from "@postmq/testing";

import { settleAccount } from "../support/account.ts";

const limit = 7;
const workers = 4;
const parameters = {
  default_destination_concurrency_limit: String(limit),
  initial_destination_concurrency: String(limit),
  minimal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
};

/** Slow enough that every worker wants more connections than it may have. */
const slow = (dotDelayMs = 30) =>
  FakeSmtpServer.start({
    decide: ({ stage }) => (stage === "dot" ? { delayMs: dotDelayMs } : undefined),
    keepsContent: true,
  });

async function send(system: PostmqSystem, ledger: Ledger, count: number): Promise<void> {
  const sessions = 8;
  const some = async () => {
    for (let left = count / sessions; left > 0; left -= 1) {
      const mail = testMail();
      const reply = await sendMail(system.smtpPort, mail);
      assert.equal(reply.code, 250, reply.text);
      ledger.accept(mail.id, mail.to[0] ?? "");
    }
  };
  await Promise.all(Array.from({ length: sessions }, some));
}

function describeConnections(sink: FakeSmtpServer, system: PostmqSystem, messages: number): string {
  const first = sink.messages[0]?.receivedMs ?? 0;
  const last = sink.messages.at(-1)?.receivedMs ?? 0;
  const putBack = system.logs.split("came free: put back").length - 1;
  return (
    `at most ${sink.mostConnections} of ${limit} open at once, ${sink.totalConnections} in all for ` +
    `${messages} messages in ${last - first} ms; ${putBack} put back for want of a place`
  );
}

describe("P7: a destination's connections over four delivery processes", () => {
  it("are never more than its limit, idle ones included, and all mail arrives", async (context) => {
    await using sink = await slow();
    await using system = await startPostmq({
      scale: { "smtp-delivery": workers },
      parameters: { ...parameters, relayhost: sink.relayhost },
    });
    const ledger = new Ledger();
    await send(system, ledger, 800);
    const report = await settleAccount({ ledger, sink, system });
    context.diagnostic(describeConnections(sink, system, 800));
    assert.deepEqual(report.brokenInvariants, []);
    assert.deepEqual([...report.duplicates], []);
    assert.ok(sink.mostConnections <= limit, `${sink.mostConnections} were open at once`);
    assert.equal(sink.mostConnections, limit);
    assert.deepEqual(await system.stop(), []);
  });

  it("are never more when workers are killed, or told to stop, and mail goes on", async (context) => {
    // So slow that mail waits for it, however slowly it comes in.
    await using sink = await slow(150);
    await using system = await startPostmq({
      scale: { "smtp-delivery": workers },
      parameters: { ...parameters, relayhost: sink.relayhost, worker_heartbeat_time: "5s" },
    });
    const ledger = new Ledger();
    const refresh = ledgerReader(ledger, sink);
    for (const victim of [0, 1, 2]) {
      const sent = send(system, ledger, 200);
      await waitFor(() => sink.openConnections > 2, {
        describe: () => `deliveries\n${system.lastLines()}`,
      });
      const before = sink.messages.length;
      const process = system.service("smtp-delivery", victim);
      if (victim === 2) await process.terminate();
      else await process.kill9();
      await sent;
      // All of it, should so much have arrived before.
      const enough = Math.min(before + 50, ledger.accepted);
      await waitFor(() => sink.messages.length >= enough, {
        describe: () => `mail to go on\n${system.lastLines()}`,
      });
      system.respawn("smtp-delivery", victim);
      await system.ready();
    }
    const report = await settleAccount({ ledger, sink, system, refresh });
    context.diagnostic(describeConnections(sink, system, 600));
    assert.deepEqual(report.brokenInvariants, []);
    assert.deepEqual(report.unknown, []);
    assert.ok(sink.mostConnections <= limit, `${sink.mostConnections} were open at once`);
    assert.deepEqual(await system.stop(), []);
  });
});
