/**
 * Recorded output of Postfix's own tools, read back into the records that must produce it again.
 *
 * Source: docs/spec/samples/README.md.
 */
import { readFileSync } from "node:fs";

import type { ListedMessage } from "@postmq/queue-store";
import { enhancedStatus, isMessageQueue, panic, parseQueueId } from "@postmq/vocabulary";
import type { MessageQueue, StoredRecipient } from "@postmq/vocabulary";

const samples = new URL("../../../docs/spec/samples/", import.meta.url);

export type RecordedCommand = { readonly command: string; readonly output: string };

export function readSample(file: string): string {
  return readFileSync(new URL(file, samples), "utf8");
}

/** The commands of a sample file with what each printed. */
export function recordedCommands(file: string): readonly RecordedCommand[] {
  return readSample(file)
    .split(/^\(exit status \d+\)\n/m)
    .filter((block) => block.startsWith("$ "))
    .map((block) => {
      const end = block.indexOf("\n");
      return { command: block.slice(2, end), output: block.slice(end + 1) };
    });
}

type ListedParts = {
  readonly id: string;
  readonly queue: MessageQueue;
  readonly arrivalMs: number;
  readonly sizeBytes: number;
  readonly sender: string;
  readonly isForceExpired?: boolean;
  readonly recipients: readonly { readonly address: string; readonly reason?: string }[];
};

export function listedMessage(parts: ListedParts): ListedMessage {
  const recipients = parts.recipients.map(({ address, reason }, number): StoredRecipient => ({
    address,
    number,
    state:
      reason === undefined
        ? { kind: "todo" }
        : { kind: "deferred", status: enhancedStatus("4.0.0"), reason },
  }));
  return {
    id: parseQueueId(parts.id) ?? panic(`bad queue id ${parts.id}`),
    queue: parts.queue,
    generation: 1,
    arrivalMs: parts.arrivalMs,
    createdMs: parts.arrivalMs,
    sizeBytes: parts.sizeBytes,
    content: { contentId: parts.id, sizeBytes: parts.sizeBytes, chunks: 1 },
    envelope: { sender: parts.sender, origin: "smtp" },
    isForceExpired: parts.isForceExpired ?? false,
    attempts: 0,
    recipients,
    undoneRecipients: recipients.length,
    totalRecipients: recipients.length,
    isSurplus: false,
  };
}

/** The messages behind a recorded `postqueue -p`. The year, which it does not tell, is that of the recording. */
export function messagesOfMailq(output: string): readonly ListedMessage[] {
  return output
    .replace(/^postqueue: .*\n/, "")
    .replace(/^----Queue ID.*\n/, "")
    .replace(/^-- \d+ Kbytes.*\n/m, "")
    .split("\n\n")
    .filter((block) => block.trim() !== "")
    .map(messageOfBlock);
}

function messageOfBlock(block: string): ListedMessage {
  const [first = "", ...rest] = block.split("\n");
  const fields = /^(\w+)([*!#]*) +(\d+) (\w{3} \w{3} [ \d]\d [\d:]{8}) (.*)$/.exec(first);
  const [, id = "", marks = "", size = "", time = "", sender = ""] =
    fields ?? panic(`unreadable sample: ${first}`);
  let reason: string | undefined;
  const recipients: { address: string; reason?: string }[] = [];
  for (const line of rest.map((text) => text.trim()).filter((text) => text !== "")) {
    if (line.startsWith("(")) reason = line.slice(1, -1);
    else recipients.push({ address: line, ...(reason === undefined ? {} : { reason }) });
  }
  return listedMessage({
    id,
    queue: marks.startsWith("*") ? "active" : marks.startsWith("!") ? "hold" : "deferred",
    arrivalMs: Date.parse(`${time} 2026 UTC`),
    sizeBytes: Number(size),
    sender: sender === "MAILER-DAEMON" ? "" : sender,
    isForceExpired: marks.endsWith("#"),
    recipients,
  });
}

type RecordedObject = {
  readonly queue_name: string;
  readonly queue_id: string;
  readonly arrival_time: number;
  readonly message_size: number;
  readonly forced_expire: boolean;
  readonly sender: string;
  readonly recipients: readonly { readonly address: string; readonly delay_reason?: string }[];
};

/** The message behind a line of a recorded `postqueue -j`. */
export function messageOfJsonLine(line: string): ListedMessage {
  const object = JSON.parse(line) as RecordedObject;
  return listedMessage({
    id: object.queue_id,
    queue: isMessageQueue(object.queue_name) ? object.queue_name : panic("unknown queue"),
    arrivalMs: object.arrival_time * 1000 + 999,
    sizeBytes: object.message_size,
    sender: object.sender === "MAILER-DAEMON" ? "" : object.sender,
    isForceExpired: object.forced_expire,
    recipients: object.recipients.map(({ address, delay_reason: reason }) =>
      reason === undefined ? { address } : { address, reason },
    ),
  });
}
