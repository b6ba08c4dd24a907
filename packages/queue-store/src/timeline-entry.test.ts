import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readTimelineEntry, withoutRepetitions } from "./timeline-store.ts";

describe("an entry of the timelines", () => {
  it("is read for one id among many, whole ids only", () => {
    const text = "v\tactive\t\tid1 id22 id3\nm\tid22\nw\tfailure\tid2";
    assert.deepEqual(readTimelineEntry("1700-0", text, "id2"), [
      { atMs: 1700, kind: "report-owed", details: { report: "failure" } },
    ]);
    const kinds = readTimelineEntry("1700-0", text, "id22").map(({ kind }) => kind);
    assert.deepEqual(kinds, ["queued", "dot-sent"]);
  });

  it("skips lines that nobody of ours wrote, and takes no queue that there is not", () => {
    const rubbish = "\n\t\nid1\nz\tx\tid1\n\u0000\tid1\nv\tnowhere\tx\tid1\na\tid1";
    assert.deepEqual(readTimelineEntry("5-0", rubbish, "id1"), [
      { atMs: 5, kind: "moved", details: { by: "x" } },
      { atMs: 5, kind: "accepted", details: {} },
    ]);
  });

  it("D6 a recipient's deferral is told again in the next attempt, not within one", () => {
    const at = (kind: "claimed" | "deferred") => ({ atMs: 1, kind, details: {} });
    const events = [at("claimed"), at("deferred"), at("deferred"), at("claimed"), at("deferred")];
    const kinds = withoutRepetitions(events).map(({ kind }) => kind);
    assert.deepEqual(kinds, ["claimed", "deferred", "claimed", "deferred"]);
  });
});
