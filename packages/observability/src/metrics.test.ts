import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createMetrics } from "./metrics.ts";
import { qshapeAgeLimitsMs } from "./qshape-ages.ts";

describe("metrics", () => {
  it("tells each metric with its help, its labels and the service", async () => {
    const metrics = createMetrics("qmgr");
    metrics.counter("postmq_a_total", "What a is.", ["result"]).increment({ result: "sent" }, 2);
    metrics.gauge("postmq_b", "What b is.", [], (gauge) => gauge.set(7));
    metrics.histogram("postmq_c_seconds", "What c is.", [], [1, 10]).observe(3);
    metrics.readCounter("postmq_d_total", "What d is.", () => 5);
    const text = await metrics.text();
    assert.match(text, /# HELP postmq_a_total What a is\.\n# TYPE postmq_a_total counter/);
    assert.match(text, /postmq_a_total\{result="sent",service="qmgr"\} 2/);
    assert.match(text, /postmq_b\{service="qmgr"\} 7/);
    assert.match(text, /postmq_c_seconds_bucket\{le="10",service="qmgr"\} 1/);
    assert.match(text, /postmq_d_total\{service="qmgr"\} 5/);
    assert.match(await metrics.text(), /postmq_d_total\{service="qmgr"\} 5/);
  });

  it("refuses to declare one name twice", () => {
    const metrics = createMetrics("qmgr");
    metrics.gauge("postmq_b", "What b is.");
    assert.throws(() => metrics.gauge("postmq_b", "What b is."), /already been registered/);
  });
});

describe("qshapeAgeLimitsMs", () => {
  it("A7 doubles the limits, or adds, in minutes", () => {
    const minutes = (limits: readonly number[]) => limits.map((ms) => ms / 60_000);
    assert.deepEqual(minutes(qshapeAgeLimitsMs()), [5, 10, 20, 40, 80, 160, 320, 640, 1280]);
    assert.deepEqual(minutes(qshapeAgeLimitsMs(4, 10, true)), [10, 20, 30]);
    assert.deepEqual(qshapeAgeLimitsMs(1), []);
  });
});
