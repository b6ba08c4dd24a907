import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createMetrics } from "@postmq/observability";
import { withStore } from "@postmq/testing";
import { enhancedStatus } from "@postmq/vocabulary";

import { declareDestinationMetrics } from "./destination-metrics.ts";
import { destination, openLeader } from "./looking-on.test-support.ts";

describe("the metrics of destinations", () => {
  it("show slots of the 20 busiest, and the dead, however many there are", () =>
    withStore(async ({ store }) => {
      const { publish } = await openLeader(store);
      const untilMs = Date.now() + 60_000;
      const dead = { sinceMs: 1, untilMs, status: enhancedStatus("4.4.1"), reason: "refused" };
      await publish([
        ...Array.from({ length: 50 }, (_, n) =>
          destination(`d${n}.example`, { inFlight: 1, waiting: n }),
        ),
        destination("free.example", { window: null, limit: null, inFlight: 900 }),
        destination("idle.example"),
        destination("dead.example", { dead, window: 0 }),
      ]);
      const metrics = createMetrics("showq");
      declareDestinationMetrics(metrics, store, store.looking());
      const text = await metrics.text();
      const figures = (name: string) =>
        [...text.matchAll(new RegExp(`^${name}\\{site="([^"]+)"[^}]*\\} (\\d+)$`, "gm"))].map(
          ([, site, value]) => `${site} ${value}`,
        );
      const used = figures("postmq_destination_slots_used");
      assert.equal(used.length, 20);
      assert.deepEqual(used.slice(0, 2), ["smtp:free.example 900", "smtp:d49.example 1"]);
      const limits = figures("postmq_destination_slots_limit");
      assert.equal(limits.length, 19);
      assert.equal(limits[0], "smtp:d49.example 5");
      assert.deepEqual(figures("postmq_destination_dead"), ["smtp:dead.example 1"]);
    }));
});
