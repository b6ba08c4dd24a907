/** D28 over the real store: whatever fails, no chain of reports about reports has more than three generations. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { Store } from "@postmq/queue-store";
import { withStore } from "@postmq/testing";
import { enhancedStatus, panic } from "@postmq/vocabulary";

import type { ReportParts } from "./prepare-notice.ts";
import { reportMessage } from "./report-message.ts";
import { reportSettings } from "./report-settings.test-support.ts";

async function commit(store: Store): Promise<void> {
  const intake = store.intake();
  const id = intake.newId();
  const writer = intake.openContent(id);
  await writer.write(Buffer.from("Subject: hi\r\n\r\nbody text\r\n"));
  await intake.commit({
    id,
    queue: "incoming",
    envelope: { sender: "sender@x.example", origin: "smtp" },
    recipients: [{ address: "joe@far.example" }],
    content: await writer.finish(),
  });
}

type Failed = { readonly from: string; readonly to: string; readonly end: string };

/** Lets everything in incoming fail and be reported, until nothing is left. @returns what failed, in order. */
async function failEverything(
  store: Store,
  notifyClasses: readonly string[],
  log: ReportParts["log"],
): Promise<readonly Failed[]> {
  const settings = { ...reportSettings, notifyClasses: new Set(notifyClasses) };
  const parts = { reporting: store.reporting(), clock: store.clock, log, settings };
  const fence = (await store.leadership().acquire()) ?? panic("no leadership");
  const scheduling = store.scheduling();
  const failed: Failed[] = [];
  for (;;) {
    const limits = { maxMessages: 1, maxRecipients: 10 };
    const [message] = await scheduling.importMessages({ fence, from: "incoming", ...limits });
    if (message === undefined) return failed;
    const { id, generation, envelope, recipients } = message;
    assert(failed.length < 20, "the chain has no end");
    await scheduling.recordOutcomes(id, [
      { kind: "failed", recipient: 0, status: enhancedStatus("5.1.1"), reason: "no such user" },
    ]);
    const owed = await scheduling.settle(fence, [
      { id, generation, action: "report", kind: "failure" },
    ]);
    assert.deepEqual(owed, ["done"]);
    const end = await reportMessage(id, parts);
    failed.push({ from: envelope.sender, to: recipients[0]?.address ?? "", end });
  }
}

async function chain(notifyClasses: readonly string[]) {
  const warnings: string[] = [];
  const log = {
    info: () => undefined,
    warning: (text: string) => void warnings.push(text),
    error: () => undefined,
  };
  let failed: readonly Failed[] = [];
  await withStore(async ({ store }) => {
    await commit(store);
    failed = await failEverything(store, notifyClasses, log);
    const { messages } = await store.looking().list("active", { limit: 10 });
    assert.deepEqual(
      messages.map(({ owedReport }) => owedReport),
      failed.map(() => undefined),
    );
  });
  return { failed, warnings };
}

const mail = { from: "sender@x.example", to: "joe@far.example", end: "queued" };
const report = { from: "", to: "sender@x.example" };
const doubleBounce = { from: "double-bounce@example", to: "double@pm.example", end: "dropped" };
const copy = { from: "double-bounce@example", to: "bounces@example", end: "dropped" };
const discarded = "undeliverable postmaster notification discarded";

describe("mail of which every copy, report and notice fails", () => {
  it("D28 ends with the report by default", async () => {
    const { failed, warnings } = await chain(["resource", "software"]);
    assert.deepEqual(failed, [mail, { ...report, end: "dropped" }]);
    assert.deepEqual(warnings, []);
  });

  it("D28 ends with the double bounce, the third generation, with the class 2bounce", async () => {
    const { failed, warnings } = await chain(["2bounce"]);
    assert.deepEqual(failed, [mail, { ...report, end: "queued" }, doubleBounce]);
    assert.deepEqual(warnings, [discarded]);
  });

  it("D28 has a copy in the second generation as well with the class bounce, and no fourth", async () => {
    const { failed, warnings } = await chain(["bounce", "2bounce", "delay"]);
    const byAddress = (one: Failed, other: Failed) => (one.to < other.to ? -1 : 1);
    assert.deepEqual(
      failed.toSorted(byAddress),
      [mail, { ...report, end: "queued" }, copy, doubleBounce].toSorted(byAddress),
    );
    assert.deepEqual(warnings, [discarded, discarded]);
  });
});
