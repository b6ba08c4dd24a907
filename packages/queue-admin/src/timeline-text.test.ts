import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TimelineEvent } from "@postmq/queue-store";
import { parseQueueId } from "@postmq/vocabulary";
import { timelineJsonLine, timelineLine } from "./timeline-text.ts";

const atMs = Date.UTC(2026, 10, 22, 14, 5, 56, 123);
/** The time in front, whatever zone the test runs in. */
const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:56\.123[+-]\d\d:\d\d`;

const deferred: TimelineEvent = {
  atMs,
  kind: "deferred",
  details: { to: "bob@example.com", status: "4.2.1", relay: "mx[192.0.2.1]:25", reason: "busy" },
};

describe("a timeline as text", () => {
  it("is a line per event in local time, in the log's words", () => {
    const line = timelineLine(deferred);
    const words = String.raw`to=<bob@example\.com>, dsn=4\.2\.1, relay=mx\[192\.0\.2\.1\]:25, \(busy\)`;
    assert.match(line, new RegExp(`^${time} deferred    ${words}\n$`));
    assert.equal(Date.parse(line.split(" ")[0] ?? ""), atMs);
  });

  it("names the queue of a move, and when it is due", () => {
    const due = new Date(atMs).toISOString();
    const line = timelineLine({ atMs, kind: "moved", queue: "deferred", details: { due } });
    assert.match(line, new RegExp(`^${time} moved       queue=deferred, due=${time}\n$`));
    assert.match(timelineLine({ atMs, kind: "dot-sent", details: {} }), / dot-sent\n$/);
  });

  it("lets nothing through that drives a terminal", () => {
    const details = { to: "\u001b[2J@x", reason: "a\r\nb\u009b" };
    assert.match(timelineLine({ ...deferred, details }), /to=<\?\[2J@x>, \(a\?\?b\?\)\n$/);
  });

  it("is an object per event as JSON, with the names of the HTTP API", () => {
    const id = parseQueueId("4fABC");
    assert.ok(id !== undefined);
    assert.deepEqual(JSON.parse(timelineJsonLine(id, { ...deferred, queue: "hold" })), {
      id,
      time: Math.floor(atMs / 1000),
      time_ms: atMs,
      kind: "deferred",
      queue: "hold",
      details: deferred.details,
    });
  });
});
