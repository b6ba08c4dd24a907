/**
 * The part of a report that programs read: what happened to the message, and to each of its recipients.
 *
 * Source: RFC 3464 §2; RFC 6533 §3; spec delivery.md §9 "Format", D31, S12, S13.
 */
import { formatMailDate } from "@postmq/mail-format";
import type { ReportKind } from "@postmq/queue-store";
import type { RecipientState, StoredRecipient } from "@postmq/vocabulary";
import { nullSenderName } from "./null-sender-name.ts";
import type { ReportInput } from "./report-input.ts";
import { oneLine, wrap, wrapOnlyIfTooLong } from "./sanitise.ts";

/** Fields about the message, then one block for each recipient. */
export function deliveryStatus(
  input: Pick<ReportInput, "id" | "notice" | "envelope" | "arrivalMs" | "settings">,
  isUtf8: boolean,
): string {
  const { envelope, notice, settings, arrivalMs } = input;
  const sender = envelope.sender === "" ? nullSenderName(settings) : envelope.sender;
  const message = [
    field("Reporting-MTA", `dns; ${settings.myhostname}`, isUtf8),
    ...(envelope.envid === undefined
      ? []
      : [field("Original-Envelope-Id", envelope.envid, isUtf8)]),
    field("X-Postfix-Queue-ID", input.id, isUtf8),
    field("X-Postfix-Sender", typedAddress(sender, isUtf8), isUtf8),
    field("Arrival-Date", formatMailDate(arrivalMs), isUtf8),
  ];
  // RFC 3464 §2.3.9. Only a message with a sender is warned about, so it is that lifetime.
  const retriedUntil = formatMailDate(arrivalMs + settings.lifetimeMs);
  const ending = notice.kind === "delay" ? [field("Will-Retry-Until", retriedUntil, isUtf8)] : [];
  const recipients = notice.about.map((recipient) => [
    ...recipientFields(recipient, notice.kind, isUtf8),
    ...ending,
  ]);
  return [message, ...recipients].map((block) => `${block.join("\r\n")}\r\n`).join("\r\n");
}

function recipientFields(
  recipient: StoredRecipient,
  kind: ReportKind,
  isUtf8: boolean,
): readonly string[] {
  const { state } = recipient;
  const told = "reason" in state ? state : undefined;
  const remote = told?.remote;
  const diagnostic =
    remote?.reply === undefined
      ? `X-Postfix; ${told?.reason ?? "delivery failed"}`
      : `smtp; ${remote.reply}`;
  return [
    field("Final-Recipient", typedAddress(recipient.address, isUtf8), isUtf8),
    originalRecipient(recipient, isUtf8),
    field("Action", action(kind, state), isUtf8),
    field("Status", told?.status ?? "5.0.0", isUtf8),
    ...(remote === undefined ? [] : [wrappedField("Remote-MTA", `dns; ${remote.host}`, isUtf8)]),
    wrappedField("Diagnostic-Code", diagnostic, isUtf8),
  ];
}

/** Source: RFC 3464 §2.3.3; an expired message failed, whatever its last status says (S12). */
function action(kind: ReportKind, state: RecipientState): string {
  switch (kind) {
    case "failure":
    case "expired":
      return "failed";
    case "delay":
      return "delayed";
    case "success":
      return state.kind === "sent" ? state.action : "relayed";
  }
}

/**
 * ORCPT as it was given, else the address before rewriting.
 *
 * Departs: RFC 3464 §2.3.1 wants none where no ORCPT was given; Postfix writes one always, since it may add an ORCPT when
 * it relays, and then the next hop's reports have it.
 */
function originalRecipient({ address, original, orcpt }: StoredRecipient, isUtf8: boolean): string {
  const given = orcpt === undefined || orcpt === "" ? undefined : orcpt;
  const before = original === undefined || original === "" ? address : original;
  const value = given ?? `${addressType(before)};${before}`;
  return field("Original-Recipient", isUtf8 ? value : inAscii(value), isUtf8);
}

/** The type is that of the address: a report in UTF-8 may speak of plain ones too. */
function typedAddress(address: string, isUtf8: boolean): string {
  return `${addressType(address)}; ${isUtf8 ? address : inAscii(address)}`;
}

function addressType(address: string): "rfc822" | "utf-8" {
  return /^[\0-\x7f]*$/.test(address) ? "rfc822" : "utf-8";
}

/** Source: RFC 6533 §3 (utf-8-addr-unitext). */
function inAscii(address: string): string {
  return address.replaceAll(/[^\0-\x7f]/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0xfffd).toString(16).toUpperCase();
    return `\\x{${code}}`;
  });
}

function field(name: string, value: string, isUtf8: boolean): string {
  return wrapOnlyIfTooLong(`${name}: ${oneLine(value, isUtf8)}`);
}

function wrappedField(name: string, value: string, isUtf8: boolean): string {
  return wrap(`${name}: ${oneLine(value, isUtf8)}`);
}
