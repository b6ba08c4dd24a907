/** P3 with the default times: heartbeats of 10 s, leases of 8 s, and many kills. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";

import { describeRun, runKills } from "../support/kill-rounds.ts";

const seed = Number(process.env["POSTMQ_TEST_SEED"] ?? randomInt(1_000_000));
const turns = 3;

describe(`P3 kill -9 many times, default times (POSTMQ_TEST_SEED=${seed})`, () => {
  it("loses nothing, repeats only what was at dot-sent, and goes on within 30 s", async (context) => {
    const turn = [
      "pickup",
      "smtpd",
      "smtp-delivery",
      "qmgr",
      "cleanup",
      "smtp-delivery",
      "redis",
      "bounce",
      "showq",
      "smtp-delivery",
    ] as const;
    const run = await runKills({
      seed,
      victims: Array.from({ length: turns }, () => turn).flat(),
      more: ["smtp-delivery", "pickup", "smtpd", "cleanup"],
      mostKills: 80,
      dotDelayMs: 1500,
      settleMs: 180_000,
    });
    context.diagnostic(describeRun(run));
    assert.deepEqual(run.problems, []);
  });
});
