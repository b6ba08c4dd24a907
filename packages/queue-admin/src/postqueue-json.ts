/**
 * The object that `postqueue -j` prints for a message, byte for byte as Postfix writes it.
 *
 * Source: spec admin-tools.md §1 "-j"; postqueue(1) "JSON OBJECT FORMAT"; Postfix src/postqueue/showq_json.c.
 */
import type { ListedMessage } from "@postmq/queue-store";

import { shownAddress, shownRecipients } from "./shown-recipients.ts";
import type { ShownRecipient } from "./shown-recipients.ts";

/**
 * One line, its line feed included.
 *
 * @param emptyAddress what stands for the null address: `empty_address_recipient`
 */
export function postqueueJsonLine(message: ListedMessage, emptyAddress: string): string {
  const recipients = shownRecipients(message, emptyAddress).map(recipientObject);
  const members = [
    `"queue_name": ${quoted(message.queue)}`,
    `"queue_id": ${quoted(message.id)}`,
    `"arrival_time": ${Math.floor(message.arrivalMs / 1000)}`,
    `"message_size": ${message.sizeBytes}`,
    `"forced_expire": ${message.isForceExpired}`,
    `"sender": ${quoted(shownAddress(message.envelope.sender, emptyAddress))}`,
    `"recipients": [${recipients.join(", ")}]`,
  ];
  return `{${members.join(", ")}}\n`;
}

function recipientObject({ address, delayReason }: ShownRecipient): string {
  const reason = delayReason === undefined ? "" : `, "delay_reason": ${quoted(delayReason)}`;
  return `{"address": ${quoted(address)}${reason}}`;
}

/** The parts have been made printable: only these two characters need care. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}
