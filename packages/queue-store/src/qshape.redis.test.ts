import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { withStore } from "@postmq/testing";
import { newMessage } from "./store.test-support.ts";

describe("qshape from the indexes", () => {
  it("A6, A7 counts recipients by age, of a domain with thousands of messages for several as well", () =>
    withStore(async ({ store }) => {
      const intake = store.intake();
      const nowMs = Math.floor(store.clock.nowMs());
      const ageLimitsMs = [5, 10, 20, 40].map((minutes) => minutes * 60_000);
      const expected = new Map<string, number[]>();
      const stored = Array.from({ length: 2200 }, async (_, i) => {
        const few = `d${i % 3}.example`;
        const recipients = ["a@x.example", "b@x.example", `c@${few}`, `d@${few}`];
        const bucket = ageLimitsMs.findIndex((limit) => i * 1000 < limit);
        for (const address of recipients) {
          const domain = address.slice(2);
          const counts = expected.get(domain) ?? [0, 0, 0, 0, 0];
          counts[bucket] = (counts[bucket] ?? 0) + 1;
          expected.set(domain, counts);
        }
        const message = await newMessage(intake, { recipients });
        return intake.commit({ ...message, arrivalMs: nowMs - i * 1000 });
      });
      await Promise.all(stored);
      const queues = ["incoming"] as const;
      const rows = await store.looking().qshape({ queues, by: "recipient", ageLimitsMs, nowMs });
      assert.deepEqual(new Map(rows.map(({ domain, counts }) => [domain, counts])), expected);
      const bySender = await store.looking().qshape({ queues, by: "sender", ageLimitsMs, nowMs });
      assert.deepEqual(bySender, [{ domain: "sender.example", counts: [300, 300, 600, 1000, 0] }]);
    }));
});
