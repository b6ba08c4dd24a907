/**
 * Which recipients of a message a listing shows, and in which order.
 *
 * First those with a reason for their deferral, then the rest that is still to be tried, without those already
 * shown. Recipients that are done, or failed and wait for their report, are never shown: in Postfix they are out of
 * the queue file by then.
 *
 * Departs: Postfix forgets the reasons of the last attempt when it opens a message for the next one; we go on
 * showing them, since they are still true.
 *
 * Source: spec admin-tools.md §1; Postfix src/showq/showq.c.
 */
import { quoteAddress } from "@postmq/mail-format";
import type { ListedMessage } from "@postmq/queue-store";

import { printable } from "./printable.ts";

export type ShownRecipient = {
  /** Quoted and printable, as it goes out. */
  readonly address: string;
  readonly delayReason?: string;
};

/** An address as listings show it; the null address as `emptyAddress`. */
export function shownAddress(address: string, emptyAddress: string): string {
  return printable(quoteAddress(address === "" ? emptyAddress : address));
}

export function shownRecipients(
  message: ListedMessage,
  emptyAddress: string,
): readonly ShownRecipient[] {
  const delayed: ShownRecipient[] = [];
  const waiting: ShownRecipient[] = [];
  for (const recipient of message.recipients) {
    const address = shownAddress(recipient.address, emptyAddress);
    if (recipient.state.kind === "deferred") {
      delayed.push({ address, delayReason: printable(recipient.state.reason) });
    } else if (recipient.state.kind === "todo") {
      waiting.push({ address });
    }
  }
  const seen = new Set(delayed.map(({ address }) => address));
  return [...delayed, ...waiting.filter(({ address }) => !seen.has(address))];
}
