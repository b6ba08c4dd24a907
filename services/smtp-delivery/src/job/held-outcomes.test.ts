import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

import type { RequestResult } from "@postmq/queue-store";
import { enhancedStatus } from "@postmq/vocabulary";

import { FakeDelivering, requestName } from "../delivery.test-support.ts";
import { parseHeldOutcomes, restoreHeldOutcomes, writeHeldOutcomes } from "./held-outcomes.ts";

const results: readonly RequestResult[] = [
  {
    name: requestName(1),
    end: "tried",
    outcomes: [
      {
        recipient: 0,
        kind: "sent",
        status: enhancedStatus("2.0.0"),
        reason: "250 2.0.0 Ok",
        remote: { host: "mx", address: "192.0.2.1", port: 25, reply: "250 2.0.0 Ok" },
      },
      {
        recipient: 2,
        kind: "sent",
        status: enhancedStatus("2.0.0"),
        reason: "250 2.0.0 Ok",
        owesReport: "relayed",
      },
      { recipient: 1, kind: "deferred", status: enhancedStatus("4.4.2"), reason: "lost" },
    ],
    feedback: { kind: "good" },
  },
  {
    name: requestName(2),
    end: "tried",
    outcomes: [],
    feedback: { kind: "trouble", status: enhancedStatus("4.4.1"), reason: "refused" },
  },
  {
    name: requestName(3),
    end: "unreadable",
    outcomes: [],
    feedback: { kind: "none" },
    reason: "x",
  },
];

async function temporaryDirectory() {
  const path = await mkdtemp(join(tmpdir(), "postmq-outcomes-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

describe("held outcomes", () => {
  it("P5 D31 come back whole at the next start, and the file goes", async () => {
    await using directory = await temporaryDirectory();
    const path = await writeHeldOutcomes(directory.path, "smtp-delivery-1.ab/../c", results);
    assert.equal(join(directory.path, "outcomes"), join(path, ".."));
    assert.equal((await stat(path)).mode & 0o077, 0);
    const delivering = new FakeDelivering();
    await restoreHeldOutcomes(directory.path, delivering, () => {});
    assert.deepEqual(delivering.restored, results);
    assert.deepEqual(await readdir(join(directory.path, "outcomes")), []);
  });

  it("P5: the file stays when Redis does not take them", async () => {
    await using directory = await temporaryDirectory();
    await writeHeldOutcomes(directory.path, "w", results);
    const restore = () => Promise.reject(new Error("closed"));
    await assert.rejects(restoreHeldOutcomes(directory.path, { restore }, () => {}));
    assert.equal((await readdir(join(directory.path, "outcomes"))).length, 1);
  });

  it("a file that can't be read is told of and left there, the others are restored", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(join(directory.path, "outcomes"));
    await writeFile(join(directory.path, "outcomes", "a.json"), '{"version":1,"results":[{"na');
    await writeHeldOutcomes(directory.path, "b", results);
    const delivering = new FakeDelivering();
    const notices: string[] = [];
    await restoreHeldOutcomes(directory.path, delivering, (level) => notices.push(level));
    assert.equal(delivering.restored.length, results.length);
    assert.deepEqual(notices, ["error", "info"]);
    assert.deepEqual(await readdir(join(directory.path, "outcomes")), ["a.json"]);
  });

  it("nothing held is nothing to do", async () => {
    await using directory = await temporaryDirectory();
    await restoreHeldOutcomes(directory.path, new FakeDelivering(), assert.fail);
  });

  it("what is not quite a result is refused, not recorded", () => {
    const broken = [
      "[]",
      '{"version":2,"results":[]}',
      '{"version":1,"results":[{"name":{"id":"a:b","number":1,"generation":1}}]}',
      JSON.stringify({ version: 1, results: [{ ...results[0], end: "gone" }] }),
      JSON.stringify({ version: 1, results: [{ ...results[0], feedback: { kind: "x" } }] }),
    ];
    for (const text of broken) assert.throws(() => parseHeldOutcomes(text), SyntaxError, text);
  });
});
