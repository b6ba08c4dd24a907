/**
 * The listing that mailq and `postqueue -p` print, column for column as Postfix prints it with long queue ids.
 *
 * People cut it into columns with awk, so that nothing here is ours to improve (A5).
 *
 * Source: spec admin-tools.md §1; Postfix src/postqueue/showq_compat.c.
 */
import { asctime } from "@postmq/mail-format";
import type { ListedMessage } from "@postmq/queue-store";

import { shownAddress, shownRecipients } from "./shown-recipients.ts";

const heading = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n";
const idWidth = 17;
const sizeWidth = 8;
const timeWidth = 19;
/** A reason ends here, if it fits. */
const reasonEnd = 78;
const recipientIndent = " ".repeat(idWidth + 1 + sizeWidth + 1 + timeWidth + 1);

/**
 * The whole listing, in pieces as they become known: heading, messages, summary; or the line that says it is empty.
 *
 * @param emptyAddress what stands for the null address: `empty_address_recipient`
 */
export async function* mailqText(
  messages: AsyncIterable<ListedMessage>,
  emptyAddress: string,
): AsyncGenerator<string, void, void> {
  let count = 0;
  let bytes = 0;
  for await (const message of messages) {
    yield `${count === 0 ? heading : ""}${entry(message, emptyAddress)}\n`;
    count += 1;
    bytes += message.sizeBytes;
  }
  if (count === 0) yield "Mail queue is empty\n";
  else
    yield `-- ${Math.floor(bytes / 1024)} Kbytes in ${count} Request${count === 1 ? "" : "s"}.\n`;
}

function entry(message: ListedMessage, emptyAddress: string): string {
  const first = [
    (message.id + marks(message)).padEnd(idWidth),
    String(message.sizeBytes).padStart(sizeWidth),
    asctime(message.arrivalMs).slice(0, timeWidth).padEnd(timeWidth),
    shownAddress(message.envelope.sender, emptyAddress),
  ].join(" ");
  return `${first}\n${recipientLines(message, emptyAddress)}`;
}

/** Source: spec queues.md §7. */
function marks(message: ListedMessage): string {
  const place = message.queue === "active" ? "*" : message.queue === "hold" ? "!" : "";
  return message.isForceExpired ? `${place}#` : place;
}

/** A reason stands before the recipients that share it. */
function recipientLines(message: ListedMessage, emptyAddress: string): string {
  let lines = "";
  let shownReason: string | undefined;
  for (const { address, delayReason } of shownRecipients(message, emptyAddress)) {
    const reason = delayReason ?? (shownReason === undefined ? undefined : "reason unavailable");
    if (reason !== undefined && reason !== shownReason) {
      lines += `${rightAligned(`(${reason})`)}\n`;
      shownReason = reason;
    }
    lines += `${recipientIndent}${address}\n`;
  }
  return lines;
}

/** By bytes, as C counts. */
function rightAligned(text: string): string {
  return " ".repeat(Math.max(0, reasonEnd - Buffer.byteLength(text))) + text;
}
