/**
 * The lines of an export: one JSON object each, in a form that is kept (docs/BACKUP.md).
 *
 * First a header; a line per message, whose last member is its content in parts, so that large content needs never be in
 * memory whole; with --delete a checkpoint behind each batch that is gone from the queues; last an `end` with the counts,
 * which tells that the file is whole.
 *
 * Source: docs/BACKUP.md.
 */
import type { CopiedRecipient, MessageCopy } from "@postmq/queue-store";
import type { ClientAttributes, Envelope, RecipientState, RemoteReply } from "@postmq/vocabulary";

/** Of the format: a reader refuses a later one. */
export const exportVersion = 1;

export type ExportHeader = {
  /** Names this export, over all its runs. */
  readonly exportId: string;
  readonly instance: string;
  readonly exportedAtMs: number;
  /** Messages were deleted once they were in the file. */
  readonly deletes: boolean;
};

export type ExportCounts = {
  readonly messages: number;
  /** Somebody was at work on them, or they changed meanwhile: they stayed. Only with --delete. */
  readonly busy: number;
  readonly unreadable: number;
};

export function headerLine(header: ExportHeader): string {
  return line({
    postmq_export: exportVersion,
    export_id: header.exportId,
    instance: header.instance,
    exported_at: new Date(header.exportedAtMs).toISOString(),
    deletes: header.deletes,
  });
}

export function checkpointLine(batch: number): string {
  return line({ checkpoint: batch });
}

export function endLine(counts: ExportCounts): string {
  return line({ end: counts });
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

/** What stands before the parts of the content, without whose end the line is no JSON. */
export const contentMark = ',"content":[';
/** After the last part. */
export const messageEnd = "]}\n";
/** In its place, when the message went away while its content was read. */
export const incompleteEnd = '],"incomplete":true}\n';

/** A message's line as far as its content. */
export function messageHead(copy: MessageCopy, sizeBytes: number): string {
  const head = JSON.stringify({
    id: copy.id,
    queue: copy.queue,
    arrival_ms: copy.arrivalMs,
    created_ms: copy.createdMs,
    size_bytes: sizeBytes,
    envelope: envelopeJson(copy.envelope),
    recipients: copy.recipients.map(recipientJson),
    attempts: copy.attempts,
    last_attempt_ms: copy.lastAttemptMs,
    due_ms: copy.dueMs,
    force_expired: copy.isForceExpired,
    warned: copy.wasWarned,
    finished: copy.isFinished,
    corrupt_reason: copy.corruptReason,
  });
  return head.slice(0, -1) + contentMark;
}

/** One part of the content. @param isFirst no comma before it */
export function contentPart(part: Buffer, isFirst: boolean): string {
  return `${isFirst ? "" : ","}"${part.toString("base64")}"`;
}

function envelopeJson(envelope: Envelope) {
  return {
    sender: envelope.sender,
    origin: envelope.origin,
    full_name: envelope.fullName,
    encoding: envelope.encoding,
    smtputf8: envelope.smtputf8,
    require_tls: envelope.requireTls,
    envid: envelope.envid,
    ret: envelope.ret,
    verp_delimiters: envelope.verpDelimiters,
    client: envelope.client === undefined ? undefined : clientJson(envelope.client),
    content_filter: envelope.contentFilter,
    extract_recipients: envelope.extractRecipients,
    extracted_notify: envelope.extractedNotify,
  };
}

function clientJson(client: ClientAttributes) {
  return {
    name: client.name,
    address: client.address,
    port: client.port,
    helo: client.helo,
    protocol: client.protocol,
    sasl_method: client.saslMethod,
    sasl_username: client.saslUsername,
    uid: client.uid,
  };
}

function recipientJson(recipient: CopiedRecipient) {
  return {
    number: recipient.number,
    address: recipient.address,
    original: recipient.original,
    orcpt: recipient.orcpt,
    notify: recipient.notify,
    ...stateJson(recipient.state),
  };
}

function stateJson(state: RecipientState) {
  if (state.kind === "todo") return {};
  if (state.kind === "done") return { state: state.kind };
  return {
    state: state.kind,
    action: state.kind === "sent" ? state.action : undefined,
    status: state.status,
    reason: state.reason,
    remote: state.remote === undefined ? undefined : remoteJson(state.remote),
  };
}

function remoteJson(remote: RemoteReply) {
  return {
    host: remote.host,
    address: remote.address,
    port: remote.port,
    reply: remote.reply,
  };
}
