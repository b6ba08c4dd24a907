/** P2, P3, P4; faults 1 to 5, 7 and 11: kill -9 of every service and of Redis while mail flows. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { describe, it } from "node:test";

import { describeRun, runKills } from "../support/kill-rounds.ts";

const seed = Number(process.env["POSTMQ_TEST_SEED"] ?? randomInt(1_000_000));

describe(`P3 kill -9 of each service and of Redis in turn (POSTMQ_TEST_SEED=${seed})`, () => {
  it("loses nothing, repeats only what was at dot-sent, and goes on within 30 s", async (context) => {
    const run = await runKills({
      seed,
      victims: [
        "smtp-delivery",
        "pickup",
        "smtpd",
        "qmgr",
        "cleanup",
        "redis",
        "bounce",
        "showq",
        "smtp-delivery",
      ],
      more: ["smtp-delivery", "pickup", "smtpd"],
      mostKills: 24,
      parameters: {
        worker_heartbeat_time: "3s",
        leader_lease_time: "3s",
        sweep_interval: "1s",
      },
      dotDelayMs: 1500,
      settleMs: 60_000,
    });
    context.diagnostic(describeRun(run));
    assert.deepEqual(run.problems, []);
  });
});
