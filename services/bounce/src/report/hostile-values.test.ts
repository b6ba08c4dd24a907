/** Whatever is in addresses, replies and names, a report has its three parts and one block for each recipient. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { enhancedStatus } from "@postmq/vocabulary";
import type { StoredRecipient } from "@postmq/vocabulary";
import fc from "fast-check";

import { composeReport } from "./compose-report.ts";
import { failureInput, inputWith } from "./report-input.test-support.ts";
import { assertWireForm, readFields, readMultipart, readPart } from "./strict-mime.test-support.ts";

/** Any text, and often what ends lines, fields, parts and words. */
const text = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.constantFrom("\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", "\0", "--", ":", "\u2028", "ü"),
      fc.constantFrom("Action: delivered", "--4Fq0000001zABCDEF.1795255500/mail.example", "<", ">"),
      fc.integer({ min: 70, max: 3000 }).map((length) => "x".repeat(length)),
      fc.integer({ min: 70, max: 3000 }).map((length) => " ".repeat(length)),
      fc.integer({ min: 70, max: 1500 }).map((length) => "ü".repeat(length)),
    ),
    { minLength: 1, maxLength: 8 },
  )
  .map((pieces) => pieces.join(""));

const recipient = fc
  .record({ address: text, original: text, orcpt: text, reason: text, host: text, reply: text })
  .map(({ address, original, orcpt, reason, host, reply }): StoredRecipient => ({
    number: 0,
    address,
    original,
    orcpt,
    state: {
      kind: "failed",
      status: enhancedStatus("5.1.1"),
      reason,
      remote: { host, address: "192.0.2.1", port: 25, reply },
    },
  }));

describe("a report about values that anybody may choose", () => {
  it("keeps its form, and the fields that are ours, in any case", () => {
    const cases = fc.record({
      about: fc.array(recipient, { minLength: 1, maxLength: 3 }),
      sender: text,
      envid: text,
      smtputf8: fc.boolean(),
    });
    fc.assert(
      fc.property(cases, ({ about, sender, envid, smtputf8 }) => {
        const { content } = composeReport(
          inputWith({
            notice: { about, recipient: sender },
            envelope: { ...failureInput.envelope, sender, envid, smtputf8 },
          }),
        );
        assertWireForm(content);
        const message = readPart(content);
        assert.equal(message.headers.get("auto-submitted"), "auto-replied");
        const parts = readMultipart(message);
        assert.equal(parts.length, 3);
        const blocks = parts[1]?.body.toString().replace(/\r\n$/, "").split("\r\n\r\n") ?? [];
        assert.equal(blocks.length, 1 + about.length);
        for (const block of blocks.slice(1)) {
          const fields = readFields(block);
          assert.equal(fields.get("action"), "failed");
          assert.equal(fields.get("status"), "5.1.1");
        }
      }),
      { numRuns: 100 },
    );
  });
});
