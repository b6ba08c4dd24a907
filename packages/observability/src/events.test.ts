import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { makeQueueId } from "@postmq/vocabulary";
import {
  logClient,
  logConnect,
  logDelivery,
  logDisconnect,
  logExpired,
  logLostConnection,
  logMessageId,
  logNotification,
  logPickup,
  logQueueActive,
  logReject,
  logRemoved,
} from "./events.ts";
import { openLog } from "./log.ts";
import type { Log } from "./log.ts";

const id = makeQueueId(1_700_000_000_000_000, 5);
const reportId = makeQueueId(1_700_000_001_000_000, 6);
const client = { name: "client.example.com", address: "192.0.2.7" };
const delays = { beforeActive: 0, inActive: 10, connectionSetup: 0, transmission: 10 };

/** The text after `service[pid]: `, the queue id replaced by QID. */
function textOf(act: (log: Log) => void): string {
  let written = "";
  act(openLog({ syslogName: "postfix", service: "x", write: (lines) => (written += lines) }));
  return written
    .replace(/^.*?\]: /, "")
    .replace(id, "QID")
    .trimEnd();
}

/** The members of the JSON line that tell of the event itself. */
function fieldsOf(act: (log: Log) => void): unknown {
  let written = "";
  const write = (lines: string) => void (written += lines);
  act(openLog({ syslogName: "postfix", service: "x", format: "json", write }));
  const { time: _time, host: _host, program: _program, pid: _pid, ...fields } = JSON.parse(written);
  return fields;
}

/** The shapes of lines that a real Postfix wrote: values replaced by letters. */
function postfixShapes(): ReadonlySet<string> {
  const file = new URL("../../../docs/spec/samples/maillog.txt", import.meta.url);
  const lines = readFileSync(file, "utf8").split("\n");
  return new Set(
    lines.map((line) => shape(line.replace(/^.*?\]: /, "").replace(/^[0-9A-F]{10,}/, "QID"))),
  );
}

function shape(text: string): string {
  return text
    .replaceAll(/<[^>]*>/g, "<A>")
    .replaceAll(/\([^()]*(?:\([^()]*\))?\)/g, "(T)")
    .replaceAll(/relay=[^,]*/g, "relay=R")
    .replaceAll(/\d+(?:\.\d+)*/g, "N");
}

