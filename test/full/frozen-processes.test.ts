/** Faults 6 and 9: processes that freeze past their lease or heartbeat, and wake up when others have taken over. */
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
import { leaderOf } from "../support/leader.ts";
import { probeRequests } from "../support/redis-probe.ts";

const quick = {
  minimal_backoff_time: "1s",
  queue_run_delay: "1s",
  sweep_interval: "1s",
};

async function send(system: PostmqSystem, ledger: Ledger, count: number): Promise<void> {
  const mails = Array.from({ length: count }, () => testMail());
  await Promise.all(
    mails.map(async (mail) => {
      const reply = await sendMail(system.smtpPort, mail);
      assert.equal(reply.code, 250, reply.text);
      ledger.accept(mail.id, mail.to[0] ?? "");
    }),
  );
}

describe("fault 6: two qmgrs", () => {
  it("P6 a leader frozen past its lease is followed by the other, and schedules nothing when it wakes", async () => {
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => (stage === "dot" ? { delayMs: 50 } : undefined),
    });
    await using system = await startPostmq({
      scale: { qmgr: 2 },
      parameters: { ...quick, relayhost: sink.relayhost, leader_lease_time: "2s" },
    });
    const ledger = new Ledger();
    const refresh = ledgerReader(ledger, sink);
    const fences = new Set([await system.redis.cli("GET", "postmq:{default}:fence")]);
    // One of the two leads: whichever is frozen first, both are once.
    for (const frozen of [0, 1, 0]) {
      await send(system, ledger, 60);
      system.service("qmgr", frozen).freeze();
      await send(system, ledger, 60);
      await ledger.settle({ refresh, describe: () => system.lastLines() });
      fences.add(await system.redis.cli("GET", "postmq:{default}:fence"));
      await send(system, ledger, 60);
      system.service("qmgr", frozen).thaw();
    }
    const report = await settleAccount({ ledger, sink, system, refresh });
    assert.equal(report.accepted, 540);
    assert.deepEqual([...report.duplicates], []);
    assert.deepEqual(report.unknown, []);
    assert.ok(fences.size >= 3, "a frozen leader kept its lease");
    assert.deepEqual(await system.stop(), []);
  });

  it("lets a stand-by take over at once when the leader is told to stop", async () => {
    await using sink = await FakeSmtpServer.start();
    await using system = await startPostmq({
      scale: { qmgr: 2 },
      // Longer than anybody waits here.
      parameters: { ...quick, relayhost: sink.relayhost, leader_lease_time: "300s" },
    });
    const ledger = new Ledger();
    await system.service("qmgr", await leaderOf(system)).terminate();
    await send(system, ledger, 5);
    await ledger.settle({
      refresh: ledgerReader(ledger, sink),
      describe: () => system.lastLines(),
    });
  });
});

describe("fault 9: a frozen worker", () => {
  it("drops what it holds without the dot when it wakes, since others have sent it", async () => {
    let isSlow = true;
    await using sink = await FakeSmtpServer.start({
      decide: ({ stage }) => {
        if (!isSlow) return undefined;
        // Half of the wait lies before the dot-sent mark, half after it.
        if (stage === "data" || stage === "dot") return { delayMs: 400 };
        return undefined;
      },
    });
    await using system = await startPostmq({
      scale: { "smtp-delivery": 2 },
      parameters: {
        ...quick,
        relayhost: sink.relayhost,
        worker_heartbeat_time: "5s",
        default_destination_concurrency_limit: "40",
      },
    });
    const ledger = new Ledger();
    const refresh = ledgerReader(ledger, sink);
    await send(system, ledger, 200);
    const frozen = system.service("smtp-delivery", 0);
    const afterDot = await waitFor(
      async () => {
        frozen.freeze();
        const held = (await probeRequests(system.redis)).filter(({ worker }) =>
          worker.includes(String(frozen.pid)),
        );
        const sent = held.filter(({ state }) => state === "dotSent");
        if (sent.length > 0 && sent.length < held.length) {
          return new Set(sent.flatMap(({ recipients }) => recipients));
        }
        frozen.thaw();
        return undefined;
      },
      { everyMs: 50, describe: "requests on both sides of the dot" },
    );
    isSlow = false;
    await ledger.settle({ refresh, describe: () => system.lastLines() });
    frozen.thaw();
    await send(system, ledger, 20);
    const report = await settleAccount({ ledger, sink, system, refresh });
    assert.deepEqual(report.brokenInvariants, []);
    assert.deepEqual(await system.stop(), []);
    const copied = [...report.duplicates.keys()].map((entry) => entry.split(" ")[1] ?? "");
    assert.deepEqual(
      copied.filter((recipient) => !afterDot.has(recipient)),
      [],
      "a message was sent twice though its dot was not sent when the worker froze",
    );
    for (const [entry, copies] of report.duplicates) assert.equal(copies, 1, entry);
  });
});
