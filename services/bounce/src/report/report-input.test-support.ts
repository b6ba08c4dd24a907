/** What reports are made from, for tests. */
import assert from "node:assert/strict";

import { enhancedStatus, parseQueueId } from "@postmq/vocabulary";
import type { QueueId, StoredRecipient } from "@postmq/vocabulary";

import { reportSettings } from "../report-settings.test-support.ts";
import type { ReportInput } from "./report-input.ts";

export function queueId(text: string): QueueId {
  const id = parseQueueId(text);
  assert(id !== undefined);
  return id;
}

const server = { host: "mx.far.example", address: "192.0.2.1", port: 25 };

export const refused: StoredRecipient = {
  number: 0,
  address: "joe@far.example",
  original: "info@near.example",
  orcpt: "rfc822;Info@near.example",
  state: {
    kind: "failed",
    status: enhancedStatus("5.1.1"),
    reason:
      "host mx.far.example[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
    remote: { ...server, reply: "550 5.1.1 no such user" },
  },
};

export const later: StoredRecipient = {
  ...refused,
  state: {
    kind: "deferred",
    status: enhancedStatus("4.2.1"),
    reason: "host mx.far.example[192.0.2.1] said: 450 4.2.1 later",
    remote: { ...server, reply: "450 4.2.1 later" },
  },
};

export const relayed: StoredRecipient = {
  ...refused,
  notify: ["SUCCESS"],
  state: {
    kind: "sent",
    action: "relayed",
    status: enhancedStatus("2.0.0"),
    reason: "250 2.0.0 Ok: queued as 12345",
    remote: { ...server, reply: "250 2.0.0 Ok: queued as 12345" },
  },
};

export const original = Buffer.from(
  "Subject: hello\r\nMessage-ID: <one@x.example>\r\nX-Odd: .dot\r\n\r\n.line\r\nlast",
);

export const failureInput: ReportInput = {
  id: queueId("4Fq0000000zABCDEF"),
  reportId: queueId("4Fq0000001zABCDEF"),
  notice: {
    to: "sender",
    kind: "failure",
    from: "",
    recipient: "sender@x.example",
    about: [refused],
    content: "whole",
  },
  envelope: { sender: "sender@x.example", origin: "smtp", envid: "env+1" },
  arrivalMs: Date.UTC(2026, 10, 21, 10, 0, 0),
  nowMs: Date.UTC(2026, 10, 21, 10, 5, 0),
  returned: { kind: "whole", bytes: original },
  settings: reportSettings,
};

/** The input with parts of it, of its notice and of its settings changed. */
export function inputWith(
  changes: Partial<Omit<ReportInput, "notice" | "settings">> & {
    readonly notice?: Partial<ReportInput["notice"]>;
    readonly settings?: Partial<ReportInput["settings"]>;
  } = {},
): ReportInput {
  return {
    ...failureInput,
    ...changes,
    notice: { ...failureInput.notice, ...changes.notice },
    settings: { ...failureInput.settings, ...changes.settings },
  };
}

const headers = Buffer.from("Subject: hello\r\nMessage-ID: <one@x.example>\r\n");

export const delayInput = inputWith({
  notice: { kind: "delay", about: [later], content: "headers" },
  returned: { kind: "headers", bytes: headers },
});

export const successInput = inputWith({
  notice: { kind: "success", about: [relayed], content: "headers" },
  returned: { kind: "headers", bytes: headers },
});