describe("events", () => {
  it("delivery 8: one line per recipient per attempt, in Postfix's grammar", () => {
    const event = {
      id,
      recipient: "bob@example.com",
      relay: "mx.example.com[192.0.2.1]:25",
      delays,
      dsn: "4.2.2",
      status: "deferred",
      text: "host mx.example.com[192.0.2.1] said: 452 4.2.2 Mailbox is full (in reply to RCPT TO command)",
      delayDecimals: 2,
    } as const;
    const line = textOf((log) => logDelivery(log, event));
    assert.equal(
      line,
      "QID: to=<bob@example.com>, relay=mx.example.com[192.0.2.1]:25, delay=0.02, delays=0/0.01/0/0.01, " +
        "dsn=4.2.2, status=deferred (host mx.example.com[192.0.2.1] said: 452 4.2.2 Mailbox is full " +
        "(in reply to RCPT TO command))",
    );
    assert.ok(postfixShapes().has(shape(line)), "a real Postfix logged lines of this shape");
  });

  it("delivery 8: orig_to only if it differs other than in case, conn_use only on reuse, relay=none", () => {
    const event = {
      id,
      recipient: "bob@example.com",
      delays,
      dsn: "2.0.0",
      status: "sent",
      text: "250 ok",
      delayDecimals: 2,
    } as const;
    const line = (more: object) => textOf((log) => logDelivery(log, { ...event, ...more }));
    assert.match(
      line({ originalRecipient: "Bob@Example.com" }),
      /to=<bob@example\.com>, relay=none, delay=/,
    );
    assert.match(
      line({ originalRecipient: "staff@example.com" }),
      /orig_to=<staff@example\.com>, relay/,
    );
    assert.match(line({ connectionUses: 3 }), /relay=none, conn_use=3, delay=/);
    assert.doesNotMatch(line({ connectionUses: 1 }), /conn_use/);
  });

  it("queues 3: queue active, removed, expired, message-id", () => {
    const active = { id, sender: "alice@example.org", sizeBytes: 657, recipients: 1 };
    const line = textOf((log) => logQueueActive(log, active));
    assert.equal(line, "QID: from=<alice@example.org>, size=657, nrcpt=1 (queue active)");
    assert.ok(postfixShapes().has(shape(line)));
    assert.equal(
      textOf((log) => logRemoved(log, id)),
      "QID: removed",
    );
    assert.equal(
      textOf((log) => logExpired(log, { id, sender: "a@b" })),
      "QID: from=<a@b>, status=expired, returned to sender",
    );
    assert.match(
      textOf((log) => logExpired(log, { id, sender: "", isForced: true })),
      /<>, status=force-expired/,
    );
    assert.equal(
      textOf((log) => logMessageId(log, id, "<x@y>")),
      "QID: message-id=<x@y>",
    );
  });

  it("smtpd: connect, client, reject, lost connection, disconnect with counts", () => {
    assert.equal(
      textOf((log) => logConnect(log, client)),
      "connect from client.example.com[192.0.2.7]",
    );
    assert.equal(
      textOf((log) => logConnect(log, { name: "", address: "::1" })),
      "connect from unknown[::1]",
    );
    assert.equal(
      textOf((log) => logClient(log, id, { ...client, saslMethod: "PLAIN", saslUsername: "u" })),
      "QID: client=client.example.com[192.0.2.7], sasl_method=PLAIN, sasl_username=u",
    );
    assert.equal(
      textOf((log) =>
        logReject(log, {
          command: "RCPT",
          client,
          reply: "454 4.7.1 <x@y>: Relay access denied",
          sender: "a@b",
          recipient: "x@y",
          protocol: "ESMTP",
          helo: "me",
        }),
      ),
      "NOQUEUE: reject: RCPT from client.example.com[192.0.2.7]: 454 4.7.1 <x@y>: Relay access denied; " +
        "from=<a@b> to=<x@y> proto=ESMTP helo=<me>",
    );
    assert.equal(
      textOf((log) => logLostConnection(log, client, { after: "DATA", how: "timeout" })),
      "timeout after DATA from client.example.com[192.0.2.7]",
    );
    const counts = new Map([
      ["ehlo", { accepted: 1, all: 1 }],
      ["rcpt", { accepted: 0, all: 2 }],
      ["data", { accepted: 0, all: 0 }],
    ]);
    assert.equal(
      textOf((log) => logDisconnect(log, client, counts)),
      "disconnect from client.example.com[192.0.2.7] ehlo=1 rcpt=0/2 commands=1/3",
    );
  });

  it("pickup and bounce say what they took and queued", () => {
    assert.equal(
      textOf((log) => logPickup(log, id, { uid: 1000, sender: "a@b" })),
      "QID: uid=1000 from=<a@b>",
    );
    let written = "";
    const write = (lines: string) => void (written += lines);
    const cleanup = openLog({ syslogName: "postfix", service: "cleanup", write });
    logPickup(cleanup, id, { uid: undefined, sender: "a@b" });
    assert.match(written, /^\S+ \S+ postfix\/pickup\[\d+\]: \w+: uid=unknown from=<a@b>\n$/);
    assert.equal(
      textOf((log) => logNotification(log, { id, to: "sender", kind: "non-delivery", reportId })),
      `QID: sender non-delivery notification: ${reportId}`,
    );
  });
});

