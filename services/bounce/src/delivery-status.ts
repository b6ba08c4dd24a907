/**
 * The part of a report that programs read: what happened to the message, and to each of its recipients.
 *
 * Source: RFC 3464 §2; RFC 6533 §3; spec delivery.md §9 "Format", S12, S13.
 */
import { formatMailDate } from "@postmq/mail-format";
import type { StoredRecipient } from "@postmq/vocabulary";
import type { ReportInput } from "./compose-report.ts";
import { oneLine, wrap } from "./sanitise.ts";

/** Fields about the message, then one block for each recipient. */
export function deliveryStatus(
  input: Pick<
    ReportInput,
    "id" | "kind" | "envelope" | "arrivalMs" | "recipients" | "myhostname" | "lifetimeMs"
  >,
  isUtf8: boolean,
): string {
  const { envelope } = input;
  const type = addressType(isUtf8);
  const message = [
    field("Reporting-MTA", `dns; ${input.myhostname}`, isUtf8),
    ...(envelope.envid === undefined
      ? []
      : [field("Original-Envelope-Id", envelope.envid, isUtf8)]),
    field("X-Postfix-Queue-ID", input.id, isUtf8),
    field("X-Postfix-Sender", `${type}; ${envelope.sender}`, isUtf8),
    field("Arrival-Date", formatMailDate(input.arrivalMs), isUtf8),
  ];
  const ending =
    input.kind === "delay" ? [field("Will-Retry-Until", retriedUntil(input), isUtf8)] : [];
  const action = input.kind === "delay" ? "delayed" : "failed";
  const recipients = input.recipients.map((recipient) => [
    ...recipientFields(recipient, action, isUtf8),
    ...ending,
  ]);
  return [message, ...recipients].map((block) => `${block.join("\r\n")}\r\n`).join("\r\n");
}

/** When it is given up: RFC 3464 §2.3.9; only a message with a sender is warned about, so it is that lifetime. */
function retriedUntil({ arrivalMs, lifetimeMs }: Pick<ReportInput, "arrivalMs" | "lifetimeMs">) {
  return formatMailDate(arrivalMs + lifetimeMs);
}

function recipientFields(
  recipient: StoredRecipient,
  action: "failed" | "delayed",
  isUtf8: boolean,
): readonly string[] {
  const { state } = recipient;
  const hasReason = state.kind === "failed" || state.kind === "deferred";
  const remote = hasReason ? state.remote : undefined;
  const diagnostic =
    remote?.reply === undefined
      ? `X-Postfix; ${hasReason ? state.reason : "delivery failed"}`
      : `smtp; ${remote.reply}`;
  return [
    field("Final-Recipient", `${addressType(isUtf8)}; ${recipient.address}`, isUtf8),
    ...originalRecipient(recipient, isUtf8),
    field("Action", action, isUtf8),
    field("Status", hasReason ? state.status : "5.0.0", isUtf8),
    ...(remote === undefined ? [] : [field("Remote-MTA", `dns; ${remote.host}`, isUtf8)]),
    field("Diagnostic-Code", diagnostic, isUtf8),
  ];
}

/** ORCPT as it was given, else the address before rewriting. */
function originalRecipient(recipient: StoredRecipient, isUtf8: boolean): readonly string[] {
  if (recipient.orcpt !== undefined) return [field("Original-Recipient", recipient.orcpt, isUtf8)];
  if (recipient.original === undefined || recipient.original === "") return [];
  return [field("Original-Recipient", `${addressType(isUtf8)}; ${recipient.original}`, isUtf8)];
}

function addressType(isUtf8: boolean): string {
  return isUtf8 ? "utf-8" : "rfc822";
}

function field(name: string, value: string, isUtf8: boolean): string {
  return wrap(`${name}: ${oneLine(value, isUtf8)}`);
}
