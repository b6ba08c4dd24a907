/**
 * A queue file that Postfix's daemons wrote, read into the message that it holds.
 *
 * Source: Postfix src/global/record.c, rec_type.h, src/global/rec_attr_map.c.
 */
import { notifyConditions } from "@postmq/vocabulary";
import type { ClientAttributes, Envelope, NotifyCondition, QueueId } from "@postmq/vocabulary";

import type { QueuedMail } from "./queued-mail.ts";

type FileRecord = { readonly type: string; readonly text: string };

const dayMs = 86_400_000;

/** The message as of deferred. */
export function readSpoolFile(id: QueueId, file: Buffer): QueuedMail {
  const records = [...recordsOf(file)];
  const start = records.findIndex(({ type }) => type === "M");
  const end = records.findIndex(({ type }) => type === "X");
  const envelope = records.slice(0, start);
  const attributes = new Map(
    [...envelope, ...records.slice(end)]
      .filter(({ type }) => type === "A")
      .map(({ text }) => [text.replace(/=.*$/s, ""), text.replace(/^[^=]*=/, "")] as const),
  );
  const first = (type: string) => envelope.find((record) => record.type === type)?.text ?? "";
  const [seconds = "0", us = "0"] = first("T").split(" ");
  const lines = records.slice(start + 1, end);
  return {
    queue: "deferred",
    content: lines.map(({ type, text }) => (type === "L" ? text : `${text}\n`)).join(""),
    copy: {
      id,
      queue: "deferred",
      arrivalMs: Number(seconds) * 1000 + Math.floor(Number(us) / 1000),
      createdMs: Number(attributes.get("create_time")) * 1000,
      envelope: envelopeOf(attributes, first),
      recipients: recipientsOf(envelope),
      attempts: 1,
      dueMs: Date.now() + dayMs,
      isForceExpired: false,
      wasWarned: false,
      isFinished: false,
    },
  };
}

function envelopeOf(
  attributes: ReadonlyMap<string, string>,
  first: (type: string) => string,
): Envelope {
  const client = clientOf(attributes);
  const encoding = attributes.get("encoding");
  const envid = attributes.get("envelope_id");
  const ret = attributes.get("ret_flags");
  return {
    sender: quoted(first("S")),
    origin: client !== undefined ? "smtp" : attributes.has("trace_flags") ? "bounce" : "sendmail",
    ...(client === undefined ? {} : { client }),
    ...(first("F") === "" ? {} : { fullName: first("F") }),
    ...(first("V") === "" ? {} : { verpDelimiters: first("V") }),
    ...(encoding === "8bit" || encoding === "7bit" ? { encoding } : {}),
    ...(envid === undefined ? {} : { envid }),
    ...(ret === undefined ? {} : { ret: ret === "1" ? "FULL" : "HDRS" }),
  };
}

function clientOf(attributes: ReadonlyMap<string, string>): ClientAttributes | undefined {
  const name = attributes.get("client_name");
  if (name === undefined) return undefined;
  return {
    name,
    address: attributes.get("client_address") ?? "",
    port: Number(attributes.get("client_port")),
    helo: attributes.get("helo_name") ?? "",
    protocol: attributes.get("protocol_name") ?? "",
  };
}

function recipientsOf(envelope: readonly FileRecord[]): QueuedMail["copy"]["recipients"] {
  const recipients: QueuedMail["copy"]["recipients"][number][] = [];
  let notify: readonly NotifyCondition[] = [];
  let original = "";
  for (const { type, text } of envelope) {
    const bits = /^notify_flags=(\d+)$/.exec(text)?.[1];
    if (type === "A" && bits !== undefined) {
      notify = notifyConditions.filter((_, bit) => (Number(bits) & (1 << bit)) !== 0);
    }
    if (type === "O") original = text;
    if (type !== "R" && type !== "D") continue;
    recipients.push({
      address: quoted(text),
      ...(original === text ? {} : { original }),
      ...(notify.length === 0 ? {} : { notify }),
      state: { kind: type === "D" ? "done" : "todo" },
    });
    notify = [];
  }
  return recipients;
}

/** As postmq keeps it: a local part with a blank in quotes. */
function quoted(address: string): string {
  return address.replace(/^(.* .*)@/, '"$1"@');
}

function* recordsOf(file: Buffer): Generator<FileRecord> {
  let at = 0;
  while (at < file.length) {
    const type = String.fromCharCode(file[at] ?? 0);
    let length = 0;
    let shift = 0;
    let byte: number;
    do {
      at += 1;
      byte = file[at] ?? 0;
      length |= (byte & 0x7f) << shift;
      shift += 7;
    } while ((byte & 0x80) !== 0);
    at += 1;
    yield { type, text: file.subarray(at, at + length).toString() };
    at += length;
  }
}
