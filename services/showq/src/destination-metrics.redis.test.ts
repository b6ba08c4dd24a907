import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { createMetrics } from "@postmq/observability";
import type { DestinationReport } from "@postmq/queue-store";
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

  it("security 11: name no recipient where limits are per recipient, but sum by next hop", () =>
    withStore(async ({ store }) => {
      const { publish } = await openLeader(store);
      const untilMs = Date.now() + 60_000;
      const dead = { sinceMs: 1, untilMs, status: enhancedStatus("4.4.1"), reason: "refused" };
      const to = (user: string, changes: Partial<DestinationReport>): DestinationReport => ({
        ...destination("Slow.example", changes),
        name: `smtp:${user}@slow.example`,
      });
      const error = { transport: "error", nexthop: "5.1.1 no joe@x.example here" };
      await publish([
        to("joe", { inFlight: 1, window: 1, waiting: 3 }),
        to("jane", { inFlight: 2, window: 2, dead }),
        to("jim", { window: 0, dead }),
        destination("free.example", { window: null, inFlight: 1 }),
        { ...destination("", { inFlight: 4 }), name: `error:${error.nexthop}`, destination: error },
      ]);
      const metrics = createMetrics("showq");
      declareDestinationMetrics(metrics, store, store.looking());
      const text = await metrics.text();
      const figures = text.split("\n").filter((line) => line.startsWith("postmq_destination_"));
      assert.deepEqual(
        figures.map((line) => line.replace(/,instance_name.*\}/, "}")),
        [
          'postmq_destination_slots_used{site="smtp:slow.example"} 3',
          'postmq_destination_slots_used{site="error"} 4',
          'postmq_destination_slots_used{site="smtp:free.example"} 1',
          'postmq_destination_slots_limit{site="smtp:slow.example"} 3',
          'postmq_destination_slots_limit{site="error"} 5',
          'postmq_destination_dead{site="smtp:slow.example"} 2',
        ],
      );
    }));
});
