import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NewMessage, NotOpened, OpenedReport, Reporting } from "@postmq/queue-store";
import { enhancedStatus, parseQueueId, PostmqError } from "@postmq/vocabulary";
import type { QueueId } from "@postmq/vocabulary";
import { reportMessage } from "./report-message.ts";
import { reportSettings as settings } from "./report-settings.test-support.ts";

function queueId(text: string): QueueId {
  const id = parseQueueId(text);
  assert(id !== undefined);
  return id;
}

const id = queueId("M1");
const owed: OpenedReport = {
  id,
  kind: "failure",
  counts: "1 0",
  generation: 3,
  arrivalMs: 1000,
  envelope: { sender: "sender@x.example", origin: "smtp" },
  recipients: [
    {
      number: 0,
      address: "joe@far.example",
      state: { kind: "failed", status: enhancedStatus("5.1.1"), reason: "no such user" },
    },
  ],
  content: { contentId: "M1", sizeBytes: 24, chunks: 1 },
};

const delayed: OpenedReport = {
  ...owed,
  kind: "delay",
  recipients: [
    {
      number: 0,
      address: "joe@far.example",
      state: { kind: "deferred", status: enhancedStatus("4.2.1"), reason: "said: 450 later" },
    },
  ],
};

class FakeReporting implements Reporting {
  readonly queued: (NewMessage | undefined)[] = [];
  readonly asked: number[] = [];
  given = 0;
  answer: OpenedReport | NotOpened = owed;
  trouble: PostmqError | undefined;
  contentTrouble: PostmqError | undefined;

  open(): Promise<OpenedReport | NotOpened> {
    return Promise.resolve(this.answer);
  }
  readContent(_: unknown, maxBytes: number): Promise<Buffer> {
    this.asked.push(maxBytes);
    if (this.contentTrouble !== undefined) return Promise.reject(this.contentTrouble);
    return Promise.resolve(Buffer.from("Subject: hi\r\n\r\nbody\r\n"));
  }
  queue(_: OpenedReport, report: NewMessage | undefined): Promise<"queued" | "stale"> {
    if (this.trouble !== undefined) return Promise.reject(this.trouble);
    this.queued.push(report);
    return Promise.resolve("queued");
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
    return queueId("R1");
  }
}

function run(reporting: FakeReporting) {
  const lines: string[] = [];
  const write = (text: string, about?: QueueId) => void lines.push(`${about ?? ""}: ${text}`);
  const log = { info: write, warning: write, error: write };
  const clock = { nowMs: () => 5000 };
  return reportMessage(id, { reporting, clock, log, settings }).then((end) => ({ end, lines }));
}

describe("reportMessage", () => {
  it("queues a report from the null sender to the sender, and logs its id", async () => {
    const reporting = new FakeReporting();
    const { end, lines } = await run(reporting);
    const [report] = reporting.queued;
    assert.equal(end, "queued");
    assert.equal(report?.envelope.sender, "");
    assert.equal(report?.envelope.origin, "bounce");
    assert.equal(report?.queue, "incoming");
    assert.deepEqual(report?.recipients, [{ address: "sender@x.example" }]);
    assert(report?.content.inline?.includes("joe@far.example"));
    assert(lines.includes("M1: sender non-delivery notification: R1"), lines.join("\n"));
  });

  it("D28 closes the report of a null sender without one", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...owed, envelope: { ...owed.envelope, sender: "" } };
    assert.equal((await run(reporting)).end, "dropped");
    assert.deepEqual(reporting.queued, [undefined]);
  });

  it("D30 leaves out recipients with NOTIFY=NEVER, and the report when none is left", async () => {
    const reporting = new FakeReporting();
    const [joe] = owed.recipients;
    assert(joe !== undefined);
    const never = { ...joe, number: 1, address: "never@far.example", notify: ["NEVER"] } as const;
    reporting.answer = { ...owed, recipients: [joe, never] };
    await run(reporting);
    assert.equal(reporting.queued[0]?.content.inline?.includes("never@far.example"), false);
    reporting.answer = { ...owed, recipients: [never] };
    assert.equal((await run(reporting)).end, "dropped");
    assert.equal(reporting.queued[1], undefined);
  });

  it("D32 reads no more of a large original than its headers need", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...owed, content: { ...owed.content, sizeBytes: 10_000_000 } };
    await run(reporting);
    assert((reporting.asked[0] ?? Infinity) < 1_000_000);
    assert.equal(reporting.queued[0]?.content.inline?.includes("body"), false);
  });

  it("S13 queues a delay warning with headers alone, and logs it as one", async () => {
    const reporting = new FakeReporting();
    reporting.answer = { ...delayed, envelope: { ...owed.envelope, ret: "FULL" } };
    const { end, lines } = await run(reporting);
    assert.equal(end, "queued");
    const content = reporting.queued[0]?.content.inline;
    assert(content !== undefined);
    assert(content.includes("Action: delayed"));
    assert.equal(content.includes("body"), false);
    assert.equal(reporting.queued[0]?.envelope.sender, "");
    assert(lines.includes("M1: sender delay notification: R1"), lines.join("\n"));
  });

  it("S13 warns only of recipients without NOTIFY or with DELAY, and never a null sender", async () => {
    const reporting = new FakeReporting();
    const [joe] = delayed.recipients;
    assert(joe !== undefined);
    const quiet = { ...joe, number: 1, address: "quiet@x.example", notify: ["FAILURE"] } as const;
    const asked = { ...joe, number: 2, address: "asked@x.example", notify: ["DELAY"] } as const;
    reporting.answer = { ...delayed, recipients: [joe, quiet, asked] };
    assert.equal((await run(reporting)).end, "queued");
    const content = reporting.queued[0]?.content.inline;
    assert(content !== undefined);
    assert(content.includes("joe@far.example") && content.includes("asked@x.example"));
    assert.equal(content.includes("quiet@x.example"), false);
    reporting.answer = { ...delayed, recipients: [quiet] };
    const { end, lines } = await run(reporting);
    assert.equal(end, "dropped");
    assert(
      lines.some((line) => line.startsWith("M1: no delay notification: ")),
      lines.join("\n"),
    );
    reporting.answer = { ...delayed, envelope: { ...owed.envelope, sender: "" } };
    assert.equal((await run(reporting)).end, "dropped");
    assert.deepEqual(reporting.queued.slice(1), [undefined, undefined]);
  });

  it("sends the report even when the content can't be read", async () => {
    const reporting = new FakeReporting();
    reporting.contentTrouble = new PostmqError("PMQ_MESSAGE_UNREADABLE", "a chunk is missing");
    assert.equal((await run(reporting)).end, "queued");
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
