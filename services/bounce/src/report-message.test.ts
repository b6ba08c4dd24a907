import assert from "node:assert/strict";
import { describe, it } from "node:test";

import type { NewMessage, NotOpened, OpenedReport, Reporting } from "@postmq/queue-store";
import { PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";

import { later, queueId, refused, relayed } from "./report/report-input.test-support.ts";
import { reportMessage } from "./report-message.ts";
import { reportSettings } from "./report-settings.test-support.ts";

const id = queueId("M1");
const owed: OpenedReport = {
  id,
  kind: "failure",
  counts: "1 0",
  generation: 3,
  arrivalMs: 1000,
  envelope: { sender: "sender@x.example", origin: "smtp" },
  recipients: [refused],
  content: { contentId: "M1", sizeBytes: 24, chunks: 1 },
};
const delayed: OpenedReport = { ...owed, kind: "delay", recipients: [later] };
const delivered: OpenedReport = { ...owed, kind: "success", recipients: [relayed] };

class FakeReporting implements Reporting {
  readonly queued: (readonly NewMessage[])[] = [];
  /** Of each part. */
  readonly told: (readonly number[])[] = [];
  readonly asked: number[] = [];
  given = 0;
  answer: OpenedReport | NotOpened = owed;
  trouble: PostmqError | undefined;
  contentTrouble: PostmqError | undefined;
  #ids = 0;

  open(): Promise<OpenedReport | NotOpened> {
    return Promise.resolve(this.answer);
  }
  readContent(_: unknown, maxBytes: number): Promise<Buffer> {
    this.asked.push(maxBytes);
    if (this.contentTrouble !== undefined) return Promise.reject(this.contentTrouble);
    return Promise.resolve(Buffer.from("Subject: hi\r\n\r\nbody\r\n"));
  }
  queue(_: OpenedReport, reports: readonly NewMessage[]): Promise<"queued" | "stale"> {
    if (this.trouble !== undefined) return Promise.reject(this.trouble);
    this.queued.push(reports);
    return Promise.resolve("queued");
  }
  queuePart(
    opened: OpenedReport,
    told: readonly number[],
    reports: readonly NewMessage[],
  ): Promise<OpenedReport | "stale"> {
    this.queued.push(reports);
    this.told.push(told);
    return Promise.resolve({ ...opened, counts: `${opened.counts} part` });
  }
  giveBack(): Promise<void> {
    this.given += 1;
    return Promise.resolve();
  }
  openContent() {
    const parts: Buffer[] = [];
    return {
      sizeBytes: 0,
      write: (bytes: Buffer) => void parts.push(bytes),
      finish: () => {
        const inline = Buffer.concat(parts);
        return Promise.resolve({ contentId: "R1", sizeBytes: inline.length, chunks: 1, inline });
      },
      abort: () => Promise.resolve(),
    };
  }
  newId(): QueueId {
    this.#ids += 1;
    return queueId(`R${this.#ids}`);
  }
}

async function run(reporting: FakeReporting, notifyClasses: readonly string[] = []) {
  const lines: string[] = [];
  const write = (text: string, about?: QueueId) => void lines.push(`${about ?? ""}: ${text}`);
  const warning = (text: string, about?: QueueId) => write(`warning: ${text}`, about);
  const log = { info: write, warning, error: write };
  const clock = { nowMs: () => 5000 };
  const settings = { ...reportSettings, notifyClasses: new Set(notifyClasses) };
  const end = await reportMessage(id, { reporting, clock, log, settings });
  return { end, lines };
}

function contentOf(message: NewMessage | undefined): string {
  return message?.content.inline?.toString() ?? "";
}

describe("reportMessage", () => {
  it("D34 queues a report from the null sender to the sender, and logs its id", async () => {
    const reporting = new FakeReporting();
    const { end, lines } = await run(reporting);
    const [reports] = reporting.queued;
    assert.equal(end, "queued");
    assert.equal(reports?.length, 1);
    const [report] = reports ?? [];
    assert.equal(report?.envelope.sender, "");
    assert.equal(report?.envelope.origin, "bounce");
    assert.equal(report?.queue, "incoming");
    assert.deepEqual(report?.recipients, [{ address: "sender@x.example" }]);
    assert.match(contentOf(report), /joe@far\.example/);
    assert(lines.includes("M1: sender non-delivery notification: R1"), lines.join("\n"));
  });

  it("D28 closes the report of a null sender without one", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...owed, envelope: { ...owed.envelope, sender: "" } };
    assert.equal((await run(reporting)).end, "dropped");
    assert.deepEqual(reporting.queued, [[]]);
  });

  it("D28 queues the postmaster's copy with the report, in one act, headers alone", async () => {
    const reporting = new FakeReporting();
    const { end, lines } = await run(reporting, ["bounce"]);
    assert.equal(end, "queued");
    assert.equal(reporting.queued.length, 1);
    const [report, copy] = reporting.queued[0] ?? [];
    assert.equal(copy?.envelope.sender, "double-bounce@example");
    assert.deepEqual(copy?.recipients, [{ address: "bounces@example" }]);
    assert.match(contentOf(report), /\r\nbody\r\n/);
    assert.doesNotMatch(contentOf(copy), /\r\nbody\r\n/);
    assert.match(contentOf(copy), /^Subject: Postmaster copy: mail not delivered\r$/m);
    assert(lines.includes("M1: sender non-delivery notification: R1"), lines.join("\n"));
    assert(lines.includes("M1: postmaster non-delivery notification: R2"), lines.join("\n"));
  });

  it("D28 warns of a notice to the postmaster that is lost", async () => {
    const reporting = new FakeReporting();
    const envelope = { ...owed.envelope, sender: "double-bounce@example" };
    reporting.answer = { ...owed, envelope };
    const { end, lines } = await run(reporting, ["bounce", "2bounce"]);
    assert.equal(end, "dropped");
    assert.deepEqual(reporting.queued, [[]]);
    assert.deepEqual(lines, ["M1: warning: undeliverable postmaster notification discarded"]);
  });

  it("D30 leaves out recipients with NOTIFY=NEVER, and the report when none is left", async () => {
    const reporting = new FakeReporting();
    const never = {
      ...refused,
      number: 1,
      address: "never@far.example",
      notify: ["NEVER"],
    } as const;
    reporting.answer = { ...owed, recipients: [refused, never] };
    await run(reporting);
    assert.doesNotMatch(contentOf(reporting.queued[0]?.[0]), /never@far\.example/);
    reporting.answer = { ...owed, recipients: [never] };
    assert.equal((await run(reporting)).end, "dropped");
    assert.deepEqual(reporting.queued[1], []);
  });

  it("D31 queues a report of success with headers alone, and logs it as one", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...delivered, envelope: { ...owed.envelope, ret: "FULL" } };
    const { end, lines } = await run(reporting, ["bounce", "2bounce", "delay"]);
    assert.equal(end, "queued");
    assert.equal(reporting.queued[0]?.length, 1);
    const content = contentOf(reporting.queued[0]?.[0]);
    assert.match(content, /^Action: relayed\r$/m);
    assert.doesNotMatch(content, /\r\nbody\r\n/);
    assert(lines.includes("M1: sender delivery status notification: R1"), lines.join("\n"));
  });

  it("D32 reads no more of a large original than its headers need", async () => {
    const reporting = new FakeReporting();
    const envelope = { ...owed.envelope, ret: "FULL" } as const;
    reporting.answer = { ...owed, envelope, content: { ...owed.content, sizeBytes: 10_000_000 } };
    await run(reporting);
    assert((reporting.asked[0] ?? Infinity) < 1_000_000);
    assert.doesNotMatch(contentOf(reporting.queued[0]?.[0]), /\r\nbody\r\n/);
  });

  it("D33 queues many reports of VERP mail in parts, each marking whom it tells of, the last one all", async () => {
    const reporting = new FakeReporting();
    const recipients = Array.from({ length: 120 }, (_, number) => ({
      ...refused,
      number,
      address: `u${number}@far.example`,
      original: `o${number}@near.example`,
      // Of this one only the postmaster is told: what tells of one recipient must stay together after it too.
      notify: number === 0 ? (["NEVER"] as const) : [],
    }));
    const envelope = { ...owed.envelope, verpDelimiters: "+=" };
    reporting.answer = { ...owed, envelope, recipients };
    const { end, lines } = await run(reporting, ["bounce"]);
    assert.equal(end, "queued");
    const numbers = recipients.map(({ number }) => number);
    assert.deepEqual(reporting.told, [numbers.slice(0, 51), numbers.slice(51, 101)]);
    assert.deepEqual(
      reporting.queued.map((reports) => reports.length),
      [101, 100, 38],
    );
    const [report, copy] = reporting.queued[2] ?? [];
    assert.deepEqual(report?.recipients, [{ address: "sender+o101=near.example@x.example" }]);
    assert.match(contentOf(report), /^To: sender\+o101=near\.example@x\.example\r$/m);
    assert.match(contentOf(report), /^X-Postfix-Sender: rfc822; sender@x\.example\r$/m);
    assert.match(contentOf(report), /^Return-Path: <sender@x\.example>\r$/m);
    assert.doesNotMatch(contentOf(report), /u102@far\.example/);
    assert.deepEqual(copy?.recipients, [{ address: "bounces@example" }]);
    assert.equal(lines.filter((line) => line.includes("sender non-delivery")).length, 119);
    assert.equal(reporting.asked.length, 2, "the original is read once whole, once for headers");
  });

  it("D33 stops when a part finds that something else was recorded meanwhile", async () => {
    const reporting = new FakeReporting();
    const recipients = Array.from({ length: 120 }, (_, number) => ({ ...refused, number }));
    reporting.answer = {
      ...owed,
      envelope: { ...owed.envelope, verpDelimiters: "+=" },
      recipients,
    };
    reporting.queuePart = () => Promise.resolve("stale");
    assert.equal((await run(reporting)).end, "left");
    assert.deepEqual(reporting.queued, []);
  });

  it("S13 queues a delay warning with headers alone, and logs it as one", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...delayed, envelope: { ...owed.envelope, ret: "FULL" } };
    const { end, lines } = await run(reporting, ["delay"]);
    assert.equal(end, "queued");
    const [report, copy] = reporting.queued[0] ?? [];
    assert.match(contentOf(report), /^Action: delayed\r$/m);
    assert.doesNotMatch(contentOf(report), /\r\nbody\r\n/);
    assert.equal(report?.envelope.sender, "");
    assert.deepEqual(copy?.recipients, [{ address: "delays@example" }]);
    assert(lines.includes("M1: sender delay notification: R1"), lines.join("\n"));
    assert(lines.includes("M1: postmaster delay notification: R2"), lines.join("\n"));
  });

  it("S13 says in the log why nobody is warned of a delay", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...delayed, recipients: [{ ...later, notify: ["FAILURE"] }] };
    const { end, lines } = await run(reporting);
    assert.equal(end, "dropped");
    assert(
      lines.some((line) => line.startsWith("M1: no delay notification: ")),
      lines.join("\n"),
    );
    reporting.answer = { ...delayed, envelope: { ...owed.envelope, sender: "" } };
    assert.equal((await run(reporting)).end, "dropped");
    assert.deepEqual(reporting.queued, [[], []]);
  });

  it("sends the report even when the content can't be read", async () => {
    const reporting = new FakeReporting();
    reporting.contentTrouble = new PostmqError("PMQ_MESSAGE_UNREADABLE", "a chunk is missing");
    assert.equal((await run(reporting)).end, "queued");
  });

  it("marks a report with 8-bit content as such, so that its next hop is chosen for it", async () => {
    const reporting = new FakeReporting();
    reporting.readContent = () =>
      Promise.resolve(Buffer.from("Subject: x\r\n\r\nf\xfcr", "latin1"));
    await run(reporting);
    assert.equal(reporting.queued[0]?.[0]?.envelope.encoding, "8bit");
  });

  it("Q6 gives the claim back on trouble, so that the report stays owed", async () => {
    const reporting = new FakeReporting();
    reporting.trouble = new PostmqError("PMQ_STORE_FULL", "Redis is full");
    assert.equal((await run(reporting)).end, "postponed");
    assert.equal(reporting.given, 1);
  });

  it("leaves alone what another process has, or what is owed no longer", async () => {
    const reporting = new FakeReporting();
    reporting.answer = "busy";
    assert.equal((await run(reporting)).end, "left");
    assert.deepEqual(reporting.queued, []);
  });

  it("does not hide a bug", async () => {
    const reporting = new FakeReporting();
    reporting.open = () => Promise.reject(new TypeError("a bug"));
    await assert.rejects(run(reporting), TypeError);
  });
});