describe("events as fields (log_format = json)", () => {
  const info = { level: "info" } as const;

  it("delivery 8: the fields of the delivery line as values", () => {
    const event = {
      id,
      recipient: "bob@example.com",
      originalRecipient: "staff@example.com",
      relay: "mx.example.com[192.0.2.1]:25",
      connectionUses: 3,
      delays: { beforeActive: 1234, inActive: 10, connectionSetup: 0, transmission: 10 },
      dsn: "2.0.0",
      status: "sent",
      text: "250 2.0.0 Ok: queued as 42",
      delayDecimals: 2,
    } as const;
    assert.deepEqual(
      fieldsOf((log) => logDelivery(log, event)),
      {
        ...info,
        id,
        event: "delivery",
        to: "bob@example.com",
        orig_to: "staff@example.com",
        relay: "mx.example.com[192.0.2.1]:25",
        conn_use: 3,
        delay: 1.3,
        delays: [1.2, 0.01, 0, 0.01],
        dsn: "2.0.0",
        status: "sent",
        reason: "250 2.0.0 Ok: queued as 42",
      },
    );
    const { relay: _, ...alone } = event;
    assert.deepEqual(
      fieldsOf((log) =>
        logDelivery(log, { ...alone, originalRecipient: "BOB@example.com", connectionUses: 1 }),
      ),
      {
        ...info,
        id,
        event: "delivery",
        to: "bob@example.com",
        relay: "none",
        delay: 1.3,
        delays: [1.2, 0.01, 0, 0.01],
        dsn: "2.0.0",
        status: "sent",
        reason: "250 2.0.0 Ok: queued as 42",
      },
    );
  });

  it("what becomes of a message", () => {
    const active = { id, sender: "a@b", sizeBytes: 657, recipients: 1 };
    assert.deepEqual(
      fieldsOf((log) => logQueueActive(log, active)),
      { ...info, id, event: "queue active", from: "a@b", size: 657, nrcpt: 1 },
    );
    assert.deepEqual(
      fieldsOf((log) => logRemoved(log, id)),
      { ...info, id, event: "removed" },
    );
    assert.deepEqual(
      fieldsOf((log) => logExpired(log, { id, sender: "a@b" })),
      { ...info, id, event: "expired", from: "a@b", status: "expired" },
    );
    assert.deepEqual(
      fieldsOf((log) => logNotification(log, { id, to: "sender", kind: "delay", reportId })),
      { ...info, id, event: "notification", notified: "sender", kind: "delay", report: reportId },
    );
  });

  it("how a message came", () => {
    const shown = "client.example.com[192.0.2.7]";
    assert.deepEqual(
      fieldsOf((log) => logMessageId(log, id, "<x@y>")),
      { ...info, id, event: "message-id", message_id: "<x@y>" },
    );
    assert.deepEqual(
      fieldsOf((log) => logPickup(log, id, { uid: 1000, sender: "a@b" })),
      { ...info, id, event: "pickup", uid: 1000, from: "a@b" },
    );
    assert.deepEqual(
      fieldsOf((log) => logConnect(log, client)),
      { ...info, event: "connect", client: shown },
    );
    assert.deepEqual(
      fieldsOf((log) => logClient(log, id, { ...client, saslMethod: "PLAIN", saslUsername: "u" })),
      { ...info, id, event: "client", client: shown, sasl_method: "PLAIN", sasl_username: "u" },
    );
    const reject = { command: "RCPT", client, reply: "454 4.7.1 no", protocol: "ESMTP" };
    assert.deepEqual(
      fieldsOf((log) => logReject(log, { ...reject, recipient: "x@y" })),
      {
        ...info,
        event: "reject",
        command: "RCPT",
        client: shown,
        reply: "454 4.7.1 no",
        to: "x@y",
        proto: "ESMTP",
      },
    );
    assert.deepEqual(
      fieldsOf((log) => logLostConnection(log, client, { after: "DATA", how: "timeout" })),
      { ...info, event: "timeout", after: "DATA", client: shown },
    );
    const counts = new Map([
      ["ehlo", { accepted: 1, all: 1 }],
      ["rcpt", { accepted: 0, all: 2 }],
    ]);
    assert.deepEqual(
      fieldsOf((log) => logDisconnect(log, client, counts)),
      { ...info, event: "disconnect", client: shown, ehlo: 1, rcpt: 0, rcpt_refused: 2 },
    );
  });
});
