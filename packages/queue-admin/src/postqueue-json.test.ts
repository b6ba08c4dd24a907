import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { postqueueJsonLine } from "./postqueue-json.ts";
import { listedMessage, messageOfJsonLine, recordedCommands } from "./samples.test-support.ts";

describe("postqueue -j", () => {
  it("prints the bytes that Postfix printed", () => {
    const [recorded] = recordedCommands("long/postqueue-j.txt");
    assert.ok(recorded);
    const lines = recorded.output.trimEnd().split("\n");
    assert.equal(lines.length, 20);
    const printed = lines.map((line) =>
      postqueueJsonLine(messageOfJsonLine(line), "MAILER-DAEMON"),
    );
    assert.equal(printed.join(""), recorded.output);
  });

  it("prints forced_expire true for mail that is to expire", () => {
    const recorded = recordedCommands("long/postqueue-p-expired.txt").at(1);
    assert.ok(recorded);
    const message = messageOfJsonLine(recorded.output);
    assert.equal(postqueueJsonLine(message, "MAILER-DAEMON"), recorded.output);
  });

  it("stays one object a line whatever the addresses and reasons hold", () => {
    const line = postqueueJsonLine(
      listedMessage({
        id: "4jX2VV0nvnzM155",
        queue: "deferred",
        arrivalMs: 0,
        sizeBytes: 0,
        sender: '"a\\"b"@example.com',
        recipients: [{ address: "x@example.com", reason: 'said "\\" \n\u2028\u0000\u007F' }],
      }),
      "MAILER-DAEMON",
    );
    assert.equal(line.indexOf("\n"), line.length - 1);
    const object: unknown = JSON.parse(line);
    assert.ok(typeof object === "object" && object !== null && "recipients" in object);
    assert.deepEqual(object.recipients, [
      { address: "x@example.com", delay_reason: 'said "\\" ????' },
    ]);
  });
});
